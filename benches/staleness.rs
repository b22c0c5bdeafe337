//! For how long what was written elsewhere is still served: on a calm loopback, and when the network falls
//! silent. `benches/README.md` says how to read it. `cargo bench --bench staleness`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

#[path = "../tests/support/relay.rs"]
#[expect(dead_code, reason = "a bench loses no replies and delays nothing")]
mod relay;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use nearside::clock::{self, Nanos};
use nearside::config::{Config, KEYS, Sources};
use nearside::daemon::Daemon;
use nearside::protocol::key::Slot;
use nearside::sandbox::{Address, Cluster, ClusterShape, Node, SandboxClient};
use relay::Relay;

const WRITES: usize = 5_000;
const CUTS: usize = 20;

/// Pauses between writes, so that each is one by itself.
const PAUSE: Duration = Duration::from_millis(2);

/// A reader does not wait for the reply to a miss: it could not see what is served meanwhile.
const IMPATIENCE: Duration = Duration::from_millis(20);

/// The cluster and one daemon before it.
struct Stage {
    cluster: Cluster,
    relays: Vec<Relay>,
    address: Address,
}

/// What a reader sees of one key while it is written.
#[derive(Default)]
struct Watch {
    /// The number of the value that was served last.
    served: AtomicU64,
    /// When that was.
    served_at: AtomicU64,
    /// When the value before it was served last.
    old_until: AtomicU64,
    is_over: AtomicBool,
}

fn main() {
    let cluster = Cluster::launch(&ClusterShape { replicas_each: 0, ..ClusterShape::default() }).unwrap();
    let relays: Vec<Relay> = cluster.nodes().iter().map(Relay::before).collect();
    let announced: Vec<String> = relays.iter().map(|relay| relay.address().to_string()).collect();
    let flags = [
        ("upstream", format!("redis-cluster://{}", announced.join(","))),
        ("listen", "127.0.0.1:0".to_owned()),
    ];
    let flag = |name: &str| KEYS.iter().find(|key| key.name == name).unwrap();
    let flags = flags.into_iter().map(|(name, value)| (flag(name), value)).collect();
    let sources = Sources { flags, ..Sources::default() };
    let config = Config::load(&sources).unwrap();
    let lease = config.values.lease;
    let daemon = Daemon::start(&config, nearside::memory::Allocator::default()).unwrap();
    let address = Address::Tcp(daemon.addresses()[0]);
    let drain = daemon.drain();
    let serving = thread::spawn(move || daemon.run(sources));

    let stage = Stage { cluster, relays, address };
    stage.until_tracked();
    println!("written elsewhere (acknowledged) until no longer served, in us:");
    print("calm", &stage.calm());
    print("silent cut", &stage.silent_cuts());
    println!("  the bound after a silent cut: lease = {} us", lease.as_micros());
    drain.begin();
    serving.join().unwrap().unwrap();
}

// === impl Stage ===

