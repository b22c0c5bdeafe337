//! Every setting: its name, type, default, bounds and help are declared here and nowhere else. The flag, the
//! environment variable, the key of the file, the documents and CONFIG SET follow from its row.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::key::{Effect, Group, Key, SWITCH};
use super::reader::{MemoryMax, ReadContext, duration, memory_max, number, optional, size, text};
use super::secret::{SecretFile, secret_file};
use super::units::{DAY, GIB, HOUR, KIB, MIB, MILLISECOND, MINUTE, SECOND};
use super::upstream_url::UpstreamUrl;
use super::validator::Validator;
use super::value::{self, AddressRule, LogFormat};
use crate::cache::policy::AdmissionRule;
use crate::protocol::command::Denied;

/// How long the near cache may keep an entry.
pub(super) const L1_TTL: RangeInclusive<Duration> = MILLISECOND..=DAY;

/// How long the near cache may remember that a key is absent.
pub(super) const NEGATIVE_TTL: RangeInclusive<Duration> = MILLISECOND..=HOUR;

/// Waits for nodes, and times between two questions to them.
const WAIT: RangeInclusive<Duration> = MILLISECOND..=Duration::from_secs(10 * MINUTE.as_secs());

/// Makes of each row its [`Key`], its field of [`SettingValues`] and, if CONFIG SET takes it, its [`Change`].
///
/// A row has the name, `is list` if the value is a list, the type, the default if there is one, the
/// placeholder of the value in the help text, the reader with the bounds, the [`Effect`] and the help text.
macro_rules! settings {
    ($($group:ident { $(
        $name:ident $(is $list:ident)?: $type:ty $(= $default:literal)?,
        $value:expr, $read:expr, $effect:ident $(($change:ident))?, $help:literal;
    )* })*) => {
        /// Every setting, in the order of the help text.
        pub static KEYS: &[Key] = &[$($(
            Key {
                name: stringify!($name),
                value: $value,
                default: settings!(@default $($default)?),
                group: Group::$group,
                list: settings!(@list $($list)?),
                effect: Effect::$effect,
                help: $help,
            },
        )*)*];

        /// The value of every setting, each by its name.
        #[derive(Clone, Debug, PartialEq)]
        pub struct SettingValues {
            $($(
                #[doc = $help]
                pub $name: $type,
            )*)*
        }

        impl SettingValues {
            /// Reads all values; what is wrong with them goes to `read`.
            pub(super) fn read(read: &mut Validator<'_>) -> SettingValues {
                SettingValues { $($( $name: read.value(stringify!($name), $read), )*)* }
            }
        }

        /// A setting with a new value that it may have while the daemon runs.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Change {
            $($($(
                #[doc = $help]
                $change($type),
            )?)*)*
        }

        impl Change {
            /// Reads `text` as the new value of `key`; `None` when the key cannot be changed while the daemon
            /// runs.
            pub fn read(key: &str, text: &str) -> Option<Result<Change, String>> {
                let context = ReadContext { machine: "/".as_ref(), whole: None };
                $($($(
                    if key == stringify!($name) {
                        return Some(($read)(text, context).map(Change::$change));
                    }
                )?)*)*
                None
            }

            /// The key.
            pub fn key(&self) -> &'static str {
                match self { $($($( Change::$change(_) => stringify!($name), )?)*)* }
            }
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
    (@list) => { false };
    (@list list) => { true };
}

