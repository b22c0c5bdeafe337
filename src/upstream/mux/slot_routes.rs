//! What a worker remembers of each slot: where the latest command on it went, and whether something large
//! came or went lately.

use std::cell::RefCell;

use super::node_connections::ConnectionIndex;
use crate::clock::{self, Nanos};
use crate::protocol::key::{SLOT_COUNT, Slot};
use crate::upstream::call::PendingCommand;
use crate::upstream::topology::node_numbers::NodeIndex;

/// The routes of all slots.
#[derive(Debug)]
pub(in crate::upstream) struct SlotRoutes(RefCell<Box<[SlotRoute]>>);

/// The route of the commands of one slot.
#[derive(Clone, Copy, Debug, Default)]
struct SlotRoute {
    /// The node that the latest command went to.
    node: Option<NodeIndex>,
    /// The connection to that node which it took, if that is known.
    connection: Option<u8>,
    /// Counts the commands. The counter wraps: numbers that are compared are never that far apart.
    sent: u32,
}

/// Slots with a recent large request or reply, and until when each counts as such; not allocated until there
/// is one.
///
/// How long a reply is shows only once it comes, and until then other requests are written behind its own.
/// So commands on these slots take a side connection from the start.
#[derive(Debug, Default)]
pub(in crate::upstream) struct LargeSlots(RefCell<Option<Box<[Nanos]>>>);

// === impl SlotRoutes ===

impl Default for SlotRoutes {
    fn default() -> SlotRoutes {
        SlotRoutes(RefCell::new(vec![SlotRoute::default(); SLOT_COUNT].into()))
    }
}

impl SlotRoutes {
    /// The node that the latest command on `slot` went to.
    #[inline]
    pub(in crate::upstream) fn node(&self, slot: Slot) -> Option<NodeIndex> {
        self.0.borrow()[slot.index()].node
    }

    /// Has the commands on `slot` go to `node` from here on, over a connection that is not known yet.
    pub(in crate::upstream) fn set_node(&self, slot: Slot, node: NodeIndex) {
        let route = &mut self.0.borrow_mut()[slot.index()];
        (route.node, route.connection) = (Some(node), None);
    }

    /// The connection to `node` that the latest command on `slot` took, if it went there and that is known.
    pub(in crate::upstream) fn connection(&self, slot: Slot, node: NodeIndex) -> Option<ConnectionIndex> {
        let route = self.0.borrow()[slot.index()];
        route.connection.filter(|_| route.node == Some(node)).map(ConnectionIndex::from)
    }

    /// The command on `slot` that is sent next takes this connection, if it goes to `node`.
    pub(in crate::upstream) fn set_connection(&self, slot: Slot, node: NodeIndex, taken: ConnectionIndex) {
        let route = &mut self.0.borrow_mut()[slot.index()];
        if route.node == Some(node) {
            route.connection = u8::try_from(taken).ok();
        }
    }

    /// Forgets which connection the latest command on `slot` took.
    pub(in crate::upstream) fn forget_connection(&self, slot: Option<Slot>) {
        if let Some(slot) = slot {
            self.0.borrow_mut()[slot.index()].connection = None;
        }
    }

    /// Forgets which connections to `node` the latest commands took.
    pub(in crate::upstream) fn forget_connections(&self, node: NodeIndex) {
        let mut routes = self.0.borrow_mut();
        let of_node = routes.iter_mut().filter(|route| route.node == Some(node));
        of_node.for_each(|route| route.connection = None);
    }

    /// The number of a command on `slot` that is sent now.
    #[inline]
    pub(in crate::upstream) fn next_number(&self, slot: Option<Slot>) -> u32 {
        let Some(slot) = slot else { return 0 };
        let sent = &mut self.0.borrow_mut()[slot.index()].sent;
        *sent = sent.wrapping_add(1);
        *sent
    }

    /// Whether nothing was sent on the slot of `command` after it.
    pub(in crate::upstream) fn is_latest(&self, command: &PendingCommand) -> bool {
        command.call.slots.one().is_none_or(|slot| self.0.borrow()[slot.index()].sent == command.number)
    }
}

// === impl LargeSlots ===

impl LargeSlots {
    /// Whether something large was seen of `slot` lately.
    #[inline]
    pub(in crate::upstream) fn has(&self, slot: Slot) -> bool {
        self.0.borrow().as_ref().is_some_and(|until| until[slot.index()] > clock::now())
    }

    /// Something large was seen of `slot`, which counts until then.
    #[cold]
    pub(in crate::upstream) fn note(&self, slot: Slot, until: Nanos) {
        let mut all = self.0.borrow_mut();
        all.get_or_insert_with(|| vec![0; SLOT_COUNT].into())[slot.index()] = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_counts_until_its_time_is_over_and_no_other_does() {
        let slots = LargeSlots::default();
        let (large, other) = (Slot::of(b"large"), Slot::of(b"other"));
        assert!(!slots.has(large));
        slots.note(large, Nanos::MAX);
        assert!(slots.has(large));
        assert!(!slots.has(other));
        slots.note(large, clock::now());
        assert!(!slots.has(large));
    }
}
