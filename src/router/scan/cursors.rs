//! The progress of walks over all keys: the states behind the cursors of SCAN.
//!
//! A walk goes over one node after the other, in *passes*. A pass begins with what the walk has done so far
//! and never changes that: a client may show an older cursor of its walk again. A cursor names the pass and
//! the place in it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::slot_set::{SlotSet, all_slots};
use crate::protocol::key::Slot;
use crate::router::node_instance::NodeInstance;
use crate::upstream::NodeIndex;

/// The bits of a cursor that name the pass; 40 are left for the place, and the sign of signed clients is not
/// used.
const NUMBER_BITS: u32 = 23;

/// What a walk has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::router) struct Progress {
    /// Slots all of whose keys were seen.
    pub(in crate::router) done: SlotSet,
    /// Slots that were seen as far as they had not left for this node. It has the rest.
    pub(in crate::router) drained: Vec<(Slot, NodeIndex)>,
}

/// A pass over the keys of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::router) struct Pass {
    /// The process: another one has its keys in another order.
    pub(in crate::router) host: NodeInstance,
    /// The slots whose keys are looked for.
    pub(in crate::router) covers: SlotSet,
    /// Those of them that were on their way to another node when the pass began.
    pub(in crate::router) leaving: Vec<Slot>,
}

/// How far a walk has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::router) struct ScanState {
    pub(in crate::router) progress: Progress,
    /// The pass that it is in; none between two.
    pub(in crate::router) pass: Option<Pass>,
    /// How many passes before it, one after the other, have brought the walk no further.
    pub(in crate::router) vain: u32,
}

/// A state with its number in cursors; 0 when no cursor was given out.
#[derive(Clone, Debug, Default)]
pub(in crate::router) struct ScanCursor {
    pub(in crate::router) number: u64,
    pub(in crate::router) stand: Arc<ScanState>,
}

/// The states of all walks that have not ended, as far as there is room.
#[derive(Debug)]
pub(in crate::router) struct ScanCursors {
    kept: Mutex<CursorTable>,
    stands_max: usize,
}

#[derive(Debug)]
struct CursorTable {
    stands: HashMap<u64, (Arc<ScanState>, u64)>,
    latest: u64,
    turn: u64,
}

// === impl Progress ===

impl Progress {
    /// The first slot that still has to be asked of its owner, or the first that has to be asked of the node
    /// that takes it.
    pub(in crate::router) fn next(&self) -> Option<(Slot, Option<NodeIndex>)> {
        let drained = |slot: Slot| self.drained.iter().any(|(drained, _)| *drained == slot);
        let of_owner = all_slots().find(|slot| !self.done.has(*slot) && !drained(*slot));
        let of_taker = self.drained.first().map(|(slot, taker)| (*slot, Some(*taker)));
        of_owner.map(|slot| (slot, None)).or(of_taker)
    }

    /// The slots that `node` takes, and that another one was asked for already.
    pub(in crate::router) fn drained_to(&self, node: NodeIndex) -> impl Iterator<Item = Slot> {
        self.drained.iter().filter(move |(_, taker)| *taker == node).map(|(slot, _)| *slot)
    }
}

// === impl ScanState ===

impl ScanState {
    /// The beginning of a walk over one slot: all others are done.
    pub(in crate::router) fn of_slot(slot: Slot) -> ScanState {
        let mut state = ScanState::default();
        all_slots().filter(|other| *other != slot).for_each(|other| state.progress.done.add(other));
        state
    }

    /// The state of the walk once it has come to `progress`, between two passes; none at its end.
    pub(in crate::router) fn after(&self, progress: Progress) -> Option<ScanState> {
        let vain = if progress == self.progress { self.vain + 1 } else { 0 };
        progress.next().map(|_| ScanState { progress, pass: None, vain })
    }
}

// === impl ScanCursors ===

impl ScanCursors {
    /// Room for `stands_max` states.
    pub(in crate::router) fn new(stands_max: usize) -> ScanCursors {
        // Not where the last life of the daemon began: a cursor of that one must not be taken for one of
        // these.
        let latest = fastrand::u64(..1 << NUMBER_BITS);
        let kept = CursorTable { stands: HashMap::new(), latest, turn: 0 };
        ScanCursors { kept: Mutex::new(kept), stands_max }
    }

