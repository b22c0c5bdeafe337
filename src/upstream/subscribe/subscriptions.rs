//! Which subscriptions are wanted by this process, and whether messages for them come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::plan::{SubscriptionPlan, SubscriptionStatus};
use super::topic::Topic;
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::stats::WorkerStats;
use crate::upstream::error::UpstreamError;
use crate::upstream::options::UpstreamOptions;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::topology::slots::Discovery;

/// Whether subscriptions that are wanted are active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Everything that is published on any of them from now on comes in.
    Ready,
    /// Some are not confirmed yet.
    NotYet,
    /// Some cannot be had; the error reply for the client.
    Failed(Bytes),
}

/// The subscriptions of the process. Any thread may want one; [`Subscriptions::run`] must run on one thread.
#[derive(Debug)]
pub struct Subscriptions {
    pub(super) options: UpstreamOptions,
    pub(super) upstream: Arc<SharedUpstream>,
    pub(super) plan: Mutex<SubscriptionPlan>,
    /// The number of different subscriptions that are wanted: a copy that is read without the lock.
    pub(super) topics: AtomicUsize,
    /// Wakes those that wait for a subscription to become active, or to fail.
    pub(super) settled: Notify,
    /// Wakes [`Subscriptions::run`] when a connection is needed.
    pub(super) needed: Notify,
    pub(super) stats: Arc<WorkerStats>,
}

/// Subscriptions that are wanted for as long as this lives.
#[derive(Debug)]
pub struct SubscriptionGuard {
    subscriptions: Arc<Subscriptions>,
    topics: Arc<[Topic]>,
}

// === impl Subscriptions ===

impl Subscriptions {
    /// At most `topics_max` different subscriptions.
    pub fn new(
        options: UpstreamOptions,
        upstream: Arc<SharedUpstream>,
        topics_max: usize,
        stats: Arc<WorkerStats>,
    ) -> Arc<Subscriptions> {
        let plan = Mutex::new(SubscriptionPlan::new(topics_max));
        let (topics, settled, needed) = (AtomicUsize::new(0), Notify::new(), Notify::new());
        Arc::new(Subscriptions { options, upstream, plan, topics, settled, needed, stats })
    }

    /// Wants `topics`; `None` if they would be too many different ones.
    pub fn want(self: &Arc<Subscriptions>, topics: Vec<Topic>) -> Option<SubscriptionGuard> {
        let mut plan = self.plan.lock();
        let held = plan.hold(&topics);
        self.topics.store(plan.len(), Ordering::Relaxed);
        if plan.has_new() {
            self.needed.notify_one();
        }
        drop(plan);
        held.then(|| SubscriptionGuard { subscriptions: self.clone(), topics: topics.into() })
    }

    /// Whether nothing at all is wanted.
    pub fn is_idle(&self) -> bool {
        self.topics.load(Ordering::Relaxed) == 0
    }

    /// How many of `topics` are active on `node`, which counts each of them as a receiver of a message.
    pub fn own_receivers<'a>(&self, node: &NodeId, topics: impl Iterator<Item = &'a Topic>) -> usize {
        let node = self.upstream.table.index_of(node);
        let plan = self.plan.lock();
        topics.filter(|topic| plan.is_active(node, topic)).count()
    }

    /// How many patterns of ours `node` counts.
    pub fn own_patterns(&self, node: &NodeId) -> usize {
        self.plan.lock().own_patterns(self.upstream.table.index_of(node))
    }

    /// Whether `topic` is active on `node`.
    pub fn is_active_on(&self, node: &NodeId, topic: &Topic) -> bool {
        self.plan.lock().is_active(self.upstream.table.index_of(node), topic)
    }

    /// For each of `topics`, whether messages for it come in.
    pub fn are_active<'a>(&self, topics: impl Iterator<Item = &'a Topic>) -> Vec<bool> {
        let plan = self.plan.lock();
        topics.map(|topic| plan.status(topic) == SubscriptionStatus::Active).collect()
    }

    /// Whether a node is about to begin or end a subscription that it counts when something is
    /// published on `channel`; any subscription if there is none.
    pub fn is_changing(&self, channel: Option<&Topic>) -> bool {
        self.plan.lock().is_changing(|topic| channel.is_none_or(|channel| topic.gets(channel)))
    }

    /// Waits until `is_over`, at most until `deadline`.
    pub fn settled<F>(
        self: &Arc<Subscriptions>,
        deadline: Instant,
        is_over: F,
    ) -> impl Future<Output = ()> + use<F>
    where
        F: Fn(&Subscriptions) -> bool,
    {
        let subscriptions = self.clone();
        async move {
            loop {
                let settled = subscriptions.settled.notified();
                tokio::pin!(settled);
                settled.as_mut().enable();
                if is_over(&subscriptions) || timeout_at(deadline, settled).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Wants each of `topics`, all of which are wanted already, until they are released.
    pub fn keep(&self, topics: &[Topic]) {
        self.plan.lock().hold(topics);
    }

    /// Wants `topics` no more.
    pub fn release(&self, topics: &[Topic]) {
        let mut plan = self.plan.lock();
        plan.release(topics);
        self.topics.store(plan.len(), Ordering::Relaxed);
        drop(plan);
        // What no node was asked for yet is no change any more.
        self.settled.notify_waiters();
    }

    fn readiness(&self, topics: &[Topic]) -> Readiness {
        let plan = self.plan.lock();
        let mut all = Readiness::Ready;
        for topic in topics {
            match plan.status(topic) {
                SubscriptionStatus::Active => {}
                SubscriptionStatus::Waits => all = Readiness::NotYet,
                SubscriptionStatus::Refused(error) => return Readiness::Failed(error),
                SubscriptionStatus::Unreachable(node, cause) => {
                    let node = self.upstream.table.node(node).unwrap_or_else(|| NodeId::new("?"));
                    return failed(&UpstreamError::Unreachable { node, cause });
                }
                SubscriptionStatus::Nowhere => match &self.upstream.table.discovery() {
                    Discovery::Pending => all = Readiness::NotYet,
                    Discovery::Failed(cause) => {
                        return failed(&UpstreamError::NoTopology { cause: cause.clone() });
                    }
                    // It was read a moment ago, and the plan follows it soon.
                    Discovery::Done(_) if self.upstream.table.owner(Slot::of(&topic.name)).is_some() => {
                        all = Readiness::NotYet;
                    }
                    Discovery::Done(_) => {
                        return failed(&UpstreamError::NoOwner { slot: Slot::of(&topic.name) });
                    }
                },
            }
        }
        all
    }
}

fn failed(failure: &UpstreamError) -> Readiness {
    Readiness::Failed(encode::error_reply(failure.to_string()))
}

// === impl SubscriptionGuard ===

impl SubscriptionGuard {
    /// What is wanted.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// Whether all of it is active.
    pub fn readiness(&self) -> Readiness {
        self.subscriptions.readiness(&self.topics)
    }

    /// Waits until all of it is active, or some of it failed, at most until `deadline`.
    pub fn decided(&self, deadline: Instant) -> impl Future<Output = ()> + use<> {
        let topics = self.topics.clone();
        self.subscriptions
            .settled(deadline, move |subscriptions| subscriptions.readiness(&topics) != Readiness::NotYet)
    }
}

impl Drop for SubscriptionGuard {
    fn drop(&mut self) {
        self.subscriptions.release(&self.topics);
    }
}
