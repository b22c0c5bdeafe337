//! One run: the real daemon on one thread with virtual time, the model behind it, clients before it.

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nearside::cache::policy::{AdmissionRule, Policy, TrackingMode};
use nearside::config::{Config, Sources};
use nearside::daemon::shared::Shared;
use nearside::daemon::worker;
use nearside::memory::Allocator;
use nearside::namespace::{ChannelRule, Namespace};
use nearside::net::listener::{ClientSocket, Permit};
use nearside::protocol::db::DbIndex;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::time::{self, Instant};

use crate::clients::Client;
use crate::cluster::Cluster;
use crate::faults::{Faults, Weather};
use crate::history::Ms;
use crate::log::Log;
use crate::oracle::{Breach, Oracle, Promise};

/// How long a run is, in virtual time.
const LENGTH: Ms = 12_000;

const LEASE: Ms = 700;
const NEGATIVE_TTL: Ms = 1_500;

/// What the daemon may hold in some of the runs, in bytes: a few clients are far below it.
pub(crate) const MEMORY_MAX: usize = 1 << 20;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) fingerprint: u64,
    pub(crate) breaches: Vec<Breach>,
    pub(crate) lines: Vec<String>,
    pub(crate) counts: Counts,
}

/// What happened in it, so that nobody takes a run in which nothing happened for one that went well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    /// Reads that were answered with what was not the truth any more, as the promises allow.
    pub(crate) behind: u64,
    pub(crate) answers: u64,
    pub(crate) errors: u64,
    pub(crate) hits: u64,
    pub(crate) fills: u64,
    pub(crate) killed: u64,
    pub(crate) coalesced: u64,
    pub(crate) evictions: u64,
    pub(crate) expirations: u64,
    pub(crate) connections: u64,
    pub(crate) sides: u64,
    pub(crate) redirects: u64,
    pub(crate) forged: u64,
    pub(crate) in_others: u64,
    pub(crate) emptied: u64,
    pub(crate) requests_refused: u64,
    pub(crate) replies_refused: u64,
    pub(crate) clients_refused: u64,
    pub(crate) clients_dropped: u64,
}

// === impl Counts ===

