//! What the connections of one worker share: the options, the counters, and what is known of slots and
//! requests.
//!
//! Connections know this, and not each other: a command that has to go over another connection is handed to
//! `on_reroute`.

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

/// Commands that a connection handed back, because they have to go over another one.
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
    /// `node` closed a connection while `commands` were in flight, perhaps because of one of them. They have
    /// to be sent again, with the commands that must stay behind them.
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
    /// Redirects that are not confirmed yet.
    pub(super) unconfirmed: UnconfirmedRedirects,
    /// Requests for which a node may have closed a connection.
    pub(super) quarantine: Quarantine,
    /// Whether some node limits the bytes of replies that wait for a connection.
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

    /// The redirect in `error`, which `node` answered to a command on `slot`. `None` without a cluster, and
    /// if the redirect names another slot.
    pub(super) fn redirect_of(&self, error: &[u8], slot: Option<Slot>, node: &NodeId) -> Option<Redirect> {
        let redirect = redirect::parse(error, node, &self.options.address_map)?;
        (self.options.is_cluster() && slot == Some(redirect.slot)).then_some(redirect)
    }

    /// Applies what a redirect says about its slot to the slot table.
    pub(super) fn note(&self, redirect: &Redirect) {
        if redirect.asking {
            return self.note_moving(redirect.slot);
        }
        if self.shared.table.patch(redirect.slot, &redirect.node) {
            (self.on_invalidation)(&Invalidation::Slots(vec![redirect.slot]));
        }
        self.shared.table.ask_refresh();
    }

    /// Notes that `slot` is moving to another node.
    pub(super) fn note_moving(&self, slot: Slot) {
        self.shared.table.mark_moving(slot, self.options.slot_moving);
        (self.on_invalidation)(&Invalidation::Slots(vec![slot]));
    }

    pub(super) fn report(&self, node: &NodeId, link: LinkStatus) {
        self.shared.status.report(node, self.worker, link);
    }
}

impl fmt::Debug for WorkerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerContext(worker: {})", self.worker)
    }
}
