//! What the connections of one worker share: the options, the counters, and what was learned of slots and of
//! requests.
//!
//! Connections know this, and not each other: a command that has to go on over another connection is handed
//! to `on_reroute`.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::call::PendingCommand;
use super::dedicated::Idle;
use super::mux::quarantine::Quarantine;
use super::mux::slot_routes::{LargeSlots, SlotRoutes};
use super::options::UpstreamOptions;
use super::redirects::redirect::{self, Redirect};
use super::redirects::unconfirmed::UnconfirmedRedirects;
use super::shared::SharedUpstream;
use super::status::LinkStatus;
use super::topology::node_numbers::NodeIndex;
use crate::clock;
use crate::invalidation::Invalidation;
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::stats::WorkerStats;

/// Called, in the order in which nodes sent them, with what may have become stale.
pub type OnInvalidation = Box<dyn Fn(&Invalidation)>;

/// Called with commands that a connection handed back, in the order in which their replies would have come.
pub(super) type OnReroute = Box<dyn Fn(Reroute)>;

/// Commands that a connection handed back: they have to go on over another one.
#[derive(Debug)]
pub(super) enum Reroute {
    /// `node` answered `command` with a redirect.
    Redirected {
        /// Where it leads.
        redirect: Redirect,
        /// The node that answered.
        node: NodeIndex,
        /// The command.
        command: PendingCommand,
        /// The error reply of the command if the redirect is not followed.
        words: Bytes,
    },
    /// `node` hung up while `commands` were in flight, and may have done so because of one of them. They are
    /// to be sent again, with what has to stay behind them.
    Suspects {
        /// The node.
        node: NodeIndex,
        /// The commands, in order.
        commands: Vec<PendingCommand>,
    },
}

/// What the connections of one worker share.
pub(super) struct WorkerContext {
    /// The number of the worker.
    pub(super) worker: usize,
    pub(super) options: UpstreamOptions,
    pub(super) shared: Arc<SharedUpstream>,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) on_invalidation: OnInvalidation,
    pub(super) on_reroute: OnReroute,
    /// Where the latest command on each slot went.
    pub(super) routes: SlotRoutes,
    /// The slots of which something large is to be expected.
    pub(super) large_slots: LargeSlots,
    /// Dedicated connections that no session uses at present.
    pub(super) idle: Idle,
    /// Redirects that are not believed yet.
    pub(super) unconfirmed: UnconfirmedRedirects,
    /// Requests because of which a node may have hung up.
    pub(super) quarantine: Quarantine,
    /// Whether some node said that it ends a connection for which too many bytes of replies wait.
    pub(super) limited: Cell<bool>,
}

// === impl WorkerContext ===

impl WorkerContext {
    /// Whether nodes are asked to track what is read.
    pub(super) fn tracks(&self) -> bool {
        self.options.track || self.shared.tracking_wanted.load(Ordering::Relaxed)
    }

    /// Whether a command on `slot` may have a large reply, or be on a large value.
    #[inline]
    pub(super) fn expects_large(&self, slot: Option<Slot>) -> bool {
        slot.is_some_and(|slot| self.large_slots.has(slot))
    }

    /// Has the commands on `slot` take side connections, for as long as an idle one is kept.
    pub(super) fn expect_large(&self, slot: Option<Slot>) {
        if let Some(slot) = slot {
            let until = clock::now() + clock::nanos(self.options.dedicated_idle_timeout);
            self.large_slots.note(slot, until);
        }
    }

    /// `error`, which `node` answered to a command on `slot`, as a redirect of that command. It is none where
    /// there is but one server, and none if it names another slot.
    pub(super) fn redirect_of(&self, error: &[u8], slot: Option<Slot>, node: &NodeId) -> Option<Redirect> {
        let redirect = redirect::parse(error, node, &self.options.address_map)?;
        (self.options.is_cluster() && slot == Some(redirect.slot())).then_some(redirect)
    }

    /// What a redirect says of its slot.
    pub(super) fn note(&self, redirect: &Redirect) {
        match redirect {
            Redirect::Moved(slot, node) => {
                if self.shared.table.patch(*slot, node) {
                    (self.on_invalidation)(&Invalidation::Slots(vec![*slot]));
                }
                self.shared.table.ask_refresh();
            }
            Redirect::Ask(slot, _) => self.note_moving(*slot),
        }
    }

    /// `slot` was seen on its way to another node.
    pub(super) fn note_moving(&self, slot: Slot) {
        self.shared.table.mark_moving(slot, self.options.slot_moving);
        (self.on_invalidation)(&Invalidation::Slots(vec![slot]));
    }

    pub(super) fn report(&self, node: &NodeId, link: LinkStatus) {
        self.shared.board.report(node, self.worker, link);
    }
}

impl fmt::Debug for WorkerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerContext(worker: {})", self.worker)
    }
}
