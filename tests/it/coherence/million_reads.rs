//! A million reads through two daemons while the nodes are written, flushed, cut off and failed over: none is
//! wrong.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use hdrhistogram::Histogram;
use nearside::sandbox::{Cluster, ClusterShape, Reply, SandboxClient};
use tokio::time::Instant;

use super::history::History;
use super::own_writes::OwnWrites;
use super::reader::{Readings, Staleness};
use super::writer::Writer;
use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::eventually;

/// The seed of a run that is to be repeated, as far as threads and servers repeat themselves.
const SEED: &str = "NEARSIDE_TEST_SEED";

const READS_MIN: u64 = 1_000_000;
const KEYS: usize = 256;
const READERS_EACH: u64 = 2;

/// How long a connection may be silent before L1 of its node is not served; what the daemons are told.
const LEASE: Duration = Duration::from_secs(1);

/// How long after a write its predecessor may be served, whatever happens: far below the L1 TTL.
const BOUND: Duration = Duration::from_secs(1).saturating_add(LEASE);

const FLUSH_EVERY: Duration = Duration::from_millis(1_500);
const FAULT_ROUNDS: u64 = 16;

/// After which of the rounds the cluster fails over.
const FAILOVER_ROUND: u64 = 8;

/// A run that takes longer has not read what it should.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// What was done to the cluster.
struct Faults {
    kills: usize,
    failovers: usize,
}

#[test]
fn no_read_of_a_million_is_wrong() {
    let seed = env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed} (set {SEED} to use it again)");
    let cluster = Cluster::launch(&ClusterShape::default()).unwrap();
    let daemons = [("one worker", before(&cluster, 1)), ("two workers", before(&cluster, 2))];
    let history = History::new(KEYS, BOUND);
    let readings = daemons.each_ref().map(|(name, _)| Readings::new(name, KEYS));
    let is_over = AtomicBool::new(false);
    let mut staleness = Staleness::new();
    let began = Instant::now();
    let random = |stream: u64| Rng::with_seed(seed.wrapping_add(stream));

    let (writer, faults, own) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut writer = Writer::new(&cluster, &history);
            writer.run(&mut random(0), FLUSH_EVERY, &is_over);
            writer
        });
        let faults = scope.spawn(|| make_faults(&cluster, random(1), began));
        let (mut readers, mut own) = (Vec::new(), Vec::new());
        for (stream, ((name, daemon), readings)) in (2..).zip(daemons.iter().zip(&readings)) {
            let (history, is_over) = (&history, &is_over);
            own.push(scope.spawn(move || OwnWrites::new(name, daemon, history).run(random(stream), is_over)));
            for reader in 0..READERS_EACH {
                let mut client = daemon.client();
                client.hello(2 + (reader % 2) as u8).unwrap();
                let random = random(stream * 100 + reader);
                readers.push(scope.spawn(move || readings.run(client, history, random, is_over)));
            }
        }
        let reads = || readings.iter().map(|readings| readings.reads.load(Ordering::Relaxed)).sum::<u64>();
        let is_running = || reads() < READS_MIN || !faults.is_finished();
        while is_running() && !history.is_violated_enough() && began.elapsed() < RUN_LIMIT {
            // A thread that fails ends the run.
            if writer.is_finished() || readers.iter().any(|reader| reader.is_finished()) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::SeqCst);
        readers.into_iter().for_each(|reader| staleness.add(&reader.join().unwrap()));
        let own: Vec<OwnWrites> = own.into_iter().map(|own| own.join().unwrap()).collect();
        (writer.join().unwrap(), faults.join().unwrap(), own)
    });
    println!("{:.1?} with {} writes on the nodes", began.elapsed(), writer.writes);
    println!(
        "faults: {} flushes, {} connections killed, {} failover",
        writer.flushes, faults.kills, faults.failovers
    );
    for own in &own {
        println!("read your writes: {} rounds, {} refused", own.rounds, own.errors);
    }
    print_distribution("write acknowledged to first read of it", &staleness.first_read);
    print_distribution("served after its successor was acknowledged", &staleness.stale_for);
    assert_settled(&cluster, &daemons, &history);
    let violations = history.violations();
    println!("{} violations", violations.len());
    assert!(violations.is_empty(), "seed {seed}: {} violations: {violations:#?}", violations.len());

    for ((name, daemon), readings) in daemons.into_iter().zip(&readings) {
        let (reads, errors) =
            (readings.reads.load(Ordering::Relaxed), readings.errors.load(Ordering::Relaxed));
        let hits = daemon.counter("l1_hits");
        println!("{name}: {reads} reads, {errors} refused, {hits} hits");
        assert!(hits > reads / 2, "{name}: {hits} hits of {reads} reads: L1 was hardly used");
        assert!(errors < reads / 100, "{name}: {errors} errors beside {reads} reads");
        daemon.stop();
    }
    let reads: u64 = readings.iter().map(|readings| readings.reads.load(Ordering::Relaxed)).sum();
    assert!(reads >= READS_MIN, "only {reads} reads in {RUN_LIMIT:?}");
    assert!(writer.flushes >= 3 && faults.kills >= 10 && faults.failovers == 1);
    assert!(own.iter().all(|own| own.rounds > 100), "too few rounds of read-your-writes");
}