impl Stage {
    fn until_tracked(&self) {
        let mut client = SandboxClient::connect(&self.address).unwrap();
        loop {
            let info = client.command(&["INFO", "nearside"]).unwrap().text();
            if info.matches("state=tracked").count() == self.relays.len() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Somebody else writes a key that is read all the time.
    fn calm(&self) -> Histogram<u64> {
        let mut stale = Histogram::new(3).unwrap();
        let (key, node, _) = self.key(0);
        self.watched(&key, |watch| {
            let mut direct = node.server().connect().unwrap();
            for number in 1..=WRITES as u64 {
                thread::sleep(PAUSE);
                let acknowledged = write(&mut direct, &key, number);
                watch.until(number);
                stale.record(watch.stale_since(acknowledged) / 1_000).unwrap();
            }
        });
        stale
    }

    /// The same while nothing passes between the daemon and the owner, and nobody is told.
    fn silent_cuts(&self) -> Histogram<u64> {
        let mut stale = Histogram::new(3).unwrap();
        for number in 0..CUTS {
            // Not the key of the calm part, whose numbers are higher.
            let (key, node, relay) = self.key(1 + number);
            let mut direct = node.server().connect().unwrap();
            write(&mut direct, &key, 1);
            self.until_tracked();
            self.watched(&key, |watch| {
                watch.until(1);
                // At any time between two heartbeats.
                thread::sleep(Duration::from_millis(fastrand::u64(..1_000)));
                relay.pause();
                let acknowledged = write(&mut direct, &key, 2);
                watch.until_silent();
                relay.resume();
                watch.until(2);
                stale.record(watch.stale_since(acknowledged) / 1_000).unwrap();
            });
        }
        stale
    }

    /// A key, its owner, and the relay before that.
    fn key(&self, number: usize) -> (String, &Node, &Relay) {
        let key = format!("staleness:{number}");
        let owner = self.cluster.owner_of(Slot::of(key.as_bytes())).unwrap();
        let index = self.cluster.nodes().iter().position(|node| node.id() == owner.id()).unwrap();
        (key, &self.cluster.nodes()[index], &self.relays[index])
    }

    /// Does `act` while a client of the daemon reads `key` without a pause.
    fn watched(&self, key: &str, act: impl FnOnce(&Watch)) {
        let watch = Watch::default();
        thread::scope(|scope| {
            scope.spawn(|| watch.read(&self.address, key));
            act(&watch);
            watch.is_over.store(true, Ordering::SeqCst);
        });
    }
}

// === impl Watch ===

impl Watch {
    fn read(&self, address: &Address, key: &str) {
        let mut client = None;
        while !self.is_over.load(Ordering::SeqCst) {
            let Ok(number) = ask(&mut client, address, key) else {
                client = None;
                continue;
            };
            let former = self.served.load(Ordering::SeqCst);
            assert!(number >= former, "an older value was served");
            let former_at = self.served_at.swap(clock::now(), Ordering::SeqCst);
            if number > former {
                self.old_until.store(former_at, Ordering::SeqCst);
                self.served.store(number, Ordering::SeqCst);
            }
        }
    }

    /// Waits until the value `number` is served.
    fn until(&self, number: u64) {
        while self.served.load(Ordering::SeqCst) < number {
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// Waits until nothing has been served for a while.
    fn until_silent(&self) {
        while clock::now().saturating_sub(self.served_at.load(Ordering::SeqCst))
            < clock::nanos(10 * IMPATIENCE)
        {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// For how long the older value was served after `acknowledged`.
    fn stale_since(&self, acknowledged: Nanos) -> Nanos {
        self.old_until.load(Ordering::SeqCst).saturating_sub(acknowledged)
    }
}

/// Writes at the owner itself; when that was acknowledged.
fn write(direct: &mut SandboxClient, key: &str, number: u64) -> Nanos {
    assert!(direct.command(&["SET", key, &number.to_string()]).unwrap().is_ok());
    clock::now()
}

/// The number that is served now; 0 when there is none.
fn ask(client: &mut Option<SandboxClient>, address: &Address, key: &str) -> io::Result<u64> {
    let client = match client {
        Some(client) => client,
        None => {
            let new = SandboxClient::connect(address)?;
            new.set_timeout(IMPATIENCE)?;
            client.insert(new)
        }
    };
    let reply = client.command(&["GET", key])?;
    if reply.is_error() {
        return Err(io::Error::other(reply.text()));
    }
    Ok(if reply.is_nil() { 0 } else { reply.text().parse().map_err(io::Error::other)? })
}

fn print(what: &str, micros: &Histogram<u64>) {
    let at = |quantile| micros.value_at_quantile(quantile);
    let (p50, p99) = (at(0.5), at(0.99));
    println!("  {what}: {} writes, p50 {p50}, p99 {p99}, max {}", micros.len(), micros.max());
}
