//! What all threads of a run share: the cluster behind its relays, the daemons, the log of every key, what
//! went wrong.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nearside::clock::{self, Nanos};
use nearside::sandbox::{Address, Cluster, ClusterShape, Node, Reply, SandboxClient};

use crate::entrance::{ENTRANCES, NAMESPACED, PINNED, PLAIN};
use crate::oracle::{Bounds, KeyLog, Seen};
use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers;

/// One cluster, several daemons in front of it, and what is known of them.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    /// What each node announces instead of itself.
    pub(crate) relays: Vec<Relay>,
    pub(crate) daemons: Vec<Daemon>,
    pub(crate) keys: Vec<Key>,
    pub(crate) weather: Weather,
    pub(crate) is_over: AtomicBool,
    pub(crate) writes: AtomicU64,
    pub(crate) refused_writes: AtomicU64,
    pub(crate) doubted_writes: AtomicU64,
    pub(crate) vanished: AtomicU64,
    violations: Mutex<Vec<String>>,
    began_at: Nanos,
}

/// One key of the run.
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) log: Mutex<KeyLog>,
    /// Held by whoever writes the key, or must know that nobody does.
    pub(crate) writing: Mutex<()>,
}

/// Since when something has been broken, and until when.
pub(crate) struct Weather {
    from: AtomicU64,
    until: AtomicU64,
}

/// Keys of one slot are next to each other, so that one MGET or one move of a slot meets several.
const TAGS: usize = 40;
/// The tags from this one on are in the pinned namespace.
const TAGS_PINNED_FROM: usize = 36;
const KEYS_PER_TAG: usize = 6;

/// What a daemon promises when it is configured as it comes: the lease, and what a loaded machine takes on
/// top.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
pub(crate) const BOUNDS: Bounds = Bounds {
    stale: LEASE.saturating_add(Duration::from_secs(1)),
    // The move of a slot restarts the time that a key has left when it arrives.
    expired: Duration::from_millis(150),
};

/// Bytes behind the number of a value, at most.
const PADDING_MAX: usize = 300;

/// A run with so many is over.
const VIOLATIONS_MAX: usize = 10;

/// Longer than a daemon waits for a node, so that it is the daemon that gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

// === impl World ===

