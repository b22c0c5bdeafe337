//! The coherence state of one upstream connection: whether what was read on it may be served from memory.

use super::heartbeat::Health;
use super::inbox::Inbox;
use crate::clock::{self, Nanos};
use crate::node::{self, Epoch, INBOX_CHECK_INTERVAL};
use crate::upstream::topology::slots::SlotTable;

use std::sync::Arc;
use std::time::Duration;

/// The tracking of one connection.
///
/// ```text
/// catching up --healthy heartbeat--> tracked
///      ^                                |
///      +--- unhealthy, another cluster epoch, or silent for longer than the lease:
///           until the topology was read again and a heartbeat is healthy
/// ```
#[derive(Debug)]
pub(in crate::upstream) struct ConnectionTracking {
    lease: Duration,
    epoch: Option<Epoch>,
    cluster_epoch: Option<u64>,
    /// The node refuses this user the answers that trust depends on.
    refused: bool,
    /// The refresh of the topology that must have been made before this connection is trusted.
    awaits_refresh: Option<u64>,
    inbox: Arc<Inbox>,
    /// When bytes were last processed, and up to when that was noted in the epoch.
    took_at: Nanos,
    noted_at: Nanos,
}

// === impl ConnectionTracking ===

impl ConnectionTracking {
    /// A connection with tracking that was not confirmed yet.
    pub(in crate::upstream) fn new(lease: Duration, inbox: Arc<Inbox>) -> ConnectionTracking {
        ConnectionTracking {
            lease,
            epoch: None,
            cluster_epoch: None,
            refused: false,
            awaits_refresh: None,
            inbox,
            took_at: 0,
            noted_at: 0,
        }
    }

    /// The epoch, if the connection is tracked as far as it knows.
    pub(in crate::upstream) fn epoch(&self) -> Option<&Epoch> {
        self.epoch.as_ref()
    }

    /// Whether it is not trusted because the node refused its heartbeat.
    pub(in crate::upstream) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Notes at `now` the answer to the heartbeat that was sent at `sent_at`. Returns why trust was
    /// withdrawn, if it was.
    pub(in crate::upstream) fn note_heartbeat(
        &mut self,
        sent_at: Nanos,
        health: Health,
        table: &SlotTable,
        now: Nanos,
    ) -> Option<String> {
        let was_refused = std::mem::replace(&mut self.refused, health == Health::Refused);
        let distrust = match health {
            // That it may not be asked is known already, and nothing would come of asking for the topology
            // each time.
            Health::Refused if was_refused || self.epoch.is_none() => return None,
            Health::Refused => Some("the user upstream may not ask it for CLUSTER INFO any more".to_owned()),
            Health::Sick(why) => Some(why),
            // A node that was stopped and continues may not know yet that another node replaced it.
            Health::Healthy { .. } if self.epoch.as_ref().is_some_and(|epoch| !epoch.is_live(now)) => {
                Some("the node was silent for longer than the lease".to_owned())
            }
            Health::Healthy { epoch } => {
                let before = self.cluster_epoch.replace(epoch);
                let changed = before.filter(|before| *before != epoch);
                changed.map(|before| format!("cluster_current_epoch went from {before} to {epoch}"))
            }
        };
        if let Some(why) = distrust {
            let was_trusted = self.awaits_refresh.is_none();
            self.end();
            self.awaits_refresh = Some(table.ask_refresh());
            return was_trusted.then_some(why);
        }
        if self.awaits_refresh.is_some_and(|number| !table.is_refreshed(number)) {
            return None;
        }
        self.awaits_refresh = None;
        let lease_until = sent_at + clock::nanos(self.lease);
        self.inbox.confirm(sent_at);
        // All that was pushed before the heartbeat's reply has been received: pushes and replies come in one
        // order.
        match &self.epoch {
            Some(epoch) => epoch.renew(lease_until),
            None => self.epoch = Some(self.begin(lease_until)),
        }
        None
    }

    fn begin(&self, lease_until: Nanos) -> Epoch {
        let inbox: Arc<dyn node::NodeInbox> = self.inbox.clone();
        Epoch::begin_on(Arc::downgrade(&inbox), lease_until)
    }

    /// Notes that a heartbeat goes out at `now`.
    pub(in crate::upstream) fn beats(&self, now: Nanos) {
        self.inbox.beats(now);
    }

    /// Notes shortly after `now` that the bytes which were read are processed. If those were all, lookups
    /// need no check of the connection for a while.
    pub(in crate::upstream) fn took(&mut self, all: bool, now: Nanos) {
        let before = std::mem::replace(&mut self.took_at, now);
        // Not each time: others read it, on other threads.
        if all
            && before >= self.noted_at + clock::nanos(INBOX_CHECK_INTERVAL) / 4
            && self.inbox.is_relied_on(now)
        {
            self.noted_at = before;
            if let Some(epoch) = &self.epoch {
                epoch.note_inbox_empty(before);
            }
        }
    }

    /// Withdraws the trust in a connection whose lease has run out by `now`; returns whether it did. Its
    /// entries of L1 are misses by the clock alone; the clients that were served from them have to be
    /// notified.
    pub(in crate::upstream) fn lapse(&mut self, table: &SlotTable, now: Nanos) -> bool {
        let lapsed = self.epoch.as_ref().is_some_and(|epoch| !epoch.is_live(now));
        if lapsed {
            self.end();
            self.awaits_refresh = Some(table.ask_refresh());
        }
        lapsed
    }

