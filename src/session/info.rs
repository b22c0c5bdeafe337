//! INFO: what a client of one standalone Redis expects to read, and how the daemon is doing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::SessionContext;
use super::info_sections::{self as sections, SectionFacts};
use super::local::{ExecContext, text};
use super::primaries::{self, Primaries};
use super::server_state::ServerState;
use crate::cache::SharedCache;
use crate::clients::tracker::Tracker;
use crate::clock::Nanos;
use crate::memory::MemoryCeiling;
use crate::protocol::resp::Resp;
use crate::protocol::resp::request::Request;
use crate::pubsub::Hub;
use crate::router::Answer;
use crate::router::coherence::canary::Canary;
use crate::stats::Stats;
use crate::upstream::{ServerFacts, SharedUpstream};

/// Everything that is reported about the daemon.
#[derive(Debug)]
pub struct ServerReport {
    /// The counters of all workers.
    pub stats: Stats,
    /// Absent when L1 is off.
    pub cache: Option<Arc<SharedCache>>,
    /// What the daemon may hold, and what holds how much.
    pub ceiling: Arc<MemoryCeiling>,
    /// Who owns what, and how the connections stand.
    pub upstream: Arc<SharedUpstream>,
    /// Who is subscribed to what.
    pub pubsub: Arc<Hub>,
    /// Which clients cache.
    pub tracker: Arc<Tracker>,
    /// How many workers there are.
    pub workers: usize,
    /// When the daemon began.
    pub started_at: Nanos,
    /// Forty hexadecimal digits that no other run has.
    pub run_id: String,
    /// The TCP addresses that it listens on.
    pub tcp: Vec<SocketAddr>,
    /// Whether clients of other machines are let in without a password.
    pub allow_remote: bool,
    /// The Unix socket that it listens on, and its permission bits.
    pub unix: Option<(PathBuf, u32)>,
    /// How often the topology is asked for; the absence of a key must not be remembered for less.
    pub topology_refresh_interval: Duration,
    /// How long L1 serves what was read over a connection that has fallen silent, at most.
    pub lease: Duration,
    /// What the canaries measure, if there are any.
    pub canary: Option<Arc<Canary>>,
}

/// The version that is reported until the upstream has told its own: the one whose commands and errors are
/// the daemon's own.
const VERSION_UNTIL_KNOWN: &str = "7.0.0";

/// A section: its name, whether it is shown unasked, and what writes it.
type Section = (&'static str, bool, fn(&SectionFacts, &mut String) -> std::fmt::Result);

/// In the order of Redis.
const SECTIONS: [Section; 14] = [
    ("server", true, sections::server),
    ("clients", true, sections::clients),
    ("memory", true, sections::memory),
    ("persistence", true, sections::persistence),
    ("stats", true, sections::stats),
    ("replication", true, sections::replication),
    ("cpu", true, sections::cpu),
    ("modules", true, sections::modules),
    ("commandstats", false, sections::command_stats),
    ("errorstats", true, sections::error_stats),
    ("latencystats", false, sections::latency_stats),
    ("cluster", true, sections::cluster),
    ("keyspace", true, sections::keyspace),
    ("nearside", true, sections::nearside),
];

/// INFO with any number of section names; a section that does not exist is empty, as in Redis.
///
/// Two sections are about the data: the primaries are asked for them. Inside MULTI there is no time for that.
pub(super) fn info(
    request: &Request<'_>,
    resp: Resp,
    context: &SessionContext,
    haste: ExecContext,
) -> Answer {
    let asked: Vec<String> =
        request.args().skip(1).map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let has = |name: &str| asked.iter().any(|asked| asked == name);
    let (default, all) = (asked.is_empty() || has("default"), has("all") || has("everything"));
    let shown = |section: &&Section| all || has(section.0) || (default && section.1);
    let wanted: Vec<&'static Section> = SECTIONS.iter().filter(shown).collect();
    let about_data = wanted.iter().any(|section| matches!(section.0, "memory" | "keyspace"));
    let mut facts = SectionFacts {
        report: context.report.clone(),
        desk: context.desk.clone(),
        clients: context.clients.clone(),
        primaries: Primaries::default(),
    };
    if !about_data || haste == ExecContext::AtOnce {
        return Answer::Now(written(&wanted, &facts, resp));
    }
    let primaries = primaries::ask(&context.proxy);
    Answer::Later(Box::pin(async move {
        facts.primaries = primaries.await;
        written(&wanted, &facts, resp)
    }))
}

fn written(sections: &[&Section], facts: &SectionFacts, resp: Resp) -> Bytes {
    let mut out = String::new();
    for (_, _, write) in sections {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        // Writing to a String cannot fail.
        let _ = write(facts, &mut out);
    }
    text(out, resp)
}

/// CONFIG RESETSTAT: what INFO's sections stats, commandstats and errorstats count begins anew. The counters
/// of section nearside never go back.
pub(super) fn reset_stats(report: &ServerReport, desk: &ServerState) {
    desk.tallies.reset();
    *desk.baseline.lock() = report.stats.totals().into_iter().collect();
}

// === impl Report ===

impl ServerReport {
    /// What the upstream's servers say they are.
    pub(super) fn server_facts(&self) -> ServerFacts {
        self.upstream.board.server().unwrap_or_else(|| ServerFacts {
            redis_version: VERSION_UNTIL_KNOWN.to_owned(),
            ..ServerFacts::default()
        })
    }

    /// The port of the first TCP address; 0 when there is none.
    pub(super) fn tcp_port(&self) -> u16 {
        self.tcp.first().map_or(0, SocketAddr::port)
    }
}