impl World {
    pub(crate) fn launch() -> World {
        let shape = ClusterShape { node_timeout: Duration::from_secs(3), ..ClusterShape::default() };
        let cluster = Cluster::launch(&shape).unwrap();
        let relays: Vec<Relay> = cluster.nodes().iter().map(Relay::before).collect();
        let addresses: Vec<String> = relays.iter().map(|relay| relay.address().to_string()).collect();
        let url = format!("redis-cluster://{}", addresses.join(","));
        let directory = servers::sandbox().make_directory().unwrap();
        let start = |number: usize, config: &str, workers| {
            let file = directory.join(format!("nearside-{number}.toml"));
            fs::write(&file, config).unwrap();
            let file = file.to_str().unwrap();
            Daemon::start(&["--config", file, "--upstream", &url, "--workers", workers])
        };
        let daemons = vec![start(0, PLAIN, "1"), start(1, PLAIN, "2"), start(2, NAMESPACED, "1")];
        daemons.iter().for_each(|daemon| daemon.until_tracked(3));
        let now = clock::now();
        let keys = (0..TAGS * KEYS_PER_TAG).map(|number| Key::new(number, now)).collect();
        World {
            cluster,
            relays,
            daemons,
            keys,
            weather: Weather { from: AtomicU64::new(u64::MAX), until: AtomicU64::new(0) },
            is_over: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            refused_writes: AtomicU64::new(0),
            doubted_writes: AtomicU64::new(0),
            vanished: AtomicU64::new(0),
            violations: Mutex::default(),
            began_at: now,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// A client that came in at this entrance, and speaks this version of the protocol.
    pub(crate) fn client(&self, entrance: usize, version: u8) -> SandboxClient {
        let mut client = self.daemons[ENTRANCES[entrance].daemon].client();
        client.set_timeout(PATIENCE).unwrap();
        client.hello(version).unwrap();
        let selected = client.command(&["SELECT", ENTRANCES[entrance].database]).unwrap();
        assert!(selected.is_ok(), "{selected:?}");
        client
    }

    /// The numbers of the keys of an entrance.
    pub(crate) fn keys_at(&self, entrance: usize) -> Vec<usize> {
        let is_of = |number: &usize| ENTRANCES[entrance].name_of(&self.keys[*number].name).is_some();
        (0..self.keys.len()).filter(is_of).collect()
    }

    /// The number of the node that says it is at `port`: its own, or that of its relay.
    pub(crate) fn node_at(&self, port: u16) -> Option<usize> {
        (0..self.relays.len()).find(|number| {
            self.relays[*number].address().port() == port
                || self.cluster.nodes()[*number].server().address().port() == port
        })
    }

    /// A conversation with a node itself, if it lets anybody in.
    pub(crate) fn connect(&self, node: usize) -> Option<SandboxClient> {
        let address = Address::Tcp(self.cluster.nodes()[node].server().address());
        let client = SandboxClient::connect(&address).ok()?;
        client.set_timeout(PATIENCE).ok()?;
        Some(client)
    }

    pub(crate) fn relay_of(&self, node: &Node) -> &Relay {
        let number = self.cluster.nodes().iter().position(|other| other.id() == node.id());
        &self.relays[number.unwrap()]
    }

    /// Notes that something was served that must not have been.
    pub(crate) fn violated(&self, what: &str) {
        let at = Duration::from_nanos(clock::now() - self.began_at);
        let line = format!("{at:.3?} into the run: {what}");
        println!("VIOLATION {line}");
        self.violations.lock().unwrap().push(line);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    pub(crate) fn is_violated_enough(&self) -> bool {
        self.violations.lock().unwrap().len() >= VIOLATIONS_MAX
    }

    /// What happens, for who reads along.
    pub(crate) fn tell(&self, what: &str) {
        println!("{:8.3?} {what}", Duration::from_nanos(clock::now() - self.began_at));
    }
}

// === impl Key ===

impl Key {
    fn new(number: usize, now: Nanos) -> Key {
        let name = match number / KEYS_PER_TAG {
            tag if tag < TAGS_PINNED_FROM => format!("soak:{{{tag}}}:{number}"),
            tag => format!("{PINNED}{tag}:{number}"),
        };
        Key { name, log: Mutex::new(KeyLog::new(ENTRANCES.len(), now)), writing: Mutex::default() }
    }

    /// The value of a state: it says whose it is.
    pub(crate) fn value(&self, state: usize) -> String {
        format!("{}={state}={}", self.name, ".".repeat(state * 7 % PADDING_MAX))
    }

    /// What a reply says of the key; an `Err` if it is no value of this key.
    pub(crate) fn read(&self, reply: &Reply) -> Result<Seen, String> {
        if reply.is_nil() {
            return Ok(Seen::Absent);
        }
        let text = reply.text();
        let mut parts = text.split('=');
        let state = (parts.next() == Some(&self.name)).then(|| parts.next()?.parse().ok()).flatten();
        let state = state.filter(|state| text == self.value(*state));
        state.map(Seen::Value).ok_or_else(|| format!("what was read is no value of this key: {reply:?}"))
    }
}

// === impl Weather ===

impl Weather {
    pub(crate) fn breaks(&self) {
        self.until.store(u64::MAX, Ordering::SeqCst);
        self.from.store(clock::now(), Ordering::SeqCst);
    }

    /// All is whole again; what was broken may be felt until the bound is over.
    pub(crate) fn clears(&self) {
        self.until.store(clock::now() + clock::nanos(BOUNDS.stale), Ordering::SeqCst);
    }

    /// Whether something was broken at this time.
    pub(crate) fn was_bad(&self, at: Nanos) -> bool {
        (self.from.load(Ordering::SeqCst)..self.until.load(Ordering::SeqCst)).contains(&at)
    }
}