    /// The node dropped everything that it tracked for us: what was read before is stale, the connection is
    /// not.
    pub(in crate::upstream) fn flush(&mut self) {
        if let Some(epoch) = self.epoch.take() {
            let lease_until = epoch.lease_until();
            epoch.end_emptied();
            self.epoch = Some(self.begin(lease_until));
        }
    }

    /// Nothing that was read on this connection may be served any more.
    pub(in crate::upstream) fn end(&mut self) {
        if let Some(epoch) = self.epoch.take() {
            epoch.end();
        }
    }
}

impl Drop for ConnectionTracking {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    fn tracking() -> ConnectionTracking {
        let (ours, _) = std::os::unix::net::UnixStream::pair().unwrap();
        ConnectionTracking::new(LEASE, Arc::new(Inbox::new(ours, LEASE / 4).unwrap()))
    }

    fn healthy(epoch: u64) -> Health {
        Health::Healthy { epoch }
    }

    #[test]
    fn a_healthy_heartbeat_grants_a_lease_from_when_it_was_sent() {
        let table = SlotTable::default();
        let mut tracking = tracking();
        assert!(tracking.epoch().is_none());
        tracking.note_heartbeat(1_000, healthy(1), &table, 1_000);
        let epoch = tracking.epoch().unwrap().clone();
        assert!(epoch.is_live(1_000 + clock::nanos(LEASE) - 1));
        assert!(!epoch.is_live(1_000 + clock::nanos(LEASE)));
    }

    #[test]
    fn another_cluster_epoch_or_state_means_lost_until_the_topology_was_read_again() {
        for alarm in [healthy(2), Health::Sick("cluster_state:fail".into())] {
            let table = SlotTable::default();
            let mut tracking = tracking();
            tracking.note_heartbeat(1_000, healthy(1), &table, 1_000);
            let epoch = tracking.epoch().unwrap().clone();
            assert!(tracking.note_heartbeat(1_001, alarm, &table, 1_001).is_some());
            assert!(!epoch.is_live(1_002), "I4");
            tracking.note_heartbeat(1_003, healthy(2), &table, 1_003);
            if tracking.cluster_epoch == Some(2) && tracking.awaits_refresh.is_some() {
                tracking.note_heartbeat(1_004, healthy(2), &table, 1_004);
            }
            assert!(tracking.epoch().is_none(), "the topology was not read yet");
            table.replace(&[], &[], table.refresh_asked());
            tracking.note_heartbeat(1_005, healthy(2), &table, 1_005);
            assert!(tracking.epoch().is_some());
        }
    }

    #[test]
    fn a_node_that_was_silent_for_too_long_begins_anew() {
        let table = SlotTable::default();
        let mut tracking = tracking();
        tracking.note_heartbeat(1_000, healthy(1), &table, 1_000);
        let before = tracking.epoch().unwrap().clone();
        let late = 1_001 + clock::nanos(LEASE);
        assert!(tracking.note_heartbeat(late - 1, healthy(1), &table, late).is_some());
        assert!(tracking.epoch().is_none());
        table.replace(&[], &[], table.refresh_asked());
        tracking.note_heartbeat(late + 1, healthy(1), &table, late + 1);
        assert!(!before.is_live(late + 2), "I4");
        assert!(tracking.epoch().unwrap().is_live(late + 2));
    }

    #[test]
    fn a_lease_that_ran_out_is_noticed_once_without_the_node() {
        let table = SlotTable::default();
        let mut tracking = tracking();
        tracking.note_heartbeat(1_000, healthy(1), &table, 1_000);
        let late = 1_000 + clock::nanos(LEASE);
        assert!(!tracking.lapse(&table, late - 1));
        assert!(tracking.lapse(&table, late));
        assert!(!tracking.lapse(&table, late + 1));
        tracking.note_heartbeat(late + 2, healthy(1), &table, late + 2);
        assert!(tracking.epoch().is_none(), "the topology was not read yet");
    }

    #[test]
    fn a_node_that_refuses_its_heartbeat_is_not_trusted_until_it_answers() {
        let table = SlotTable::default();
        let mut tracking = tracking();
        assert!(tracking.note_heartbeat(1_000, Health::Refused, &table, 1_000).is_none());
        assert!(tracking.epoch().is_none() && tracking.is_refused());
        tracking.note_heartbeat(1_001, healthy(1), &table, 1_001);
        let epoch = tracking.epoch().unwrap().clone();
        assert!(!tracking.is_refused());
        assert!(tracking.note_heartbeat(1_002, Health::Refused, &table, 1_002).is_some());
        assert!(tracking.is_refused() && !epoch.is_live(1_003), "I4");
        assert!(tracking.note_heartbeat(1_003, Health::Refused, &table, 1_003).is_none(), "it is said once");
        tracking.note_heartbeat(1_004, healthy(1), &table, 1_004);
        assert!(tracking.epoch().is_none(), "the topology was not read yet");
    }

    #[test]
    fn a_flush_ends_what_was_read_and_keeps_the_connection() {
        let table = SlotTable::default();
        let mut tracking = tracking();
        tracking.note_heartbeat(1_000, healthy(1), &table, 1_000);
        let before = tracking.epoch().unwrap().clone();
        tracking.flush();
        assert!(!before.is_live(1_001));
        assert!(tracking.epoch().unwrap().is_live(1_001));
    }

    #[test]
    fn a_dropped_connection_takes_its_epoch_along() {
        let table = SlotTable::default();
        let mut tracking = tracking();
        tracking.note_heartbeat(1_000, healthy(1), &table, 1_000);
        let epoch = tracking.epoch().unwrap().clone();
        drop(tracking);
        assert!(!epoch.is_live(1_001));
    }
}
