//! INFO: what a client of one standalone Redis expects to read, and how the daemon is doing.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;

use super::local::text;
use crate::clock::{self, Nanos};
use crate::near_cache::SharedCache;
use crate::pubsub::Hub;
use crate::resp::Resp;
use crate::resp::request::Request;
use crate::stats::Stats;
use crate::upstream::{ServerFacts, SharedUpstream};

/// Everything that is reported about the daemon.
#[derive(Debug)]
pub struct Report {
    /// The counters of all workers.
    pub stats: Stats,
    /// Absent when L1 is off.
    pub cache: Option<Arc<SharedCache>>,
    /// Who owns what, and how the connections stand.
    pub upstream: Arc<SharedUpstream>,
    /// Who is subscribed to what.
    pub pubsub: Arc<Hub>,
    /// How many workers there are.
    pub workers: usize,
    /// When the daemon began.
    pub started_at: Nanos,
    /// The port of the first TCP listener; 0 when there is none.
    pub tcp_port: u16,
    /// How many clients there may be.
    pub max_clients: usize,
}

/// The version that is reported until the upstream has told its own: the one whose commands and errors are the
/// daemon's own.
const VERSION_UNTIL_KNOWN: &str = "7.0.0";

const SECTIONS: [(&str, fn(&Report, &mut String) -> std::fmt::Result); 7] = [
    ("server", server),
    ("clients", clients),
    ("stats", stats),
    ("replication", replication),
    ("cluster", cluster),
    ("keyspace", keyspace),
    ("nearside", nearside),
];

/// INFO with any number of section names; a section that does not exist is empty, as in Redis.
pub(super) fn info(request: &Request<'_>, resp: Resp, report: &Report) -> Bytes {
    let wanted: Vec<String> =
        request.args().skip(1).map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let all =
        wanted.is_empty() || wanted.iter().any(|name| matches!(&**name, "default" | "all" | "everything"));
    let mut out = String::new();
    for (name, write) in SECTIONS {
        if all || wanted.iter().any(|wanted| wanted == name) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            // Writing to a String cannot fail.
            let _ = write(report, &mut out);
        }
    }
    text(&out, resp)
}

// === impl Report ===

impl Report {
    /// What the upstream's servers say they are.
    pub(super) fn server_facts(&self) -> ServerFacts {
        self.upstream.board.server().unwrap_or_else(|| ServerFacts {
            redis_version: VERSION_UNTIL_KNOWN.to_owned(),
            ..ServerFacts::default()
        })
    }
}

fn server(report: &Report, out: &mut String) -> std::fmt::Result {
    let facts = report.server_facts();
    let uptime = clock::now().saturating_sub(report.started_at) / 1_000_000_000;
    write!(out, "# Server\r\nredis_version:{}\r\n", facts.redis_version)?;
    if let (Some(name), Some(version)) = (&facts.server_name, &facts.valkey_version) {
        write!(out, "server_name:{name}\r\nvalkey_version:{version}\r\n")?;
    }
    write!(out, "redis_mode:standalone\r\nos:{}\r\narch_bits:{}\r\n", std::env::consts::OS, usize::BITS)?;
    write!(
        out,
        "multiplexing_api:epoll\r\nprocess_id:{}\r\ntcp_port:{}\r\n",
        std::process::id(),
        report.tcp_port
    )?;
    write!(out, "uptime_in_seconds:{uptime}\r\nuptime_in_days:{}\r\n", uptime / 86_400)
}

fn clients(report: &Report, out: &mut String) -> std::fmt::Result {
    let connected = report.stats.total("connections_accepted") - report.stats.total("connections_closed");
    write!(out, "# Clients\r\nconnected_clients:{connected}\r\nmaxclients:{}\r\n", report.max_clients)?;
    let blocked = report.stats.total("waits_begun").saturating_sub(report.stats.total("waits_ended"));
    let subscribed = report.pubsub.sizes().clients;
    write!(out, "blocked_clients:{blocked}\r\npubsub_clients:{subscribed}\r\n")
}

fn stats(report: &Report, out: &mut String) -> std::fmt::Result {
    write!(out, "# Stats\r\ntotal_connections_received:{}\r\n", report.stats.total("connections_accepted"))?;
    write!(out, "total_commands_processed:{}\r\n", report.stats.total("commands"))?;
    let sizes = report.pubsub.sizes();
    write!(out, "pubsub_channels:{}\r\npubsub_patterns:{}\r\n", sizes.channels, sizes.patterns)?;
    write!(out, "pubsubshard_channels:{}\r\n", sizes.shard_channels)
}

fn replication(_: &Report, out: &mut String) -> std::fmt::Result {
    out.write_str("# Replication\r\nrole:master\r\nconnected_slaves:0\r\n")
}

fn cluster(_: &Report, out: &mut String) -> std::fmt::Result {
    out.write_str("# Cluster\r\ncluster_enabled:0\r\n")
}

fn keyspace(_: &Report, out: &mut String) -> std::fmt::Result {
    out.write_str("# Keyspace\r\n")
}

fn nearside(report: &Report, out: &mut String) -> std::fmt::Result {
    write!(
        out,
        "# Nearside\r\nnearside_version:{}\r\nworkers:{}\r\n",
        env!("CARGO_PKG_VERSION"),
        report.workers
    )?;
    let (entries, bytes) = report.cache.as_ref().map_or((0, 0), |cache| cache.size());
    write!(
        out,
        "l1_enabled:{}\r\nl1_entries:{entries}\r\nl1_bytes:{bytes}\r\n",
        u8::from(report.cache.is_some())
    )?;
    for (name, value) in report.stats.totals() {
        write!(out, "{name}:{value}\r\n")?;
    }
    let upstream = &report.upstream;
    write!(out, "topology_refreshes:{}\r\n", upstream.table.refreshes())?;
    write!(out, "upstream_connections:{}\r\n", upstream.board.connections())?;
    write!(out, "dedicated_connections:{}\r\n", upstream.dedicated.open())?;
    for (index, (node, state)) in upstream.board.nodes(clock::now()).into_iter().enumerate() {
        write!(out, "node{index}:address={node},state={state}\r\n")?;
    }
    Ok(())
}
