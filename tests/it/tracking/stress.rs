//! Clients that keep what they read, as client libraries do, while others write and connections are cut:
//! whenever it is quiet, what they keep is what the servers have.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nearside::sandbox::{Cluster, Reply};
use tokio::time::Instant;

use super::Cacher;
use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers::{client_of_owner, own_primaries};

const KEYS: usize = 60;
const CLIENTS: usize = 8;
const ROUNDS: usize = 8;

/// How long the writers write before all falls quiet.
const WRITING: Duration = Duration::from_millis(250);

/// How long it may take until all is told.
const QUIET: Duration = Duration::from_secs(10);

/// A client with a cache of its own, as client libraries have it.
struct Library {
    cacher: Cacher,
    opts_in: bool,
    kept: HashMap<String, Reply>,
}

// === impl Library ===

impl Library {
    fn new(daemon: &Daemon, mode: usize) -> Library {
        let options: &[&str] = match mode % 4 {
            0 => &[],
            1 => &["OPTIN"],
            2 => &["NOLOOP"],
            _ => &["BCAST", "PREFIX", "key"],
        };
        let cacher = Cacher::new(daemon.client(), options);
        Library { cacher, opts_in: mode % 4 == 1, kept: HashMap::new() }
    }

    /// Reads some keys, all in one pipeline, and writes one now and then.
    fn work(&mut self, random: &mut Rng) {
        let mut asked = Vec::new();
        for _ in 0..random.usize(1..12) {
            let keys: Vec<String> = (0..if random.bool() { 1 } else { random.usize(2..6) })
                .map(|_| key(random.usize(..KEYS)))
                .filter(|key| !self.kept.contains_key(key))
                .collect();
            if keys.is_empty() {
                continue;
            }
            if self.opts_in {
                self.cacher.client.send(&["CLIENT", "CACHING", "YES"]).unwrap();
                asked.push(Vec::new());
            }
            let name = if keys.len() == 1 { "GET" } else { "MGET" };
            let command: Vec<&str> = [name].into_iter().chain(keys.iter().map(String::as_str)).collect();
            self.cacher.client.send(&command).unwrap();
            asked.push(keys);
            if random.u8(..20) == 0 {
                let written = key(random.usize(..KEYS));
                let value = format!("own{}", random.u32(..));
                self.cacher.client.send(&["SET", &written, &value]).unwrap();
                // It keeps nothing of what it wrote: with NOLOOP nobody would tell it of its own write.
                asked.push(vec![format!("!{written}")]);
            }
        }
        for keys in asked {
            let reply = self.receive();
            if let [key] = &keys[..]
                && let Some(written) = key.strip_prefix('!')
            {
                self.kept.remove(written);
                continue;
            }
            if reply.is_error() {
                continue;
            }
            let values = if keys.len() > 1 { reply.items().to_vec() } else { vec![reply] };
            self.kept.extend(keys.into_iter().zip(values));
        }
        self.take_in();
    }

    /// The next reply; what is pushed before it is forgotten.
    fn receive(&mut self) -> Reply {
        let reply = self.cacher.reply();
        self.forget();
        reply
    }

    /// Takes in what was pushed by now.
    fn take_in(&mut self) {
        self.cacher.client.send(&["PING"]).unwrap();
        self.receive();
    }

    fn forget(&mut self) {
        for push in std::mem::take(&mut self.cacher.pushes) {
            let Reply::Push(parts) = push else { continue };
            match &parts[1] {
                Reply::Array(keys) => {
                    for key in keys {
                        self.kept.remove(&key.text());
                    }
                }
                _ => self.kept.clear(),
            }
        }
    }
}

fn key(number: usize) -> String {
    format!("key{number}")
}

/// Writes at the nodes themselves.
fn write(cluster: &Cluster, mut random: Rng, is_over: &AtomicBool) {
    let mut owners: Vec<_> =
        (0..KEYS).map(|number| client_of_owner(cluster, key(number).as_bytes())).collect();
    while !is_over.load(Ordering::SeqCst) {
        let number = random.usize(..KEYS);
        let (name, value) = (key(number), random.u64(..).to_string());
        let request = match random.u8(..10) {
            0 => vec!["DEL", &name],
            1 => vec!["SET", &name, &value, "PX", "40"],
            _ => vec!["SET", &name, &value],
        };
        assert!(!owners[number].command(&request).unwrap().is_error());
        thread::sleep(Duration::from_micros(200));
    }
}

/// What each client keeps and the servers do not have.
fn wrong(cluster: &Cluster, libraries: &[Library]) -> Vec<String> {
    let mut wrong = Vec::new();
    let asked: HashSet<&String> = libraries.iter().flat_map(|library| library.kept.keys()).collect();
    for key in asked {
        let now = client_of_owner(cluster, key.as_bytes()).command(&["GET", key]).unwrap();
        let same = |kept: &Reply| *kept == now || kept.is_nil() && now.is_nil();
        for (index, library) in libraries.iter().enumerate() {
            if let Some(kept) = library.kept.get(key).filter(|kept| !same(kept)) {
                wrong.push(format!("client {index} keeps {kept:?} of {key}, which is {now:?}"));
            }
        }
    }
    wrong
}

fn stress(cluster: &Cluster, daemon: &Daemon, seed: u64, relays: &[Relay]) {
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let mut libraries: Vec<Library> = (0..CLIENTS).map(|mode| Library::new(daemon, mode)).collect();
    let mut kept = 0;
    for round in 0..ROUNDS {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = random.fork();
            scope.spawn(|| write(cluster, writer, &is_over));
            for library in &mut libraries {
                let mut random = random.fork();
                let is_over = &is_over;
                scope.spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        library.work(&mut random);
                    }
                });
            }
            for relay in relays {
                thread::sleep(WRITING / 4);
                relay.cut();
            }
            thread::sleep(WRITING);
            is_over.store(true, Ordering::SeqCst);
        });
        let deadline = Instant::now() + QUIET;
        loop {
            libraries.iter_mut().for_each(Library::take_in);
            let wrong = wrong(cluster, &libraries);
            if wrong.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "round {round}: {wrong:#?}");
            thread::sleep(Duration::from_millis(20));
        }
        kept += libraries.iter().map(|library| library.kept.len()).sum::<usize>();
    }
    assert!(kept > 100, "only {kept} values were ever kept: nothing was tried");
}

#[test]
fn what_clients_keep_is_what_the_servers_have() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(3);
    stress(&cluster, &daemon, 1, &[]);
}

#[test]
fn what_clients_keep_is_what_the_servers_have_with_several_workers() {
    let cluster = own_primaries(3);
    let url = crate::support::daemon::upstream_url(&cluster);
    let daemon = Daemon::start(&["--upstream", &url, "--workers", "3"]);
    stress(&cluster, &daemon, 2, &[]);
}

#[test]
fn what_clients_keep_is_what_the_servers_have_though_connections_are_cut() {
    let cluster = own_primaries(2);
    let relays: Vec<Relay> = cluster.nodes().iter().map(Relay::before).collect();
    let seeds: Vec<String> = relays.iter().map(|relay| relay.address().to_string()).collect();
    for (seed, workers) in [(3, "1"), (4, "2")] {
        let url = format!("redis-cluster://{}", seeds.join(","));
        let daemon = Daemon::start(&["--upstream", &url, "--workers", workers]);
        stress(&cluster, &daemon, seed, &relays);
    }
}