impl Counts {
    pub(crate) fn named(&self) -> [(&'static str, u64); 20] {
        [
            ("read", self.reads),
            ("read of what was over", self.behind),
            ("answer", self.answers),
            ("error", self.errors),
            ("hit", self.hits),
            ("fill", self.fills),
            ("killed fill", self.killed),
            ("joined fill", self.coalesced),
            ("eviction", self.evictions),
            ("expiration", self.expirations),
            ("connection", self.connections),
            ("side connection", self.sides),
            ("redirect", self.redirects),
            ("forged redirect of a plain command", self.forged),
            ("command in another database", self.in_others),
            ("emptying of L1 for memory", self.emptied),
            ("request refused for memory", self.requests_refused),
            ("reply refused for memory", self.replies_refused),
            ("client refused for memory", self.clients_refused),
            ("client dropped for memory", self.clients_dropped),
        ]
    }

    pub(crate) fn add(&mut self, other: Counts) {
        self.reads += other.reads;
        self.behind += other.behind;
        self.answers += other.answers;
        self.errors += other.errors;
        self.hits += other.hits;
        self.fills += other.fills;
        self.killed += other.killed;
        self.coalesced += other.coalesced;
        self.evictions += other.evictions;
        self.expirations += other.expirations;
        self.connections += other.connections;
        self.sides += other.sides;
        self.redirects += other.redirects;
        self.forged += other.forged;
        self.in_others += other.in_others;
        self.emptied += other.emptied;
        self.requests_refused += other.requests_refused;
        self.replies_refused += other.replies_refused;
        self.clients_refused += other.clients_refused;
        self.clients_dropped += other.clients_dropped;
    }
}

/// Carries out the run of `seed`.
pub(crate) fn run(seed: u64, traced: bool) -> Outcome {
    // All chance of the daemon is drawn from here.
    fastrand::seed(seed);
    let directory = tempfile::Builder::new().prefix("sim").tempdir().expect("a temporary directory");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut weather = Weather::draw(&mut rng);
    let mut config = config(&mut rng);
    if seed % 3 != 2 {
        // Or keys that are written all the time would hardly ever be kept.
        config.values.admission = AdmissionRule::Always;
    }
    if seed % 5 < 2 {
        // Writes are large then, and reads of several keys.
        config.values.upstream_large_min = 30;
    }
    if matches!(seed % 7, 2 | 4) {
        // What arrives in part is large then.
        let memory_max = &mut config.values.memory_max;
        (memory_max.max, memory_max.small_bytes) = (Some(MEMORY_MAX), 8);
        weather.memory = 3_000;
    }
    if matches!(seed % 7, 4 | 5) {
        weather.forge = 2_000;
    }
    let policies = |change: fn(&mut Policy)| {
        let mut policies = PREFIXES.map(Policy::new);
        policies.iter_mut().for_each(change);
        policies.into()
    };
    match seed % 4 {
        1 => config.policies = policies(|policy| policy.cache = false),
        3 => config.policies = policies(|policy| policy.terms.tracking = TrackingMode::Broadcast),
        _ => {}
    }
    let mut clients: Vec<Client> = (0..rng.usize(2..7)).map(|id| Client::new(id, &mut rng)).collect();
    if seed % 7 == 6 {
        config.values.transactions = true;
        clients.iter_mut().for_each(|client| client.transacts = true);
    }
    // Some clients are in a namespace, with scripts that build names.
    let mut prefix = String::new();
    if let 2 | 6 = seed % 8 {
        let (name, pinned, channels) = ("app".into(), seed % 8 == 6, ChannelRule::Own);
        let namespace = Arc::new(Namespace { name, pinned, channels });
        prefix = namespace.prefix(DbIndex::default());
        config.namespaces.unix = Some(namespace);
    }
    // Some go to several databases.
    let databases = if matches!(seed % 8, 3 | 5) { 2 } else { 1 };
    clients.iter_mut().for_each(|client| client.databases = databases);
    let log = Log::new(traced, directory.path().display().to_string());
    let cluster = Cluster::new(directory.path(), rng, log, &prefix, databases);
    let mut builder = Builder::new_current_thread();
    let runtime =
        builder.enable_all().start_paused(true).event_interval(8).build_local(LocalOptions::default());
    runtime.expect("a runtime").block_on(live(
        config,
        Rc::new(RefCell::new(cluster)),
        clients,
        Faults::new(weather),
    ))
}

/// The keys that have policies in some of the runs.
const PREFIXES: [&[u8]; 2] = [b"{a}", b"c"];

/// The configuration of the daemon: as in production, but quicker, so that a run of seconds meets every
/// bound.
fn config(rng: &mut fastrand::Rng) -> Config {
    // Nearly all keys fit into the smaller one, so that some are evicted.
    let l1 = ["20000", "4mb"][rng.usize(..2)];
    let ttl = ["400ms", "60s"][rng.usize(..2)];
    let (lease, negative_ttl) = (format!("{LEASE}ms"), format!("{NEGATIVE_TTL}ms"));
    let environment = [
        ("UPSTREAM", "redis-cluster://127.0.0.1:1"),
        ("WORKERS", ["1", "1", "2"][rng.usize(..3)]),
        ("L1_SIZE", l1),
        ("L1_TTL", if ttl == "400ms" { &*negative_ttl } else { ttl }),
        ("NEGATIVE_TTL", &negative_ttl),
        ("HEARTBEAT_INTERVAL", "200ms"),
        ("LEASE", &lease),
        ("TOPOLOGY_REFRESH_INTERVAL", "1s"),
        ("TOPOLOGY_REFRESH_GAP_MIN", "50ms"),
        ("UPSTREAM_CONNECT_TIMEOUT", "300ms"),
        // Side connections come and go.
        ("UPSTREAM_DEDICATED_IDLE_TIMEOUT", "200ms"),
        ("UPSTREAM_REQUEST_TIMEOUT", ["400ms", "2500ms"][rng.usize(..2)]),
        ("UPSTREAM_BACKOFF_MIN", "20ms"),
        ("UPSTREAM_BACKOFF_MAX", "200ms"),
    ];
    let name = |name: &str| OsString::from(format!("NEARSIDE_{name}"));
    let environment = environment.map(|(key, value)| (name(key), OsString::from(value))).into();
    let sources = Sources { environment, ..Sources::default() };
    Config::load(&sources).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// Where clients are handed over to one worker.
type Door = mpsc::UnboundedSender<(ClientSocket, Permit)>;

async fn live(
    config: Config,
    cluster: Rc<RefCell<Cluster>>,
    clients: Vec<Client>,
    faults: Faults,
) -> Outcome {
    let house = Arc::new(Shared::new(&config, &[]));
    tokio::task::spawn_local(keep_memory(&house, cluster.clone()));
    let mut doors: Vec<Door> = Vec::new();
    for index in 0..config.values.workers {
        #[expect(clippy::disallowed_methods, reason = "the permits bound it, as in the daemon")]
        let (door, handed_over) = mpsc::unbounded_channel();
        doors.push(door);
        let house = house.clone();
        tokio::task::spawn_local(worker::work(house, index, handed_over));
    }
    tokio::task::spawn_local(keep_topology(house.clone(), cluster.clone()));
    tokio::task::spawn_local(house.listen());
    let mut oracle = Oracle::new(LEASE, NEGATIVE_TTL);
    let mut clients = clients;
    drive(&house, &doors, &cluster, &mut clients, faults, &mut oracle).await;
    let mut cluster = cluster.borrow_mut();
    oracle.look_for_refused(&cluster);
    let total = |name| house.stats.total(name);
    let sum = |count: fn(&Client) -> u64| clients.iter().map(count).sum();
    let counts = Counts {
        reads: oracle.reads,
        behind: oracle.behind,
        answers: sum(|client| client.answers),
        errors: sum(|client| client.errors),
        hits: total("l1_hits"),
        fills: total("l1_fills"),
        killed: total("l1_fills_killed"),
        coalesced: total("l1_coalesced"),
        evictions: total("l1_evictions"),
        expirations: total("l1_expirations"),
        connections: cluster.conns.len() as u64,
        sides: total("upstream_side_opened"),
        redirects: total("upstream_redirects"),
        forged: cluster.forged,
        in_others: cluster.in_others,
        emptied: counted(&house.ceiling.counts.l1_emptied),
        requests_refused: counted(&house.ceiling.counts.requests_refused),
        replies_refused: counted(&house.ceiling.counts.replies_refused),
        clients_refused: counted(&house.ceiling.counts.clients_refused),
        clients_dropped: counted(&house.ceiling.counts.clients_dropped),
    };
    let lines = std::mem::take(&mut cluster.log.lines);
    Outcome { fingerprint: cluster.log.fingerprint, breaches: oracle.breaches, lines, counts }
}

/// Steps model and clients through the time of the run, millisecond by millisecond. While this sleeps, the
/// daemon does all that it can do without more time.
async fn drive(
    house: &Shared,
    doors: &[Door],
    cluster: &RefCell<Cluster>,
    clients: &mut [Client],
    mut faults: Faults,
    oracle: &mut Oracle,
) {
    let began = Instant::now();
    let (mut turn, mut memory) = (0, Memory::default());
    loop {
        let now = began.elapsed().as_millis() as Ms;
        if now >= LENGTH {
            return;
        }
        note_memory(&mut cluster.borrow_mut(), now, house);
        let mut step = |now| {
            step(&mut cluster.borrow_mut(), now, &mut faults, clients, oracle, || {
                turn += 1;
                admit(house, &doors[turn % doors.len()])
            });
            faults.halt(&mut cluster.borrow_mut())
        };
        if let Some(length) = step(now) {
            // All others go on meanwhile.
            for at in now + 1..now + length {
                step(at);
            }
            time::advance(Duration::from_millis(length)).await;
            continue;
        }
        if let Some(cache) = &house.cache {
            let (entries, _) = cache.size();
            memory.judge(house, entries, now, oracle);
        }
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// One millisecond of everything that is not the daemon.
fn step(
    cluster: &mut Cluster,
    now: Ms,
    faults: &mut Faults,
    clients: &mut [Client],
    oracle: &mut Oracle,
    mut connect: impl FnMut() -> Option<UnixStream>,
) {
    cluster.step(now);
    for what in std::mem::take(&mut cluster.fooled) {
        oracle.object(Promise::Words, now, what);
    }
    faults.step(cluster);
    for client in clients.iter_mut() {
        client.step(cluster, oracle, &mut connect);
    }
}

/// A new session, unless the daemon has no memory for it.
fn admit(house: &Shared, door: &Door) -> Option<UnixStream> {
    let permit = house.admission.admit().ok()?;
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    theirs.set_nonblocking(true).expect("a socket can be made nonblocking");
    door.send((ClientSocket { stream: theirs.into(), address: None }, permit))
        .expect("the worker takes clients in");
    Some(ours)
}

/// What is known of the memory of the daemon from one millisecond to the next.
#[derive(Default)]
struct Memory {
    was_pressed: bool,
    hits: u64,
}

// === impl Memory ===

impl Memory {
    /// While memory is scarce, L1 is empty and answers nothing.
    fn judge(&mut self, house: &Shared, entries: u64, now: Ms, oracle: &mut Oracle) {
        let (pressed, hits) = (house.ceiling.is_pressed(), house.stats.total("l1_hits"));
        if pressed && entries > 0 {
            oracle.object(Promise::Memory, now, format!("L1 has {entries} entries while memory is scarce"));
        }
        if pressed && self.was_pressed && hits > self.hits {
            oracle.object(Promise::Memory, now, "L1 answered while memory is scarce".to_owned());
        }
        (self.was_pressed, self.hits) = (pressed, hits);
    }
}

/// What the model has to know of whom the daemon drops, and which replies it passes over, because memory is
/// scarce.
fn note_memory(cluster: &mut Cluster, now: Ms, house: &Shared) {
    let counts = &house.ceiling.counts;
    // Who sends on behind a request that is carried out alone is dropped too.
    cluster.dropped = counted(&counts.clients_dropped) + house.stats.total("clients_dropped");
    let refused = counted(&counts.replies_refused);
    if refused > cluster.replies_refused.0 {
        cluster.replies_refused = (refused, now);
    }
}

fn counted(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Keeps the daemon under its ceiling. Beside what it counts and what is in L1, it is as large as the model
/// says.
fn keep_memory(house: &Shared, cluster: Rc<RefCell<Cluster>>) -> impl Future<Output = ()> + use<> {
    let (ceiling, cache) = (house.ceiling.clone(), house.cache.clone());
    let read = move || {
        let l1 = cache.as_ref().map_or(0, |cache| cache.size().1) as usize;
        ceiling.kinds().map(|(_, bytes)| bytes).sum::<usize>() + l1 + cluster.borrow().unseen
    };
    house.keep_memory_by(Allocator::default(), read)
}

/// Answers the daemon's questions of who owns what, some time after they were asked, or not at all.
async fn keep_topology(house: Arc<Shared>, cluster: Rc<RefCell<Cluster>>) {
    let ask = async || {
        let (map, delay, lost) = {
            let mut cluster = cluster.borrow_mut();
            let delay = cluster.rng.u64(0..100);
            (cluster.map(), delay, cluster.rng.u8(..10) == 0)
        };
        time::sleep(Duration::from_millis(delay)).await;
        if lost { Err("nobody answered".to_owned()) } else { Ok(map) }
    };
    house.keep_topology_by(ask).await;
}
