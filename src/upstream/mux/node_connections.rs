//! The connections of one worker to one node: the main one, and side connections while something large is on
//! that.
//!
//! Small commands never wait behind large ones. A large request goes out on a side connection. While a large
//! or slow reply comes in on the main connection, commands take a side connection, with the order of one
//! connection: a command stays behind the unanswered commands on its slot, whatever their connection, and
//! behind commands that may touch any key.
//!
//! Each connection is tracked for itself: what was read on it is kept in its own epoch (I4), and heartbeats
//! behind a large reply confirm nothing.

use std::rc::Rc;
use std::time::Duration;

use crate::clock::{self, Nanos};
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::upstream::mux::connection::MuxConnection;

/// The connections to one node; there is always the main one.
#[derive(Debug)]
pub(in crate::upstream) struct NodeConnections {
    main: Rc<MuxConnection>,
    side: Vec<Side>,
}

#[derive(Debug)]
struct Side {
    connection: Rc<MuxConnection>,
    /// When something was sent on it last.
    used_at: Nanos,
}

/// Which of the connections to a node: the main one is the first.
pub(in crate::upstream) type ConnectionIndex = usize;

/// What is to be sent, as far as it matters for its way.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct SendLoad {
    /// The slot of its keys.
    pub(in crate::upstream) slot: Option<Slot>,
    /// Where the latest command on that slot went, if that is known.
    pub(in crate::upstream) latest: Option<ConnectionIndex>,
    /// Whether it takes long to be sent, or its reply may take long to come.
    pub(in crate::upstream) is_large: bool,
}

// === impl NodeConnections ===

impl NodeConnections {
    pub(in crate::upstream) fn new(main: Rc<MuxConnection>) -> NodeConnections {
        NodeConnections { main, side: Vec::new() }
    }

    /// The connection that all commands take as long as nothing large is on their way.
    pub(in crate::upstream) fn main(&self) -> &Rc<MuxConnection> {
        &self.main
    }

    /// Whether there is but the main connection, and nothing speaks against taking it.
    #[inline]
    pub(in crate::upstream) fn is_plain(&self) -> bool {
        self.side.is_empty() && !self.main.is_amid_something()
    }

    /// The connection of this number; the main one if there is none.
    pub(in crate::upstream) fn get(&self, index: ConnectionIndex) -> &Rc<MuxConnection> {
        index.checked_sub(1).and_then(|at| self.side.get(at)).map_or(&self.main, |side| &side.connection)
    }

    /// The quarantine connection, if there is one.
    pub(in crate::upstream) fn quarantine(&self) -> Option<&Rc<MuxConnection>> {
        self.side.iter().map(|side| &side.connection).find(|connection| connection.is_quarantine())
    }

    /// How many side connections there are.
    pub(in crate::upstream) fn sides(&self) -> usize {
        self.side.len()
    }

    /// All of them.
    pub(in crate::upstream) fn iter(&self) -> impl Iterator<Item = &Rc<MuxConnection>> + Clone {
        std::iter::once(&self.main).chain(self.side.iter().map(|side| &side.connection))
    }

    /// Whether every command has been answered.
    pub(in crate::upstream) fn is_idle(&self) -> bool {
        self.iter().all(|connection| connection.is_idle())
    }

    /// Whether a command on `slot` has not been answered yet.
    pub(in crate::upstream) fn has(&self, slot: Slot) -> bool {
        self.iter().any(|connection| connection.has(slot))
    }

    /// Whether two that are sent one behind the other may take different ways.
    pub(in crate::upstream) fn is_split(&self, now: Nanos) -> bool {
        self.main.is_busy(now) || !self.side.is_empty()
    }

    /// Whether one of them carries something large, so that pushes on it take long.
    pub(in crate::upstream) fn is_any_busy(&self, now: Nanos) -> bool {
        self.iter().any(|connection| connection.is_busy(now))
    }

    /// Takes in a new side connection.
    pub(in crate::upstream) fn add_side(&mut self, connection: Rc<MuxConnection>) {
        self.side.push(Side { connection, used_at: clock::now() });
    }

    /// The connection that `load` takes; `None` for a new one, if there are fewer than `sides_max`.
    pub(in crate::upstream) fn connection_for(
        &mut self,
        load: SendLoad,
        sides_max: usize,
        now: Nanos,
    ) -> Option<ConnectionIndex> {
        let free = self.free(load.is_large, sides_max, now);
        let of_anything = self.iter().position(|connection| connection.has_unslotted());
        let behind = match (load.slot, load.latest) {
            // All that was sent on the slot went where this would go.
            (Some(_), latest) if latest.is_some() && latest == free && of_anything.is_none() => latest,
            (Some(slot), Some(latest)) if self.get(latest).has(slot) => Some(latest),
            (Some(slot), None) => self.iter().position(|connection| connection.has(slot)),
            _ => None,
        };
        let index = behind.or(of_anything).or(free);
        if let Some(side) = index.and_then(|index| index.checked_sub(1)).and_then(|at| self.side.get_mut(at))
        {
            side.used_at = now;
        }
        index
    }

    /// The connection on which nothing large is in the way; `None` if that is to be a new one.
    fn free(&self, is_large: bool, sides_max: usize, now: Nanos) -> Option<ConnectionIndex> {
        let candidates = self.iter().enumerate().skip(usize::from(is_large && sides_max > 0));
        let mut candidates = candidates.filter(|(_, connection)| !connection.is_quarantine());
        if let Some((index, _)) =
            candidates.clone().find(|(_, connection)| connection.is_up() && !connection.is_busy(now))
        {
            return Some(index);
        }
        // A node that cannot be connected to is not connected to more often for that.
        if !self.main.is_up() {
            return Some(0);
        }
        if let Some((index, _)) = candidates
            .find(|(index, connection)| *index > 0 && connection.is_coming() && !connection.is_busy(now))
        {
            return Some(index);
        }
        let sides = self.side.len() - usize::from(self.quarantine().is_some());
        let may_open = sides < sides_max && self.side.iter().all(|side| !side.connection.is_failing());
        match may_open {
            true => None,
            // Large commands wait behind large ones.
            false if is_large => Some(self.shortest_side().unwrap_or(0)),
            false => Some(0),
        }
    }

    /// The side connection on which the fewest commands are.
    fn shortest_side(&self) -> Option<ConnectionIndex> {
        let sides = self
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(_, connection)| connection.is_up() && !connection.is_quarantine());
        sides.min_by_key(|(_, connection)| connection.waiting()).map(|(index, _)| index)
    }

    /// Takes out the side connections that were not used for `timeout`. The last goes first: the others keep
    /// their places.
    pub(in crate::upstream) fn take_unused(
        &mut self,
        timeout: Duration,
        now: Nanos,
    ) -> Vec<Rc<MuxConnection>> {
        let mut unused = Vec::new();
        let is_unused =
            |side: &mut Side| side.connection.is_idle() && side.used_at + clock::nanos(timeout) <= now;
        while let Some(side) = self.side.pop_if(is_unused) {
            unused.push(side.connection);
        }
        unused
    }

    /// The node left the upstream.
    pub(in crate::upstream) fn retire(&self) {
        self.iter().for_each(|connection| connection.retire());
    }

    /// The node's address.
    pub(in crate::upstream) fn node(&self) -> &NodeId {
        self.main.node()
    }
}
