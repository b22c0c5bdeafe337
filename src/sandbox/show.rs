//! The live demonstration of `nearside dev`: one key, read and changed, with what it cost each time.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::key::Slot;

use super::application::Application;
use super::cluster::{Cluster, Node};
use super::error::DevError;
use super::view::field;
use super::wait::until;

/// The key that is shown.
const KEY: &str = "nearside:greeting";

/// How long an invalidation may be under way before the demonstration has failed.
const INVALIDATION_LIMIT: Duration = Duration::from_secs(2);

/// How long nearside may take to connect to every primary.
const TRACKED_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at the counter.
const LOOK: Duration = Duration::from_micros(50);

/// The counters of `INFO nearside` that the demonstration checks.
#[derive(Clone, Copy, Debug)]
struct Counters {
    hits: u64,
    misses: u64,
    invalidations: u64,
}

/// Shows a read that goes upstream, the same read from memory, a write by another client straight to the
/// cluster, the invalidation that follows it, and the new value; then says how to connect. Every step is
/// checked; the first one that fails is the error. On the cluster the key has `prefix` in front of its name.
pub fn show(
    out: &mut impl Write,
    nearside: SocketAddr,
    cluster: &Cluster,
    prefix: &str,
) -> Result<(), DevError> {
    let name = format!("{prefix}{KEY}");
    let owner = cluster.owner_of(Slot::of(name.as_bytes()))?;
    owner.server().command(&["SET", &name, "hello"])?;
    let application = Application::connect(nearside).map_err(DevError::io("connecting to nearside"))?;

    line(out, &format!("\n{KEY} lives on the cluster node {}.\n", owner.server().address()))?;
    if !prefix.is_empty() {
        line(out, &format!("Its name there is {name}: clients of nearside are in a namespace.\n"))?;
    }
    wait_until_tracked(&application, cluster)?;
    let before = counters(&application)?;
    let read = timed_read(&application, "hello", "first read")?;
    let missed = counters(&application)?;
    check(missed.misses > before.misses && missed.hits == before.hits, "first read", || {
        format!("it did not go upstream: {before:?} became {missed:?}")
    })?;
    step(out, "1. first read", "went to the cluster", read)?;

    let read = timed_read(&application, "hello", "second read")?;
    let hit = counters(&application)?;
    check(hit.hits > missed.hits && hit.misses == missed.misses, "second read", || {
        format!("it was not answered from memory: {missed:?} became {hit:?}")
    })?;
    step(out, "2. same read again", "from memory", read)?;

    write_elsewhere(out, owner, &name)?;
    let written = Instant::now();
    wait_for_invalidation(&application, hit)?;
    step(out, "4. invalidation", "arrived after", written.elapsed())?;

    let read = timed_read(&application, "changed", "read after the write")?;
    step(out, "5. read again", "sees the new value", read)?;
    how_to_connect(out, nearside, cluster)
}

/// A read before its node tracks what is read is answered and not kept: the demonstration begins after that.
fn wait_until_tracked(application: &Application, cluster: &Cluster) -> Result<(), DevError> {
    let primaries = cluster.primaries()?.len();
    until("nearside to be tracked by every primary", TRACKED_LIMIT, || {
        let tracked = info(application)?.matches("state=tracked").count();
        Ok(if tracked == primaries { Ok(()) } else { Err(format!("{tracked} of {primaries}")) })
    })
}

fn write_elsewhere(out: &mut impl Write, owner: &Node, name: &str) -> Result<(), DevError> {
    let mut somebody = owner.server().connect()?;
    let begun = Instant::now();
    let reply =
        somebody.command(&["SET", name, "changed"]).map_err(DevError::io("writing to the cluster"))?;
    check(reply.is_ok(), "write by somebody else", || format!("the cluster said {reply:?}"))?;
    step(out, "3. somebody else writes", "straight to the cluster", begun.elapsed())
}

fn wait_for_invalidation(application: &Application, before: Counters) -> Result<(), DevError> {
    let deadline = Instant::now() + INVALIDATION_LIMIT;
    while counters(application)?.invalidations == before.invalidations {
        check(Instant::now() < deadline, "invalidation", || {
            format!("none arrived within {} s", INVALIDATION_LIMIT.as_secs())
        })?;
        thread::sleep(LOOK);
    }
    Ok(())
}

fn timed_read(application: &Application, wanted: &str, step: &str) -> Result<Duration, DevError> {
    let begun = Instant::now();
    let value = application.get(KEY).map_err(DevError::io("reading through nearside"))?;
    let took = begun.elapsed();
    check(value.as_deref() == Some(wanted), step, || format!("it gave {value:?}, not {wanted:?}"))?;
    Ok(took)
}

fn info(application: &Application) -> Result<String, DevError> {
    application.info("nearside").map_err(DevError::io("asking nearside for INFO"))
}

fn counters(application: &Application) -> Result<Counters, DevError> {
    let info = info(application)?;
    let counter = |name: &str| {
        field(&info, name).and_then(|digits| digits.trim().parse().ok()).ok_or_else(|| DevError::Shown {
            step: "INFO nearside".to_owned(),
            seen: format!("no number {name} in {info:?}"),
        })
    };
    Ok(Counters {
        hits: counter("l1_hits")?,
        misses: counter("l1_misses")?,
        invalidations: counter("l1_invalidations")?,
    })
}

fn how_to_connect(out: &mut impl Write, nearside: SocketAddr, cluster: &Cluster) -> Result<(), DevError> {
    line(out, &format!("\nTry it:         redis-cli -h {} -p {}\n", nearside.ip(), nearside.port()))?;
    line(
        out,
        &format!("What it knows:  redis-cli -h {} -p {} INFO nearside\n", nearside.ip(), nearside.port()),
    )?;
    for (role, nodes) in [("primaries", cluster.primaries()?), ("replicas", cluster.replicas()?)] {
        let addresses: Vec<String> = nodes.iter().map(|node| node.server().address().to_string()).collect();
        line(out, &format!("{:<16}{}\n", format!("{role}:"), addresses.join("  ")))?;
    }
    line(out, "")
}

fn step(out: &mut impl Write, name: &str, what: &str, took: Duration) -> Result<(), DevError> {
    line(out, &format!("  {name:<26}{what:<26}{:>8} µs\n", took.as_micros()))
}

fn line(out: &mut impl Write, text: &str) -> Result<(), DevError> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(DevError::io("writing the demonstration"))
}

fn check(holds: bool, step: &str, seen: impl FnOnce() -> String) -> Result<(), DevError> {
    if holds { Ok(()) } else { Err(DevError::Shown { step: step.to_owned(), seen: seen() }) }
}
