//! Puts what was answered into the slot table, and says when to ask again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, Instant};

use super::map::SlotMap;
use super::options::TopologyOptions;
use super::query::TopologyQuery;
use crate::protocol::key::Slot;
use crate::upstream::conn::backoff::Backoff;
use crate::upstream::shared::SharedUpstream;

/// Keeps the table.
pub(super) struct TopologyRefresher<F> {
    shared: Arc<SharedUpstream>,
    refresh_interval: Duration,
    refresh_gap_min: Duration,
    backoff: Backoff,
    failing: bool,
    on_moved: F,
}

/// Fills the slot table and keeps it true, for as long as it is polled. `on_moved` is called with the slots
/// that have another owner than before, after the table says so.
pub async fn keep(options: TopologyOptions, shared: Arc<SharedUpstream>, on_moved: impl Fn(Vec<Slot>)) {
    let mut refresher = TopologyRefresher::new(&options, shared.clone(), on_moved);
    let mut query = TopologyQuery::new(options, shared.clone());
    loop {
        let (asked, began) = refresher.begin();
        let answer = query.ask().await;
        shared.status.report_control(query.is_connected());
        refresher.take(asked, began, answer).await;
    }
}

/// Does what [`keep`] does, with the answers of `ask`: the nodes of the simulator are asked in another way.
pub async fn keep_by(
    options: TopologyOptions,
    shared: Arc<SharedUpstream>,
    mut ask: impl AsyncFnMut() -> Result<SlotMap, String>,
    on_moved: impl Fn(Vec<Slot>),
) {
    let mut refresher = TopologyRefresher::new(&options, shared, on_moved);
    loop {
        let (asked, began) = refresher.begin();
        let answer = ask().await;
        refresher.take(asked, began, answer).await;
    }
}

// === impl TopologyRefresher ===

impl<F: Fn(Vec<Slot>)> TopologyRefresher<F> {
    pub(super) fn new(
        options: &TopologyOptions,
        shared: Arc<SharedUpstream>,
        on_moved: F,
    ) -> TopologyRefresher<F> {
        TopologyRefresher {
            shared,
            refresh_interval: options.refresh_interval,
            refresh_gap_min: options.refresh_gap_min,
            backoff: Backoff::new(options.connection.backoff_min, options.connection.backoff_max),
            failing: false,
            on_moved,
        }
    }

    /// To be called before anybody is asked.
    pub(super) fn begin(&self) -> (u64, Instant) {
        (self.shared.table.refresh_asked(), Instant::now())
    }

    /// Takes an answer to what was asked since `begin`, and waits until it is time to ask again.
    pub(super) async fn take(&mut self, asked: u64, began: Instant, answer: Result<SlotMap, String>) {
        let table = &self.shared.table;
        match answer {
            Ok(map) => {
                let first = table.refreshes() == 0;
                let moved = table.replace(&map.owned, &map.members, asked);
                if first || self.failing {
                    let slots: usize = map.owned.iter().map(|(slots, _)| slots.len()).sum();
                    tracing::info!(slots, "topology discovered");
                } else if !moved.is_empty() {
                    tracing::info!(slots = moved.len(), "slots changed owner");
                }
                (self.on_moved)(moved);
                self.failing = false;
                self.backoff.reset();
                let _ = time::timeout(self.refresh_interval, table.refresh_wanted()).await;
                time::sleep_until(began + self.refresh_gap_min).await;
            }
            Err(cause) => {
                if !self.failing {
                    tracing::warn!(cause, "topology discovery failed; retrying");
                }
                self.failing = true;
                table.attempt_failed(cause);
                time::sleep(self.backoff.next_delay()).await;
            }
        }
    }
}