fn before(cluster: &Cluster, workers: usize) -> Daemon {
    let (workers, lease) = (workers.to_string(), format!("{}ms", LEASE.as_millis()));
    let mut arguments = vec!["--upstream", "", "--workers", &workers, "--lease", &lease];
    let url = upstream_url(cluster);
    arguments[1] = &url;
    arguments.extend(["--heartbeat-interval", "300ms"]);
    Daemon::start(&arguments)
}

/// Kills upstream connections of the daemons now and then, and fails over once in between.
fn make_faults(cluster: &Cluster, mut random: Rng, began: Instant) -> Faults {
    let mut faults = Faults { kills: 0, failovers: 0 };
    for round in 0..FAULT_ROUNDS {
        thread::sleep(Duration::from_millis(random.u64(200..800)));
        if round == FAILOVER_ROUND {
            let replicas = cluster.replicas().unwrap();
            cluster.failover(replicas[random.usize(..replicas.len())]).unwrap();
            faults.failovers += 1;
            println!("failed over, {:.1?} into the run", began.elapsed());
            continue;
        }
        let primaries = cluster.primaries().unwrap();
        let mut client = primaries[random.usize(..primaries.len())].server().connect().unwrap();
        faults.kills += kill_some(&mut client, &mut random);
    }
    faults
}

/// Kills some of the connections that carry the data of daemons; how many.
fn kill_some(client: &mut SandboxClient, random: &mut Rng) -> usize {
    let list = client.command(&["CLIENT", "LIST"]).unwrap().text();
    let of_daemons = list.lines().filter(|line| line.contains(" name=nearside "));
    let ids = of_daemons.filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
    let chosen: Vec<&str> = ids.filter(|_| random.u8(..4) > 0).collect();
    let killed = chosen
        .iter()
        .filter(|id| client.command(&["CLIENT", "KILL", "ID", id]).unwrap() == Reply::Integer(1));
    killed.count()
}

/// Now that nobody writes any more, every key reads through every daemon as it was written last.
fn assert_settled(cluster: &Cluster, daemons: &[(&str, Daemon)], history: &History) {
    cluster.wait_until_stable().unwrap();
    for (name, daemon) in daemons {
        let mut client = daemon.client();
        eventually(&format!("{name} serves what was written last"), BOUND, || {
            (0..KEYS).all(|key| {
                let reply = client.command(&["GET", &History::key(key)]).unwrap();
                history.newest(key).map_or(reply.is_nil(), |value| reply == Reply::bulk(value))
            })
        });
    }
}

fn print_distribution(what: &str, micros: &Histogram<u64>) {
    let at = |quantile| micros.value_at_quantile(quantile);
    println!(
        "{what}: {} times, in us p50 {} p90 {} p99 {} p99.9 {} max {}",
        micros.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        micros.max()
    );
}
