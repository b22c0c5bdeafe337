//! The sections of INFO, with the names and in the order of Redis. What the daemon does not know is not
//! there.

use std::fmt::{Result, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::primaries::Primaries;
use super::process;
use crate::clients::{ClientFlag, Clients};
use crate::clock;
use crate::commands::command_stats::CommandTotals;
use crate::commands::report::ServerReport;
use crate::commands::server_state::ServerState;
use crate::namespace::Namespace;
use crate::router::coherence::canary::CanaryStats;
use crate::telemetry;

/// What sections are written from.
#[derive(Debug)]
pub(super) struct SectionFacts {
    pub(super) report: Arc<ServerReport>,
    pub(super) server: Arc<ServerState>,
    pub(super) clients: Arc<Clients>,
    pub(super) primaries: Primaries,
    /// The namespace of the client: it sees no names of others.
    pub(super) namespace: Option<Arc<Namespace>>,
}

pub(super) fn server(facts: &SectionFacts, out: &mut String) -> Result {
    let report = &facts.report;
    let server = report.server_facts();
    let uptime = clock::now().saturating_sub(report.started_at) / 1_000_000_000;
    write!(out, "# Server\r\nredis_version:{}\r\n", server.redis_version)?;
    if let (Some(name), Some(version)) = (&server.server_name, &server.valkey_version) {
        write!(out, "server_name:{name}\r\nvalkey_version:{version}\r\nserver_mode:standalone\r\n")?;
    }
    write!(out, "redis_mode:standalone\r\nos:{}\r\narch_bits:{}\r\n", std::env::consts::OS, usize::BITS)?;
    write!(out, "multiplexing_api:epoll\r\nprocess_id:{}\r\n", std::process::id())?;
    write!(out, "run_id:{}\r\ntcp_port:{}\r\n", report.run_id, report.tcp_port())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    write!(out, "server_time_usec:{}\r\nuptime_in_seconds:{uptime}\r\n", now.as_micros())?;
    write!(out, "uptime_in_days:{}\r\nconfig_file:\r\nio_threads_active:0\r\n", uptime / 86_400)
}

pub(super) fn clients(facts: &SectionFacts, out: &mut String) -> Result {
    let clients = facts.clients.all();
    let marked = |mark| clients.iter().filter(|client| client.has(mark)).count();
    write!(out, "# Clients\r\nconnected_clients:{}\r\ncluster_connections:0\r\n", clients.len())?;
    write!(out, "maxclients:{}\r\n", facts.server.settings.max_clients.get())?;
    let stats = &facts.report.stats;
    let waiting = stats.total("waits_begun").saturating_sub(stats.total("waits_ended"));
    let blocked = waiting + facts.server.pause.waiting() as u64;
    write!(out, "blocked_clients:{blocked}\r\npubsub_clients:{}\r\n", facts.report.pubsub.sizes().clients)?;
    write!(out, "tracking_clients:{}\r\nclients_in_timeout_table:0\r\n", marked(ClientFlag::Tracking))
}

/// The memory of the daemon; `maxmemory` and its policy are about the data, and come from the primaries.
pub(super) fn memory(facts: &SectionFacts, out: &mut String) -> Result {
    let memory = process::memory();
    out.push_str("# Memory\r\n");
    for (name, bytes) in [
        ("used_memory", memory.resident),
        ("used_memory_rss", memory.resident),
        ("used_memory_peak", memory.peak),
        ("total_system_memory", memory.system),
    ] {
        write!(out, "{name}:{bytes}\r\n{name}_human:{}\r\n", human(bytes))?;
    }
    let primaries = &facts.primaries;
    if primaries.answered > 0 {
        write!(
            out,
            "maxmemory:{}\r\nmaxmemory_human:{}\r\n",
            primaries.maxmemory,
            human(primaries.maxmemory)
        )?;
    }
    if let Some(policy) = &primaries.maxmemory_policy {
        write!(out, "maxmemory_policy:{policy}\r\n")?;
    }
    Ok(())
}

/// The daemon has nothing to load and nothing to save.
pub(super) fn persistence(_: &SectionFacts, out: &mut String) -> Result {
    out.write_str("# Persistence\r\nloading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\n")?;
    out.write_str("aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n")
}

pub(super) fn stats(facts: &SectionFacts, out: &mut String) -> Result {
    let baseline = facts.server.baseline.lock().clone();
    let since = |name: &str| {
        facts.report.stats.total(name).saturating_sub(baseline.get(name).copied().unwrap_or_default())
    };
    write!(out, "# Stats\r\ntotal_connections_received:{}\r\n", since("connections_accepted"))?;
    let calls: u64 = facts.server.command_stats.commands().iter().map(|(_, totals)| totals.calls).sum();
    write!(out, "total_commands_processed:{calls}\r\n")?;
    write!(out, "rejected_connections:{}\r\n", since("connections_refused"))?;
    let sizes = facts.report.pubsub.sizes();
    write!(out, "pubsub_channels:{}\r\npubsub_patterns:{}\r\n", sizes.channels, sizes.patterns)?;
    write!(out, "pubsubshard_channels:{}\r\n", sizes.shard_channels)?;
    let tracked = facts.report.tracker.counts();
    write!(out, "tracking_total_keys:{}\r\n", tracked.tracking_total_keys)?;
    write!(out, "tracking_total_items:{}\r\n", tracked.tracking_total_items)?;
    write!(out, "tracking_total_prefixes:{}\r\n", tracked.tracking_total_prefixes)?;
    write!(out, "total_error_replies:{}\r\n", facts.server.command_stats.all_errors())
}

pub(super) fn replication(_: &SectionFacts, out: &mut String) -> Result {
    out.write_str(
        "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n",
    )
}

pub(super) fn cpu(_: &SectionFacts, out: &mut String) -> Result {
    let cpu = process::cpu();
    let (system, user) = (cpu.system.as_secs_f64(), cpu.user.as_secs_f64());
    write!(out, "# CPU\r\nused_cpu_sys:{system:.6}\r\nused_cpu_user:{user:.6}\r\n")?;
    out.write_str("used_cpu_sys_children:0.000000\r\nused_cpu_user_children:0.000000\r\n")
}

pub(super) fn modules(_: &SectionFacts, out: &mut String) -> Result {
    out.write_str("# Modules\r\n")
}

/// Times are 0: a hit is not timed, and programs that read this look for the fields.
pub(super) fn command_stats(facts: &SectionFacts, out: &mut String) -> Result {
    out.write_str("# Commandstats\r\n")?;
    for (name, CommandTotals { calls, rejected, failed }) in facts.server.command_stats.commands() {
        write!(out, "cmdstat_{name}:calls={calls},usec=0,usec_per_call=0.00,")?;
        write!(out, "rejected_calls={rejected},failed_calls={failed}\r\n")?;
    }
    Ok(())
}

pub(super) fn error_stats(facts: &SectionFacts, out: &mut String) -> Result {
    out.write_str("# Errorstats\r\n")?;
    for (code, count) in facts.server.command_stats.codes() {
        write!(out, "errorstat_{code}:count={count}\r\n")?;
    }
    Ok(())
}

/// Nothing is timed.
pub(super) fn latency_stats(_: &SectionFacts, out: &mut String) -> Result {
    out.write_str("# Latencystats\r\n")
}

pub(super) fn cluster(_: &SectionFacts, out: &mut String) -> Result {
    out.write_str("# Cluster\r\ncluster_enabled:0\r\n")
}

/// All primaries together; a database without keys has no line, as in Redis.
pub(super) fn keyspace(facts: &SectionFacts, out: &mut String) -> Result {
    out.push_str("# Keyspace\r\n");
    if let Some(keyspace) = &facts.primaries.keyspace {
        return out.write_str(keyspace);
    }
    for (number, database) in &facts.primaries.databases {
        let (keys, expires, average_ttl) = (database.keys, database.expires, database.average_ttl());
        write!(out, "db{number}:keys={keys},expires={expires},avg_ttl={average_ttl}\r\n")?;
    }
    Ok(())
}

pub(super) fn nearside(facts: &SectionFacts, out: &mut String) -> Result {
    let report = &facts.report;
    write!(out, "# Nearside\r\nnearside_version:{}\r\n", env!("CARGO_PKG_VERSION"))?;
    write!(out, "workers:{}\r\n", report.workers)?;
    let (entries, bytes) = report.cache.as_ref().map_or((0, 0), |cache| cache.size());
    let enabled = u8::from(report.cache.is_some());
    write!(out, "l1_enabled:{enabled}\r\nl1_entries:{entries}\r\nl1_bytes:{bytes}\r\n")?;
    for (name, value) in report.stats.totals() {
        write!(out, "{name}:{value}\r\n")?;
    }
    write!(out, "log_dropped:{}\r\n", telemetry::dropped())?;
    write!(out, "tracking_invalidations_sent:{}\r\n", report.tracker.counts().invalidations_sent)?;
    let (ceiling, upstream) = (&report.ceiling, &report.upstream);
    write!(out, "memory_max:{}\r\nmemory_used:{}\r\n", ceiling.max().unwrap_or_default(), ceiling.used())?;
    for (name, bytes) in ceiling.kinds() {
        write!(out, "{name}:{bytes}\r\n")?;
    }
    write!(out, "memory_pressed:{}\r\n", u8::from(ceiling.is_pressed()))?;
    for (name, count) in ceiling.counts.values() {
        write!(out, "{name}:{count}\r\n")?;
    }
    write!(out, "topology_refreshes:{}\r\n", upstream.table.refreshes())?;
    write!(out, "topology_nodes_known:{}\r\n", upstream.table.numbered())?;
    write!(out, "upstream_connections:{}\r\n", upstream.status.connections() + upstream.dedicated.open())?;
    write!(out, "upstream_side_connections:{}\r\n", upstream.status.sides())?;
    write!(out, "dedicated_connections:{}\r\n", upstream.dedicated.open())?;
    write!(out, "upstream_lookups:{}\r\n", upstream.names.lookups())?;
    let Primaries { answered, missing, .. } = facts.primaries;
    if answered + missing > 0 {
        write!(out, "primaries_answered:{answered}\r\nprimaries_missing:{missing}\r\n")?;
    }
    write!(out, "lease_ms:{}\r\n", report.lease.as_millis())?;
    let now = clock::now();
    let connections = [("node", upstream.status.nodes(now)), ("listener", upstream.status.listeners(now))];
    for (kind, standings) in connections {
        for (index, (node, standing)) in standings.into_iter().enumerate() {
            let (state, seconds) = (standing.state, now.saturating_sub(standing.since) / 1_000_000_000);
            write!(out, "{kind}{index}:address={node},state={state},state_seconds={seconds}\r\n")?;
        }
    }
    for (index, (node, right)) in upstream.rights.missing().into_iter().enumerate() {
        write!(out, "missing_right{index}:address={node},command={}\r\n", right.command())?;
    }
    let cache = report.cache.as_ref().filter(|_| facts.namespace.is_none());
    let mismatches = cache.map(|cache| cache.mismatches()).unwrap_or_default();
    for (index, key) in mismatches.into_iter().enumerate() {
        write!(out, "shadow_mismatch{index}:{key}\r\n")?;
    }
    let canaries = report.canary.as_ref().map(|canary| canary.stats()).unwrap_or_default();
    for (index, (node, song)) in canaries.into_iter().enumerate() {
        let at = |quantile| song.micros.as_ref().map_or(0, |micros| micros.value_at_quantile(quantile));
        let count = song.micros.as_ref().map_or(0, |micros| micros.len());
        write!(out, "canary{index}:address={node},count={count},p50_us={},p99_us={},", at(0.5), at(0.99))?;
        let CanaryStats { last, missed, refused, .. } = song;
        write!(out, "max_us={},last_us={last},missed={missed},refused={refused}\r\n", at(1.0))?;
    }
    Ok(())
}

/// Bytes as Redis writes them for people (`bytesToHuman`).
fn human(bytes: u64) -> String {
    let units = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let unit = units.iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes}B"),
        |(unit, name)| format!("{:.2}{name}", bytes as f64 / *unit as f64),
    )
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_are_written_for_people_as_in_redis() {
        let cases = [
            (0, "0B"),
            (1_023, "1023B"),
            (1_024, "1.00K"),
            (12_996_608, "12.39M"),
            (25_276_502_016, "23.54G"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(human(bytes), expected);
        }
    }
}
