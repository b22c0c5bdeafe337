//! Puts what was answered into the slot table, and says when to ask again.

use std::sync::Arc;

use tokio::time::{self, Instant};

use super::map::SlotMap;
use super::query::TopologyQuery;
use crate::protocol::key::Slot;
use crate::upstream::conn::backoff::Backoff;
use crate::upstream::options::TopologyOptions;
use crate::upstream::shared::SharedUpstream;

/// Fills the slot table and keeps it true, for as long as it is polled. `on_moved` is called with the slots
/// that have another owner than before, after the table says so.
pub async fn keep(options: TopologyOptions, shared: Arc<SharedUpstream>, on_moved: impl Fn(Vec<Slot>)) {
    let mut query = TopologyQuery::new(options.clone(), shared.clone());
    let mut backoff = Backoff::new(options.connection.backoff_min, options.connection.backoff_max);
    loop {
        let ask = async {
            let answer = query.ask().await;
            shared.status.report_control(query.is_connected());
            answer
        };
        refresh(&options, &shared, &mut backoff, ask, &on_moved).await;
    }
}

/// Does what [`keep`] does, with the answers of `ask`: the nodes of the simulator are asked in another way.
pub async fn keep_by(
    options: TopologyOptions,
    shared: Arc<SharedUpstream>,
    mut ask: impl AsyncFnMut() -> Result<SlotMap, String>,
    on_moved: impl Fn(Vec<Slot>),
) {
    let mut backoff = Backoff::new(options.connection.backoff_min, options.connection.backoff_max);
    loop {
        refresh(&options, &shared, &mut backoff, ask(), &on_moved).await;
    }
}

/// Takes the answer of `ask`, and waits until it is time to ask again.
async fn refresh(
    options: &TopologyOptions,
    shared: &SharedUpstream,
    backoff: &mut Backoff,
    ask: impl Future<Output = Result<SlotMap, String>>,
    on_moved: &impl Fn(Vec<Slot>),
) {
    let table = &shared.table;
    let (asked, began) = (table.refresh_asked(), Instant::now());
    match ask.await {
        Ok(map) => {
            let first = table.refreshes() == 0;
            let moved = table.replace(&map.owned, &map.members, asked);
            if first || backoff.is_failing() {
                let slots: usize = map.owned.iter().map(|(slots, _)| slots.len()).sum();
                tracing::info!(slots, "topology discovered");
            } else if !moved.is_empty() {
                tracing::info!(slots = moved.len(), "slots changed owner");
            }
            on_moved(moved);
            backoff.reset();
            let _ = time::timeout(options.refresh_interval, table.refresh_wanted()).await;
            time::sleep_until(began + options.refresh_gap_min).await;
        }
        Err(cause) => {
            if !backoff.is_failing() {
                tracing::warn!(cause, "topology discovery failed; retrying");
            }
            table.attempt_failed(cause);
            time::sleep(backoff.next_delay()).await;
        }
    }
}
