//! The keys of a request, grouped by their slots.

use std::collections::HashMap;

use crate::protocol::command::Spec;
use crate::protocol::key::Slot;
use crate::protocol::resp::request::Request;

/// The positions of keys that share a slot, in the order of the request.
pub(super) struct SlotPart {
    pub(super) slot: Slot,
    pub(super) positions: Vec<usize>,
}

/// Whether all keys of a request are in one slot.
pub(super) fn has_one_slot(spec: &Spec, request: &Request<'_>) -> bool {
    let mut slots = spec.keys.positions(request).into_iter().flatten().map(|at| Slot::of(request.arg(at)));
    let first = slots.next();
    slots.all(|slot| Some(slot) == first)
}

/// Groups positions by the slot of their key, in the order in which each slot is first seen.
pub(super) fn parts(request: &Request<'_>, positions: impl Iterator<Item = usize>) -> Vec<SlotPart> {
    let mut parts: Vec<SlotPart> = Vec::new();
    let mut place = HashMap::new();
    for position in positions {
        let slot = Slot::of(request.arg(position));
        let index = *place.entry(slot).or_insert_with(|| {
            parts.push(SlotPart { slot, positions: Vec::new() });
            parts.len() - 1
        });
        parts[index].positions.push(position);
    }
    parts
}
