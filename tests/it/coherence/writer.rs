//! Writes on the nodes themselves, past every daemon, and notes each write in the history.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nearside::sandbox::{Cluster, Reply, SandboxClient, Server};
use tokio::time::Instant;

use super::history::History;

/// The one writer of all keys in the history.
pub(super) struct Writer<'a> {
    cluster: &'a Cluster,
    history: &'a History,
    /// The owner of each key, as far as known, and a connection to each node by its port.
    owners: Vec<u16>,
    connections: HashMap<u16, SandboxClient>,
    pub(super) writes: u64,
    pub(super) flushes: u64,
}

/// Between two writes: about two thousand a second.
const PAUSE: Duration = Duration::from_micros(300);

/// How long a write may be tried while the cluster fails over.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

// === impl Writer ===

impl<'a> Writer<'a> {
    pub(super) fn new(cluster: &'a Cluster, history: &'a History) -> Writer<'a> {
        let (owners, connections) = (Vec::new(), HashMap::new());
        let mut writer = Writer { cluster, history, owners, connections, writes: 0, flushes: 0 };
        writer.look_around();
        writer
    }

    /// Writes until it is over; flushes a node now and then.
    pub(super) fn run(&mut self, random: &mut Rng, flush_every: Duration, is_over: &AtomicBool) {
        for key in 0..self.history.key_count() {
            self.write(key, false);
        }
        let mut flushed = Instant::now();
        while !is_over.load(Ordering::SeqCst) {
            if flushed.elapsed() > flush_every {
                self.flush(random);
                flushed = Instant::now();
            }
            self.write(random.usize(..self.history.key_count()), random.u8(..10) == 0);
            thread::sleep(PAUSE);
        }
    }

    /// Brings a key into its next state, however often that has to be tried: a refused write was not
    /// executed, and one whose connection was lost can be repeated, because nobody else writes the key.
    fn write(&mut self, key: usize, is_absent: bool) {
        let state = self.history.begin(key, is_absent);
        self.settle(key, state, is_absent);
    }

    fn settle(&mut self, key: usize, state: usize, is_absent: bool) {
        let (name, value) = (History::key(key), History::value(key, state));
        let request = if is_absent { vec!["DEL", &name] } else { vec!["SET", &name, &value] };
        let deadline = Instant::now() + WRITE_LIMIT;
        loop {
            let reply = self.ask(self.owners[key], &request);
            if reply.as_ref().is_some_and(|reply| !reply.is_error()) {
                break;
            }
            assert!(Instant::now() < deadline, "{request:?} on the node gave {reply:?}");
            thread::sleep(Duration::from_millis(5));
            self.look_around();
        }
        self.history.acknowledge(key);
        self.writes += 1;
    }

    /// Flushes one node: all of its keys are absent after that.
    fn flush(&mut self, random: &mut Rng) {
        let node = self.owners[random.usize(..self.owners.len())];
        let keys: Vec<usize> = (0..self.owners.len()).filter(|key| self.owners[*key] == node).collect();
        let states: Vec<usize> = keys.iter().map(|key| self.history.begin(*key, true)).collect();
        self.history.flush_changes();
        let reply = self.ask(node, &["FLUSHALL"]);
        self.history.flush_changes();
        self.flushes += 1;
        let is_flushed = reply.is_some_and(|reply| reply.is_ok());
        for (key, state) in keys.into_iter().zip(states) {
            if is_flushed {
                self.history.acknowledge(key);
            } else {
                // It is no primary any more.
                self.settle(key, state, true);
            }
        }
    }

    fn ask(&mut self, port: u16, request: &[&str]) -> Option<Reply> {
        let reply = self.connections.get_mut(&port)?.command(request);
        if reply.is_err() {
            self.connections.remove(&port);
        }
        reply.ok()
    }

    /// Asks the cluster who owns what.
    fn look_around(&mut self) {
        let keys: Vec<String> = (0..self.history.key_count()).map(History::key).collect();
        let port = |server: &Server| server.address().port();
        let by_owner = self.cluster.by_owner(&keys).unwrap();
        let owned: HashMap<&String, u16> = by_owner
            .iter()
            .flat_map(|(node, own)| own.iter().map(|key| (*key, port(node.server()))))
            .collect();
        self.owners = keys.iter().map(|key| owned.get(key).copied().unwrap_or_default()).collect();
        for (node, _) in by_owner {
            if let Ok(connection) = node.server().connect() {
                self.connections.entry(port(node.server())).or_insert(connection);
            }
        }
    }
}
