//! Keeps the slot table true: who owns what, asked on a timer and whenever a connection has reason to doubt.
//!
//! All of it is off the data path, over a connection of its own, and everything that comes on that has a
//! bound: so many bytes, so long for each step, one shape that is taken and no other.

use std::sync::Arc;
use std::time::Duration;

pub(super) mod address_map;
mod asker;
mod cluster_identity;
pub(super) mod cluster_nodes;
mod control;
mod map;
mod ordered_watch;
mod refresher;
mod sentinel;
pub(super) mod slots;

use super::SharedUpstream;
use super::options::{Deployment, UpstreamOptions};
use crate::protocol::key::Slot;
use asker::TopologyQuery;
pub use map::SlotMap;
use refresher::TopologyRefresher;

/// What the topology needs to know.
#[derive(Clone, Debug)]
pub struct TopologyOptions {
    /// What is asked.
    pub deployment: Deployment,
    /// The configured names of a cluster alone are asked, and no nodes that it named itself.
    pub configured_only: bool,
    /// How those are spoken to that are asked: as whom, how long each step may take, and how long an answer
    /// may be.
    pub connection: UpstreamOptions,
    /// How often it is asked without a reason.
    pub refresh_interval: Duration,
    /// How much time lies between two refreshes at least, whatever the reasons.
    pub refresh_gap_min: Duration,
}

/// Fills the slot table and keeps it true, for as long as it is polled. `on_moved` is called with the slots
/// that have another owner than before, after the table says so.
pub async fn keep(options: TopologyOptions, shared: Arc<SharedUpstream>, on_moved: impl Fn(Vec<Slot>)) {
    let mut keeper = TopologyRefresher::new(&options, shared.clone(), on_moved);
    let mut asker = TopologyQuery::new(options, shared.clone());
    loop {
        let (asked, began) = keeper.begin();
        let answer = asker.ask().await;
        shared.board.post_control(asker.is_connected());
        keeper.take(asked, began, answer).await;
    }
}

/// The same, asking whoever `ask` asks: the nodes of the simulator have a word of their own for it.
pub async fn keep_by(
    options: TopologyOptions,
    shared: Arc<SharedUpstream>,
    mut ask: impl AsyncFnMut() -> Result<SlotMap, String>,
    on_moved: impl Fn(Vec<Slot>),
) {
    let mut keeper = TopologyRefresher::new(&options, shared, on_moved);
    loop {
        let (asked, began) = keeper.begin();
        let answer = ask().await;
        keeper.take(asked, began, answer).await;
    }
}
