//! Keeps one BCAST connection to every primary, for the prefixes that are wanted at present.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{self, Instant};

use super::listener::{BcastEvent, BcastListener, BcastWork, OnBcastEvent};
use super::state::{BcastPrefixes, BcastState};
use crate::node::NodeId;
use crate::upstream::options::UpstreamOptions;
use crate::upstream::shared::SharedUpstream;

/// The least time between two changes of the prefixes: each change means new connections.
const PREFIXES_GAP: Duration = Duration::from_millis(100);

/// Keeps a BCAST connection for the prefixes in `wanted` to every primary, for as long as it is polled.
pub async fn keep(
    options: UpstreamOptions,
    shared: Arc<SharedUpstream>,
    mut wanted: watch::Receiver<BcastPrefixes>,
    on_heard: OnBcastEvent,
) {
    let changed = Arc::new(Notify::new());
    let mut discovery = shared.table.follow();
    let mut prefixes = BcastPrefixes::default();
    let mut listeners: BTreeMap<NodeId, BcastListener> = BTreeMap::new();
    let mut changed_at = Instant::now();
    loop {
        let before = listeners.len();
        let latest = wanted.borrow_and_update().clone();
        if latest != prefixes {
            time::sleep_until(changed_at + PREFIXES_GAP).await;
            listeners.clear();
            (prefixes, changed_at) = (latest, Instant::now());
        }
        discovery.latest();
        let primaries = if prefixes.is_empty() { Vec::new() } else { primaries(&shared) };
        listeners.retain(|node, _| primaries.contains(node));
        if listeners.len() < before {
            on_heard(BcastEvent::Everything);
        }
        for node in primaries {
            listeners.entry(node).or_insert_with_key(|node| {
                BcastListener::start(BcastWork {
                    node: node.clone(),
                    state: Arc::new(BcastState::new(prefixes.clone())),
                    options: options.clone(),
                    shared: shared.clone(),
                    on_heard: on_heard.clone(),
                    changed: changed.clone(),
                })
            });
        }
        let all = !listeners.is_empty() && listeners.values().all(|listener| listener.state().is_armed());
        let armed = if all { prefixes.clone() } else { BcastPrefixes::default() };
        let states = listeners.iter().map(|(node, listener)| (node.clone(), listener.state().clone()));
        shared.broadcast.set(armed, states.collect());
        tokio::select! {
            // In one order always, so that a simulated run can be repeated.
            biased;
            changed = wanted.changed() => if changed.is_err() { return },
            () = discovery.changed() => {}
            () = changed.notified() => {}
        }
    }
}

fn primaries(shared: &SharedUpstream) -> Vec<NodeId> {
    shared.table.primaries().iter().filter_map(|index| shared.table.node(*index)).collect()
}
