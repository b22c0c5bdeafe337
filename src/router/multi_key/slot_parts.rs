//! The keys of a request, grouped by their slots.

use std::collections::HashMap;

use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::request::Request;

/// The positions of keys that go to one node together, in the order of the request.
pub(super) struct SlotPart {
    pub(super) slots: KeySlots,
    pub(super) positions: Vec<usize>,
}

/// All positions in one part, as one server takes them.
pub(super) fn whole(request: &Request<'_>, positions: impl Iterator<Item = usize>) -> SlotPart {
    let positions: Vec<usize> = positions.collect();
    let slots = positions.iter().map(|position| Slot::of(request.arg(*position))).collect();
    SlotPart { slots, positions }
}

/// Groups positions by the slot of their key, in the order in which each slot is first seen.
pub(super) fn parts(request: &Request<'_>, positions: impl Iterator<Item = usize>) -> Vec<SlotPart> {
    let mut parts: Vec<SlotPart> = Vec::new();
    let mut place = HashMap::new();
    for position in positions {
        let slot = Slot::of(request.arg(position));
        let index = *place.entry(slot).or_insert_with(|| {
            parts.push(SlotPart { slots: KeySlots::One(slot), positions: Vec::new() });
            parts.len() - 1
        });
        parts[index].positions.push(position);
    }
    parts
}
