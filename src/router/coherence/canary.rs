//! The canary: one key of each node that is read and written now and then, to measure how soon an
//! invalidation arrives, and to check that it arrives at all.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{self, MissedTickBehavior};

use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::node::NodeId;
use crate::protocol::db::DbIndex;
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::encode;
use crate::upstream::{Call, NodeIndex, Outcome, Upstream};

/// What the names of all canary keys begin with.
pub const PREFIX: &[u8] = b"nearside:canary:";

/// The least TTL of a canary key after its last write.
const KEY_LIFE_MIN: Duration = Duration::from_secs(10);

/// Longer times count as this: a minute.
const MICROS_MAX: u64 = 60_000_000;

/// Tags that are tried until one lies in a slot of the node.
const TAGS_MAX: u32 = 1 << 20;

/// The canaries of all nodes.
#[derive(Debug)]
pub struct Canary {
    interval: Duration,
    /// How long the invalidation may take: after that time L1 does not serve the entry any more.
    timeout: Duration,
    /// A random number, so that no two daemons share keys.
    name: u32,
    nodes: Mutex<BTreeMap<NodeId, CanaryStats>>,
    waiting: Mutex<HashMap<Bytes, oneshot::Sender<Nanos>>>,
}

/// What was measured of one node.
#[derive(Clone, Debug, Default)]
pub struct CanaryStats {
    /// The time from sending the write until its invalidation arrived, in microseconds, once that was
    /// measured.
    pub micros: Option<Histogram<u64>>,
    /// The last of these.
    pub last: u64,
    /// Invalidations that did not come in time.
    pub missed: u64,
    /// Reads and writes that the node refused.
    pub refused: u64,
    /// Why it refuses, as long as it does.
    refusal: Option<String>,
}

/// What came of one try.
enum ProbeOutcome {
    After(Duration),
    Never,
    Refused(String),
    /// The connection was not tracked, or was lost: no invalidation was due.
    Nothing,
}

// === impl Canary ===

impl Canary {
    /// Canaries that are written every `interval`, and whose invalidation may take `timeout`.
    pub fn new(interval: Duration, timeout: Duration) -> Canary {
        let (nodes, waiting) = Default::default();
        Canary { interval, timeout, name: fastrand::u32(..), nodes, waiting }
    }

    /// What was measured of each node.
    pub fn stats(&self) -> BTreeMap<NodeId, CanaryStats> {
        self.nodes.lock().clone()
    }

    /// Looks whether an invalidation is of one of the keys.
    pub fn hear(&self, invalidation: &Invalidation) {
        let Invalidation::Keys(keys) = invalidation else { return };
        for key in keys.iter().filter(|key| key.starts_with(PREFIX)) {
            if let Some(waiting) = self.waiting.lock().remove(key) {
                // No probe waits for a late one.
                let _ = waiting.send(clock::now());
            }
        }
    }

    /// Measures every node over the connections of `upstream`, whose invalidations must come here. Does not
    /// end by itself.
    pub async fn run(self: Arc<Canary>, upstream: Rc<Upstream>) {
        let mut turns = time::interval(self.interval);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let primaries = upstream.primaries();
            let nodes: Vec<NodeId> = primaries.iter().map(|index| upstream.node(*index)).collect();
            self.nodes.lock().retain(|node, _| nodes.contains(node));
            let tries = primaries.iter().zip(&nodes).map(async |(index, node)| {
                if let Some(heard) = self.try_one(&upstream, *index).await {
                    self.note(node, heard);
                }
            });
            join_all(tries).await;
        }
    }

    /// Writes the key of one node; `None` when the node has no slot that stays.
    async fn try_one(&self, upstream: &Rc<Upstream>, index: NodeIndex) -> Option<ProbeOutcome> {
        let now = clock::now();
        let is_its = |tag: &u32| {
            let slot = Slot::of(tag.to_string().as_bytes());
            upstream.owner(slot) == Some(index) && !upstream.is_moving(slot, now)
        };
        let tag = (0..TAGS_MAX).find(is_its)?;
        let prefix = std::str::from_utf8(PREFIX).unwrap_or_default();
        let key = Bytes::from(format!("{prefix}{{{tag}}}:{:08x}", self.name));
        let slot = Slot::of(&key);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(key.clone(), sender);
        let life = (2 * self.interval).max(KEY_LIFE_MIN).as_millis().to_string();
        let send = |bytes, reads_only| {
            upstream.send(Some(slot), Call::new(DbIndex::default(), KeySlots::One(slot), bytes, reads_only))
        };
        let mut read = send(encode::request(&[b"GET", &key[..]]), true);
        let is_tracked = read.epoch.take().is_some();
        let written_at = clock::now();
        let set = encode::request(&[
            b"SET",
            &key[..],
            &written_at.to_string().into_bytes(),
            b"PX",
            life.as_bytes(),
        ]);
        let write = send(set, false);
        let outcomes = [read.reply.await.ok(), write.reply.await.ok()];
        let heard = match refusal(&outcomes) {
            Some(refusal) => ProbeOutcome::Refused(refusal),
            None if !is_tracked || outcomes.iter().any(is_lost) => ProbeOutcome::Nothing,
            None => match time::timeout(self.timeout, receiver).await {
                Ok(Ok(at)) => ProbeOutcome::After(Duration::from_nanos(at.saturating_sub(written_at))),
                _ => ProbeOutcome::Never,
            },
        };
        self.waiting.lock().remove(&key);
        Some(heard)
    }

    fn note(&self, node: &NodeId, heard: ProbeOutcome) {
        let mut nodes = self.nodes.lock();
        let stats = nodes.entry(node.clone()).or_default();
        match heard {
            ProbeOutcome::After(time) => {
                stats.last = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                // These bounds are right, so there is an error to expect from neither.
                let bounds = || Histogram::new_with_bounds(1, MICROS_MAX, 2).ok();
                stats.micros = stats.micros.take().or_else(bounds);
                if let Some(micros) = &mut stats.micros {
                    micros.saturating_record(stats.last);
                }
                stats.refusal = None;
            }
            ProbeOutcome::Never => {
                stats.missed += 1;
                tracing::warn!(
                    %node, missed = stats.missed,
                    "canary: a key was written and nothing was heard of it in time; L1 serves nothing of this node longer than lease"
                );
            }
            ProbeOutcome::Refused(refusal) => {
                stats.refused += 1;
                if stats.refusal.as_ref() != Some(&refusal) {
                    tracing::warn!(%node, error = refusal, "canary: the node refuses its key; allow GET and SET of nearside:canary:*");
                }
                stats.refusal = Some(refusal);
            }
            ProbeOutcome::Nothing => {}
        }
    }
}

/// The error that a node answered with, if it did.
fn refusal(outcomes: &[Option<Outcome>]) -> Option<String> {
    let replies = outcomes.iter().filter_map(|outcome| outcome.as_ref()?.as_ref().ok());
    let refused = replies.map(|reply| &reply.frame).find(|frame| frame.starts_with(b"-"));
    refused.map(|frame| String::from_utf8_lossy(frame[1..].trim_ascii_end()).into_owned())
}

/// Whether there is no reply, or it took another way.
fn is_lost(outcome: &Option<Outcome>) -> bool {
    outcome.as_ref().and_then(|outcome| outcome.as_ref().ok()).is_none_or(|reply| reply.rerouted)
}