    /// The state and the position that a cursor names; `None` when it is unknown or forgotten.
    pub(in crate::router) fn find(&self, cursor: u64) -> Option<(ScanCursor, u64)> {
        let number = cursor & ((1 << NUMBER_BITS) - 1);
        let mut kept = self.kept.lock();
        kept.turn += 1;
        let turn = kept.turn;
        let (stand, used) = kept.stands.get_mut(&number)?;
        *used = turn;
        Some((ScanCursor { number, stand: stand.clone() }, cursor >> NUMBER_BITS))
    }

    /// The cursor for `position` in a state, which is kept from now on. `None` if the position does not fit
    /// into a cursor.
    pub(in crate::router) fn cursor(&self, numbered: ScanCursor, position: u64) -> Option<u64> {
        if position >> (u64::BITS - 1 - NUMBER_BITS) != 0 {
            return None;
        }
        let number = if numbered.number == 0 { self.keep(numbered.stand) } else { numbered.number };
        Some(position << NUMBER_BITS | number)
    }

    fn keep(&self, stand: Arc<ScanState>) -> u64 {
        let mut kept = self.kept.lock();
        if kept.stands.len() >= self.stands_max {
            let oldest = kept.stands.iter().min_by_key(|(_, (_, used))| *used).map(|(number, _)| *number);
            oldest.map(|number| kept.stands.remove(&number));
        }
        kept.latest = (kept.latest + 1) % (1 << NUMBER_BITS);
        // 0 is where walks begin.
        kept.latest = kept.latest.max(1);
        kept.turn += 1;
        let (number, turn) = (kept.latest, kept.turn);
        kept.stands.insert(number, (stand, turn));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(slot: u64) -> ScanCursor {
        let mut stand = ScanState::default();
        stand.progress.done.add(Slot::from_number(slot).unwrap());
        ScanCursor { number: 0, stand: Arc::new(stand) }
    }

    #[test]
    fn a_cursor_brings_back_the_stand_and_the_place() {
        let walks = ScanCursors::new(10);
        let cursor = walks.cursor(stand(7), 12_345).unwrap();
        assert!(i64::try_from(cursor).is_ok() && cursor != 0);
        let (found, position) = walks.find(cursor).unwrap();
        assert_eq!((&found.stand, position), (&stand(7).stand, 12_345));
        let later = walks.cursor(found, 99).unwrap();
        assert_eq!(walks.find(later).unwrap().1, 99);
        assert_eq!(walks.kept.lock().stands.len(), 1, "one stand for all places of a pass");
        assert!(walks.find(cursor).is_some(), "an older cursor is still good");
        assert!(walks.cursor(stand(1), 1 << 40).is_none());
        assert!(i64::try_from(walks.cursor(stand(1), (1 << 40) - 1).unwrap()).is_ok());
    }

    #[test]
    fn only_so_many_stands_are_kept_and_the_one_unused_for_longest_goes() {
        let walks = ScanCursors::new(2);
        let first = walks.cursor(stand(1), 0).unwrap();
        let second = walks.cursor(stand(2), 0).unwrap();
        assert!(walks.find(first).is_some());
        let third = walks.cursor(stand(3), 0).unwrap();
        assert!(walks.find(first).is_some() && walks.find(second).is_none() && walks.find(third).is_some());
    }

    #[test]
    fn owners_are_asked_before_those_who_take_a_slot() {
        let slot = |number| Slot::from_number(number).unwrap();
        let table = crate::upstream::SlotTable::default();
        let taker = table.index_of(&crate::node::NodeId::new("a:1"));
        let mut progress = Progress::default();
        progress.drained.push((slot(0), taker));
        assert_eq!(progress.next(), Some((slot(1), None)));
        all_slots().skip(1).for_each(|slot| progress.done.add(slot));
        assert_eq!(progress.next(), Some((slot(0), Some(taker))));
        progress.drained.clear();
        progress.done.add(slot(0));
        assert_eq!(progress.next(), None);
    }
}
