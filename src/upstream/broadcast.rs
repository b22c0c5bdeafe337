//! Listening to all keys that begin with some prefix, whoever read them: one connection to each primary, for as long as
//! some client of ours wants it.
//!
//! Tracking on the lanes tells of keys that were read on them; a client in BCAST mode wants to hear of others as well.
//! What may have been missed, before a connection stood or after it was lost, is told as everything.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{self, Instant, MissedTickBehavior};

use super::SharedUpstream;
use super::backoff::Backoff;
use super::handshake;
use super::options::UpstreamOptions;
use super::push::{self, Push};
use super::wire::{Event, Wire};
use crate::node::NodeId;
use crate::resp::encode;
use crate::write_queue::WriteQueue;

/// Prefixes of keys, none of which begins with another one. Empty when nothing is listened to.
pub type Prefixes = Arc<[Bytes]>;

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// These keys changed.
    Keys(Vec<Bytes>),
    /// Anything may have changed without a word.
    Everything,
}

/// Called with what was heard, in the order in which each node said it.
pub type OnHeard = Arc<dyn Fn(Heard) + Send + Sync>;

/// What is listened to at present.
#[derive(Debug)]
pub struct Broadcast {
    /// What every primary tells of; empty while one of them does not.
    armed: watch::Sender<Prefixes>,
}

/// The prefixes change at most so often: each change means new connections.
const PREFIXES_GAP: Duration = Duration::from_millis(100);

/// What all listeners share.
struct Context {
    options: UpstreamOptions,
    on_heard: OnHeard,
    /// A listener was armed or lost its connection.
    stirred: Notify,
}

/// One node that is listened to. Ends with this.
struct Listener {
    armed: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

// === impl Broadcast ===

impl Default for Broadcast {
    fn default() -> Broadcast {
        Broadcast { armed: watch::Sender::new(Prefixes::default()) }
    }
}

impl Broadcast {
    /// Whether every primary tells of all keys with these prefixes.
    pub fn covers(&self, prefixes: &[Bytes]) -> bool {
        covers(&self.armed.borrow(), prefixes)
    }

    /// Waits until it does, or `patience` is over.
    pub async fn covering(&self, prefixes: &[Bytes], patience: Duration) {
        let mut armed = self.armed.subscribe();
        let covering = armed.wait_for(|armed| covers(armed, prefixes));
        // Whoever waited goes on in either case, and is told everything once it does.
        let _ = time::timeout(patience, covering).await;
    }
}

fn covers(armed: &[Bytes], prefixes: &[Bytes]) -> bool {
    prefixes.iter().all(|prefix| armed.iter().any(|armed| prefix.starts_with(armed)))
}

/// Listens to what is wanted, for as long as it is polled.
pub async fn keep(
    options: UpstreamOptions,
    shared: Arc<SharedUpstream>,
    mut wanted: watch::Receiver<Prefixes>,
    on_heard: OnHeard,
) {
    let context = Arc::new(Context { options, on_heard, stirred: Notify::new() });
    let mut knowledge = shared.table.follow();
    let mut prefixes = Prefixes::default();
    let mut listeners: BTreeMap<NodeId, Listener> = BTreeMap::new();
    let mut changed_at = Instant::now();
    loop {
        let before = listeners.len();
        let latest = wanted.borrow_and_update().clone();
        if latest != prefixes {
            time::sleep_until(changed_at + PREFIXES_GAP).await;
            listeners.clear();
            (prefixes, changed_at) = (latest, Instant::now());
        }
        knowledge.latest();
        let primaries = if prefixes.is_empty() { Vec::new() } else { primaries(&shared) };
        listeners.retain(|node, _| primaries.contains(node));
        if listeners.len() < before {
            (context.on_heard)(Heard::Everything);
        }
        for node in primaries {
            let start = || Listener::start(node.clone(), prefixes.clone(), context.clone());
            listeners.entry(node.clone()).or_insert_with(start);
        }
        let all = !listeners.is_empty() && listeners.values().all(Listener::is_armed);
        shared.broadcast.armed.send_replace(if all { prefixes.clone() } else { Prefixes::default() });
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = knowledge.changed() => {}
            () = context.stirred.notified() => {}
        }
    }
}