settings! {
    Main {
        listen is list: Vec<SocketAddr> = "127.0.0.1:6379", "HOST:PORT", text(value::addresses), Restart,
            "Address to listen on; may be repeated";
        unix: Option<PathBuf>, "PATH", optional(value::path), Restart, "Unix socket to listen on as well";
        unix_mode: u32 = "770", "OCTAL", text(value::mode), Restart,
            "Permission bits of the Unix socket; users that may write to it may connect";
        password_file: Option<SecretFile>, "PATH", optional(secret_file), Reload,
            "File that holds the password that clients must give; one newline at its end is ignored; \
             requirepass of Redis";
        allow_remote: bool = "false", SWITCH, text(value::switch), Restart,
            "Whether clients from other machines are let in without a password: protected-mode no of Redis";
        deny_commands is list: Denied = "shutdown,debug,replicaof,failover,module", "NAMES",
            text(Denied::read), Restart,
            "Commands that no client may send, as name, name|subcommand or @category of ACL CAT; may be \
             repeated";
        upstream: UpstreamUrl, "URL", text(UpstreamUrl::parse), Restart,
            "Redis behind this daemon: redis-cluster://HOST:PORT,HOST:PORT, redis://HOST:PORT, \
             redis-sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+unix:///PATH, with USER:PASSWORD@ before \
             the hosts if need be";
        upstream_username: Option<String>, "NAME", optional(value::name), Reload,
            "User to log in upstream as";
        upstream_password_file: Option<SecretFile>, "PATH", optional(secret_file), Reload,
            "File that holds the upstream password; one newline at its end is ignored";
        sentinel_username: Option<String>, "NAME", optional(value::name), Reload,
            "User to log in to the Sentinels as; the user in upstream is for the servers";
        sentinel_password_file: Option<SecretFile>, "PATH", optional(secret_file), Reload,
            "File that holds the password of the Sentinels; the password in upstream is never sent to them";
        address_map is list: Vec<AddressRule>, "ANNOUNCED=REACHABLE", text(value::address_map), Restart,
            "Addresses to use in place of those that nodes announce, behind NAT or in containers: \
             HOST:PORT=HOST:PORT, or HOST=HOST for all ports; may be repeated";
        transactions: bool = "strict", "strict|per_slot", text(value::is_transaction_per_slot), Restart,
            "MULTI with keys of several slots of a cluster: strict, it is refused; per_slot, each slot's part is a \
             transaction of its own, so the whole is not atomic";
        server_config: bool = "operator", "operator|forward", text(value::is_server_config_forwarded), Restart,
            "CONFIG SET of parameters of the servers of a cluster: operator, it is refused, but for notify-keyspace-events; \
             forward, it goes to all primaries";
        namespace: Option<String>, "NAME", optional(value::namespace), Restart,
            "Namespace of all clients: their keys and channels get NAME: in front of their names on the \
             servers, so that several applications can share them; for several namespaces see [[namespace]]";
        pin: bool = "false", SWITCH, text(value::switch), Restart,
            "Whether all keys of that namespace lie in one slot of a cluster, so that every command, script \
             and transaction works on any of its keys";
        databases: usize = "1", "NUMBER", number(1..=16), Restart,
            "Databases that clients of a cluster can select: each but 0 is a namespace, named db1, db2 ... \
             unless [[namespace]] names it";
        workers: usize = "1", "NUMBER", number(1..=256), Restart, "Threads that serve clients";
        l1_size: usize = "100mb", "SIZE", size(0..=1024 * GIB), Restart,
            "Memory of the near cache, 0 for none, half of memory_max at most; units as in redis.conf: 1m \
             is 1000000 bytes, 1mb is 1048576";
        memory_max: MemoryMax = "auto", "SIZE|auto|none", memory_max, Restart,
            "Memory of the whole daemon; auto: the limit of the control group (MemoryMax) less a tenth, or \
             without one 1gb but at most a quarter of the machine's memory; none or 0: no ceiling";
        l1_ttl: Duration = "60s", "DURATION", duration(L1_TTL), ConfigSet(L1Ttl),
            "How long the near cache keeps an entry at most";
        negative_ttl: Duration = "5s", "DURATION", duration(NEGATIVE_TTL), ConfigSet(NegativeTtl),
            "How long the near cache remembers that a key is absent; never longer than l1_ttl";
        admission: AdmissionRule = "adaptive", "adaptive|always", text(value::admission), Restart,
            "adaptive: a key that is invalidated more often than it is read is not kept until that changes";
        warm_file: Option<PathBuf>, "PATH", optional(value::regular_file), Restart,
            "File for the names of the hottest reads, which are read again after a restart; no values";
        log_format: LogFormat = "human", "human|json", text(value::log_format), Restart,
            "Form of the log, which goes to standard error";
        log_level: String = "info", "FILTER", text(value::log_filter), ConfigSet(LogLevel),
            "off, error, warn, info, debug or trace, or directives such as nearside::upstream=debug,info";
    }
    Bounds {
        max_clients: usize = "10000", "NUMBER", number(1..=1_000_000), ConfigSet(MaxClients),
            "Clients connected at the same time";
        listen_backlog: usize = "1024", "NUMBER", number(1..=65_535), Restart,
            "Connections that the kernel holds until they are accepted";
        pipeline_depth_max: usize = "1024", "NUMBER", number(1..=1_048_576), Restart,
            "Requests of one client that may wait for their replies; after that its socket is not read";
        client_in_flight_bytes_max: usize = "64mb", "SIZE", size(KIB..=64 * GIB), Restart,
            "Bytes of the requests of one client that are in flight to nodes; at that much its socket is \
             not read";
        request_args_max: usize = "1048576", "NUMBER", number(1..=16_777_216), Restart,
            "Arguments of one request";
        request_bulk_max: usize = "512mb", "SIZE", size(KIB..=4 * GIB), Restart,
            "One argument of a request; proto-max-bulk-len of Redis";
        request_bytes_max: usize = "50%", "SIZE", size(KIB..=64 * GIB), Restart,
            "One whole request; a larger one is refused; client-query-buffer-limit of Redis";
        transaction_bytes_max: usize = "25%", "SIZE", size(KIB..=64 * GIB), Restart,
            "Memory that the requests queued since MULTI take; a transaction beyond it is refused";
        request_inline_max: usize = "64kb", "SIZE", size(KIB..=16 * MIB), Restart,
            "One request typed as a plain line";
        client_output_max: usize = "50%", "SIZE", size(MIB..=1024 * GIB), ConfigSet(ClientOutputMax),
            "Replies waiting for one client to read them; a client beyond it is closed";
        client_stall_timeout: Duration = "60s", "DURATION",
            duration(MILLISECOND..=DAY), ConfigSet(ClientStallTimeout),
            "How long a client may read no replies and send no requests before it is closed";
        client_idle_timeout: Duration = "0s", "DURATION", duration(Duration::ZERO..=30 * DAY),
            ConfigSet(ClientIdleTimeout),
            "How long a client may send no request before it is closed, 0s for ever; not a client that is \
             subscribed, blocked or in MONITOR; timeout of Redis";
        request_arrival_timeout: Duration = "60s", "DURATION", duration(MILLISECOND..=DAY), Restart,
            "How long a request may take to arrive, with a second more for each 64 KiB of it, and a client \
             to log in";
        keyspace_bytes_max: usize = "6%", "SIZE", size(KIB..=64 * GIB), Restart,
            "Names of keys gathered for one KEYS, which fails beyond it, or for one page of SCAN, which \
             ends there";
        scan_passes_max: usize = "1024", "NUMBER", number(1..=1_048_576), Restart,
            "States of walks that cursors of SCAN refer to, at most 4 KiB each; beyond it the walk unused \
             for longest begins again";
        script_bytes_max: usize = "1%", "SIZE", size(0..=64 * GIB), Restart,
            "Scripts remembered for nodes that do not have them; beyond it the one unused for longest is \
             forgotten";
        pubsub_output_max: usize = "3%", "SIZE", size(MIB..=1024 * GIB), Restart,
            "Messages and replies waiting for one client that is subscribed to something; a client beyond \
             it is closed";
        pubsub_subscriptions_max: usize = "65536", "NUMBER", number(1..=16_777_216), Restart,
            "Channels and patterns that one client is subscribed to";
        pubsub_patterns_max: usize = "4096", "NUMBER", number(1..=16_777_216), Restart,
            "Patterns among those; servers compare each with every published message";
        pubsub_names_max: usize = "1048576", "NUMBER", number(1..=16_777_216), Restart,
            "Different channels and patterns that all clients together are subscribed to";
        slowlog_log_slower_than: i64 = "10000", "MICROSECONDS",
            text(value::microseconds), ConfigSet(SlowlogLogSlowerThan),
            "Commands that take longer than this, in microseconds from reading them to their reply, are kept in \
             the slow log; -1 for none";
        slowlog_max_len: usize = "128", "NUMBER", number(0..=1_000_000), ConfigSet(SlowlogMaxLen),
            "Entries of the slow log; the oldest go first";
        tracking_keys_max: usize = "1000000", "NUMBER", number(1..=100_000_000),
            ConfigSet(TrackingKeysMax),
            "Keys remembered for clients that cache them (CLIENT TRACKING); beyond it any key is forgotten \
             and invalidated at its clients; tracking-table-max-keys of Redis";
        upstream_connect_timeout: Duration = "2s", "DURATION", duration(WAIT), Restart,
            "Wait for each step to a connection to a node: the look-up of its name, each of its addresses, \
             its greeting";
        upstream_request_timeout: Duration = "5s", "DURATION", duration(WAIT), Restart,
            "Wait for the reply of a node, and for more of it once it has begun";
        upstream_rate_min: usize = "16384", "NUMBER", number(1..=GIB), Restart,
            "Bytes a second that have to arrive for a large request or reply to take longer than that";
        upstream_request_time_max: Duration = "10m", "DURATION", duration(MILLISECOND..=DAY), Restart,
            "How long a large request or reply may take at all; at least upstream_request_timeout";
        upstream_large_min: usize = "256kb", "SIZE", size(64..=GIB), Restart,
            "From this size on a request or reply is large: other commands take a side connection to the \
             node meanwhile";
        upstream_side_connections_max: usize = "4", "NUMBER", number(0..=64), Restart,
            "Side connections of each worker to one node, for large commands or those behind them; 0 for none";
        upstream_in_flight_max: usize = "65536", "NUMBER", number(1..=16_777_216), Restart,
            "Commands waiting for their replies on one connection to a node";
        upstream_in_flight_bytes_max: usize = "50%", "SIZE", size(MIB..=1024 * GIB), Restart,
            "Bytes of those commands on one connection to a node";
        upstream_reply_bytes_max: usize = "50%", "SIZE", size(MIB..=64 * GIB), Restart,
            "One whole reply or push of a node; a longer reply is skipped, and its client gets an error";
        upstream_dedicated_max: usize = "4096", "NUMBER", number(0..=1_000_000), Restart,
            "Connections to nodes that one client each needs for itself, to block, to WATCH, to WAIT or for \
             a long reply where the node limits those; more are refused";
        upstream_dedicated_idle_max: usize = "128", "NUMBER", number(0..=1_000_000), Restart,
            "Such connections to one node that each worker keeps for the next client that needs one";
        upstream_dedicated_idle_timeout: Duration = "60s", "DURATION", duration(WAIT), Restart,
            "How long such a connection is kept unused";
        upstream_backoff_min: Duration = "50ms", "DURATION", duration(WAIT), Restart,
            "First wait before a lost node is tried again, and the least from one connection to the next";
        upstream_backoff_max: Duration = "2s", "DURATION", duration(WAIT), Restart,
            "Longest wait before a lost node is tried again";
        heartbeat_interval: Duration = "1s", "DURATION", duration(WAIT), Restart,
            "How often a connection to a node is checked: it is alive, and its invalidations have arrived";
        shadow_verify: Option<f64> = "0", "FRACTION", text(value::fraction), Restart,
            "Part of the hits that are asked upstream as well and compared: 0.01 for 1 %";
        canary_interval: Option<Duration>, "DURATION",
            optional(|text| value::duration(text, 10 * MILLISECOND..=HOUR)), Restart,
            "How often a key of each node is written to measure how soon its invalidation arrives; never \
             unless given";
        warm_keys: usize = "10000", "NUMBER", number(1..=1_000_000), Restart,
            "Keys that warm_file has at most";
        warm_interval: Duration = "5m", "DURATION", duration(SECOND..=DAY), Restart,
            "How often warm_file is written, besides at the end";
        warm_rate: usize = "1000", "NUMBER", number(1..=1_000_000), Restart,
            "Reads a second at the start, until all of warm_file are done";
        lease: Duration = "2s", "DURATION", duration(WAIT), Restart,
            "How long after the last such check the near cache serves entries of that node; more than \
             heartbeat_interval";
        topology_refresh_interval: Duration = "5s", "DURATION", duration(WAIT), Restart,
            "How often the owners of the slots are asked for; at most negative_ttl, because no \
             invalidation is pushed for an absent key that moved";
        topology_refresh_gap_min: Duration = "100ms", "DURATION", duration(WAIT), Restart,
            "Shortest time between two such requests, however many redirects arrive";
        topology_source: bool = "nodes", "nodes|configured",
            text(value::is_topology_source_configured), Restart,
            "Servers that are asked for the owners of the slots: nodes, those that the cluster named last and the \
             hosts of upstream; configured, only the hosts of upstream";
        topology_reply_bytes_max: usize = "16mb", "SIZE", size(64 * KIB..=GIB), Restart,
            "One answer to such a request; beyond it the connection is closed and another node is asked";
        log_queue_max: usize = "1024", "NUMBER", number(1..=1_048_576), Restart,
            "Lines of the log that wait to be written; further ones are dropped and counted";
        drain_timeout: Duration = "10s", "DURATION", duration(Duration::ZERO..=HOUR), Restart,
            "How long running requests may take to end after the daemon got the signal to stop";
    }
}

// === impl Key ===

impl Key {
    /// The key with this name.
    pub fn named(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The key whose name is nearly `name`, if there is one: for a name with a typing mistake.
    pub fn resembling(name: &str) -> Option<&'static Key> {
        const DISTANCE_MAX: usize = 2;
        let distance = |key: &&Key| strsim::damerau_levenshtein(key.name, name);
        KEYS.iter().min_by_key(distance).filter(|key| distance(key) <= DISTANCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_changed_is_read_as_it_is_at_the_beginning() {
        let mut changeable = 0;
        for key in KEYS {
            // While the daemon runs a size is given as such.
            let default = key.default.map(|text| if text.ends_with('%') { "1gb" } else { text });
            let Some(change) = Change::read(key.name, default.unwrap_or_default()) else { continue };
            assert_eq!(change.unwrap().key(), key.name);
            assert!(Change::read(key.name, "nonsense").unwrap().is_err(), "{}", key.name);
            changeable += 1;
        }
        assert_eq!(changeable, 10);
    }
}