fn primaries(shared: &SharedUpstream) -> Vec<NodeId> {
    shared.table.primaries().iter().filter_map(|index| shared.table.node(*index)).collect()
}

// === impl Listener ===

impl Listener {
    fn start(node: NodeId, prefixes: Prefixes, context: Arc<Context>) -> Listener {
        let armed = Arc::<AtomicBool>::default();
        let task = tokio::spawn(context.listen(node, prefixes, armed.clone()));
        Listener { armed, task }
    }

    fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Context ===

impl Context {
    /// Listens to one node, over one connection after the other.
    async fn listen(self: Arc<Context>, node: NodeId, prefixes: Prefixes, armed: Arc<AtomicBool>) {
        let mut backoff = Backoff::new(self.options.backoff_min, self.options.backoff_max);
        loop {
            let arming = self.arm(&node, &prefixes);
            let cause = match time::timeout(self.options.connect_timeout, arming).await {
                Ok(Ok(wire)) => {
                    backoff.reset();
                    tracing::info!(%node, prefixes = prefixes.len(), "listening to all keys for clients that cache");
                    // What changed before nobody told.
                    (self.on_heard)(Heard::Everything);
                    self.set(&armed, true);
                    let error = self.hear(wire).await;
                    self.set(&armed, false);
                    (self.on_heard)(Heard::Everything);
                    error.to_string()
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} ms", self.options.connect_timeout.as_millis()),
            };
            let delay = backoff.next_delay();
            tracing::info!(%node, cause, "the node is not listened to; trying again");
            time::sleep(delay).await;
        }
    }

    async fn arm(&self, node: &NodeId, prefixes: &[Bytes]) -> io::Result<Wire> {
        let mut wire = Wire::connect(node, self.options.request_timeout).await?;
        let mut bytes = BytesMut::from(&handshake::hello(self.options.credentials.as_ref())[..]);
        let mut arming: Vec<&[u8]> = vec![b"CLIENT", b"TRACKING", b"ON", b"BCAST"];
        for prefix in prefixes {
            arming.extend([b"PREFIX", &prefix[..]]);
        }
        bytes.extend_from_slice(&encode::request(&arming));
        for reply in wire.converse(&bytes.freeze(), 2).await? {
            if let Some(error) = handshake::error_text(&reply) {
                return Err(handshake::refusal(&error));
            }
        }
        Ok(wire)
    }

    /// Hears a node out until its connection is lost, or it is silent for longer than the lease; returns why.
    async fn hear(&self, mut wire: Wire) -> io::Error {
        let mut out = WriteQueue::default();
        let mut ticks = time::interval(self.options.heartbeat_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // All that was said before the latest PING that was answered has been heard.
        let (mut heard_until, mut asked_at) = (Instant::now(), None);
        loop {
            tokio::select! {
                event = wire.event(!out.is_empty()) => match event {
                    Ok(Event::Read) => match self.take(&mut wire) {
                        Ok(true) => heard_until = asked_at.take().unwrap_or(heard_until),
                        Ok(false) => {}
                        Err(error) => return error,
                    },
                    Ok(Event::Room) => {}
                    Err(error) => return error,
                },
                _ = ticks.tick() => {
                    if heard_until.elapsed() > self.options.lease {
                        return io::Error::new(io::ErrorKind::TimedOut, "the node is silent");
                    }
                    if asked_at.is_none() {
                        asked_at = Some(Instant::now());
                        out.push(&encode::request(&["PING"]));
                    }
                }
            }
            if let Err(error) = wire.write(&mut out) {
                return error;
            }
        }
    }

    /// Takes in what was read; whether a reply was among it.
    fn take(&self, wire: &mut Wire) -> io::Result<bool> {
        let mut replied = false;
        while let Some(frame) = wire.next_frame()? {
            if frame.first() != Some(&b'>') {
                replied = true;
                continue;
            }
            match push::parse(&frame) {
                Push::Invalidate(keys) => (self.on_heard)(Heard::Keys(keys)),
                Push::InvalidateEverything => (self.on_heard)(Heard::Everything),
                Push::Other => {}
            }
        }
        Ok(replied)
    }

    fn set(&self, armed: &AtomicBool, value: bool) {
        armed.store(value, Ordering::Release);
        self.stirred.notify_one();
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}
