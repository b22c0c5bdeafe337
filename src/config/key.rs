//! The keys of the configuration as data. The flag, the environment variable, the file key, the help text and
//! the documentation of a key all come from its row here, so they cannot drift apart.

/// One thing that can be configured.
#[derive(Debug)]
pub struct Key {
    /// The name in the configuration file; flag and environment variable follow from it.
    pub name: &'static str,
    /// What stands for the value in the help text.
    pub value: &'static str,
    /// The default as one would type it; none where the key is optional or must be given.
    pub default: Option<&'static str>,
    /// Where the help text lists the key.
    pub group: Group,
    /// Whether the value is a list: a repeated flag, an array in the file, commas in the environment.
    pub list: bool,
    /// What the key does, in a sentence or two.
    pub help: &'static str,
}

/// The parts of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What most installations set.
    Main,
    /// Named bounds and waits; the defaults are right for nearly everybody.
    Bounds,
}

use Group::{Bounds, Main};

/// What stands for the value of a key that is on or off.
const SWITCH: &str = "BOOLEAN";

/// Every key there is, in the order of the help text.
pub static KEYS: &[Key] = &[
    Key {
        list: true,
        ..key(Main, "listen", "HOST:PORT", Some("127.0.0.1:6379"), "Address to listen on; may be repeated")
    },
    key(Main, "unix", "PATH", None, "Unix socket to listen on as well"),
    key(
        Main,
        "unix_mode",
        "OCTAL",
        Some("770"),
        "Permission bits of the Unix socket; who may write to it may connect",
    ),
    key(
        Main,
        "password_file",
        "PATH",
        None,
        "File that holds the password that clients must give; one newline at its end is ignored; requirepass of Redis",
    ),
    key(
        Main,
        "allow_remote",
        SWITCH,
        Some("false"),
        "Whether clients from other machines are let in without a password: protected-mode no of Redis",
    ),
    Key {
        list: true,
        ..key(
            Main,
            "deny_commands",
            "NAMES",
            Some("shutdown,debug,replicaof,failover,module"),
            "Commands that no client may send, as name, name|subcommand or @category of ACL CAT; may be repeated",
        )
    },
    key(
        Main,
        "upstream",
        "URL",
        None,
        "Redis behind this daemon: redis-cluster://HOST:PORT,HOST:PORT, redis://HOST:PORT, \
         redis-sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+unix:///PATH, with USER:PASSWORD@ before the \
         hosts if need be",
    ),
    key(Main, "upstream_username", "NAME", None, "User to log in upstream as"),
    key(
        Main,
        "upstream_password_file",
        "PATH",
        None,
        "File that holds the upstream password; one newline at its end is ignored",
    ),
    key(
        Main,
        "sentinel_username",
        "NAME",
        None,
        "User to log in to the Sentinels as; that of upstream is the servers'",
    ),
    key(
        Main,
        "sentinel_password_file",
        "PATH",
        None,
        "File that holds the password of the Sentinels; that of upstream is never sent to them",
    ),
    Key {
        list: true,
        ..key(
            Main,
            "address_map",
            "ANNOUNCED=REACHABLE",
            None,
            "Where nodes are reached that announce other addresses, behind NAT or in containers: HOST:PORT=HOST:PORT, or \
             HOST=HOST for all ports; may be repeated",
        )
    },
    key(Main, "workers", "NUMBER", Some("1"), "Threads that serve clients"),
    key(
        Main,
        "l1_size",
        "SIZE",
        Some("100mb"),
        "Memory of the near cache, 0 for none, half of memory_max at most; units as in redis.conf: 1m is 1000000 bytes, \
         1mb is 1048576",
    ),
    key(
        Main,
        "memory_max",
        "SIZE|auto|none",
        Some("auto"),
        "Memory of the whole daemon; auto: the limit of the control group (MemoryMax) less a tenth, or without one 1gb but at \
         most a quarter of the machine's memory; none or 0: no ceiling",
    ),
    key(Main, "l1_ttl", "DURATION", Some("60s"), "How long the near cache keeps an entry at most"),
    key(
        Main,
        "negative_ttl",
        "DURATION",
        Some("5s"),
        "How long the near cache remembers that a key is absent; never longer than l1_ttl",
    ),
    key(
        Main,
        "admission",
        "adaptive|always",
        Some("adaptive"),
        "adaptive: a key that is invalidated more often than it is read is not kept until that changes",
    ),
    key(
        Main,
        "warm_file",
        "PATH",
        None,
        "File that the names of the hottest reads are kept in, to be read again after a restart; no values",
    ),
    key(Main, "log_format", "human|json", Some("human"), "Form of the log, which goes to standard error"),
    key(
        Main,
        "log_level",
        "FILTER",
        Some("info"),
        "off, error, warn, info, debug or trace, or directives such as nearside::upstream=debug,info",
    ),
    key(Bounds, "max_clients", "NUMBER", Some("10000"), "Clients connected at the same time"),
    key(
        Bounds,
        "listen_backlog",
        "NUMBER",
        Some("1024"),
        "Connections that the kernel holds until they are accepted",
    ),
    key(
        Bounds,
        "pipeline_depth_max",
        "NUMBER",
        Some("1024"),
        "Requests of one client that may wait for their replies; after that its socket is not read",
    ),
    key(
        Bounds,
        "client_in_flight_bytes_max",
        "SIZE",
        Some("64mb"),
        "Bytes of the requests of one client that are on their way to nodes; at that much its socket is not read",
    ),
    key(Bounds, "request_args_max", "NUMBER", Some("1048576"), "Arguments of one request"),
    key(
        Bounds,
        "request_bulk_max",
        "SIZE",
        Some("512mb"),
        "One argument of a request; proto-max-bulk-len of Redis",
    ),
    key(
        Bounds,
        "request_bytes_max",
        "SIZE",
        Some("50%"),
        "One whole request; a larger one is refused; client-query-buffer-limit of Redis",
    ),
    key(
        Bounds,
        "transaction_bytes_max",
        "SIZE",
        Some("25%"),
        "Memory that the requests queued since MULTI take; a transaction beyond it is refused",
    ),
    key(Bounds, "request_inline_max", "SIZE", Some("64kb"), "One request typed as a plain line"),
    key(
        Bounds,
        "client_output_max",
        "SIZE",
        Some("50%"),
        "Replies waiting for one client to take them; a client beyond it is closed",
    ),
    key(
        Bounds,
        "client_stall_timeout",
        "DURATION",
        Some("60s"),
        "How long a client may leave its replies untaken and ask nothing before it is closed",
    ),
    key(
        Bounds,
        "client_idle_timeout",
        "DURATION",
        Some("0s"),
        "How long a client may ask nothing before it is closed, 0s for ever; not one that is subscribed, blocked or in \
         MONITOR; timeout of Redis",
    ),
    key(
        Bounds,
        "request_arrival_timeout",
        "DURATION",
        Some("60s"),
        "How long a request may take to arrive, with a second more for each 64 KiB of it, and a client to say its password",
    ),
    key(
        Bounds,
        "keyspace_bytes_max",
        "SIZE",
        Some("6%"),
        "Names of keys gathered for one KEYS, which fails beyond it, or for one page of SCAN, which ends there",
    ),
    key(
        Bounds,
        "scan_passes_max",
        "NUMBER",
        Some("1024"),
        "Places that cursors of SCAN stand for, at most 4 KiB each; beyond it the one unused for longest begins anew",
    ),
    key(
        Bounds,
        "script_bytes_max",
        "SIZE",
        Some("1%"),
        "Scripts remembered for nodes that do not have them; beyond it the one unused for longest is forgotten",
    ),
    key(
        Bounds,
        "pubsub_output_max",
        "SIZE",
        Some("3%"),
        "Messages and replies waiting for one client that is subscribed to something; a client beyond it is closed",
    ),
    key(
        Bounds,
        "pubsub_subscriptions_max",
        "NUMBER",
        Some("65536"),
        "Channels and patterns that one client is subscribed to",
    ),
    key(
        Bounds,
        "pubsub_patterns_max",
        "NUMBER",
        Some("4096"),
        "Patterns among those; servers try each on every message that is published",
    ),
    key(
        Bounds,
        "pubsub_names_max",
        "NUMBER",
        Some("1048576"),
        "Different channels and patterns that all clients together are subscribed to",
    ),
    key(
        Bounds,
        "slowlog_log_slower_than",
        "MICROSECONDS",
        Some("10000"),
        "Commands that take longer from when they are read to their reply, in microseconds, are kept in the slow log; -1 for none",
    ),
    key(Bounds, "slowlog_max_len", "NUMBER", Some("128"), "Entries of the slow log; the oldest go first"),
    key(
        Bounds,
        "tracking_keys_max",
        "NUMBER",
        Some("1000000"),
        "Keys remembered for clients that cache them (CLIENT TRACKING); beyond it any one is forgotten and its \
         clients are told so; tracking-table-max-keys of Redis",
    ),
    key(
        Bounds,
        "upstream_connect_timeout",
        "DURATION",
        Some("2s"),
        "Wait for each step to a connection to a node: the look-up of its name, each of its addresses, its greeting",
    ),
    key(
        Bounds,
        "upstream_request_timeout",
        "DURATION",
        Some("5s"),
        "Wait for the reply of a node, and for more of it once it has begun",
    ),
    key(
        Bounds,
        "upstream_rate_min",
        "NUMBER",
        Some("16384"),
        "Bytes a second that have to come along for a large request or reply to take longer than that",
    ),
    key(
        Bounds,
        "upstream_request_time_max",
        "DURATION",
        Some("10m"),
        "How long a large request or reply may take at all; at least upstream_request_timeout",
    ),
    key(
        Bounds,
        "upstream_large_min",
        "SIZE",
        Some("256kb"),
        "From this size on a request or reply is large: other commands take a side connection to the node meanwhile",
    ),
    key(
        Bounds,
        "upstream_side_connections_max",
        "NUMBER",
        Some("4"),
        "Side connections of each worker to one node, for what is large or stands behind it; 0 for none",
    ),
    key(
        Bounds,
        "upstream_in_flight_max",
        "NUMBER",
        Some("65536"),
        "Commands waiting for their replies on one connection to a node",
    ),
    key(
        Bounds,
        "upstream_in_flight_bytes_max",
        "SIZE",
        Some("50%"),
        "Bytes of those commands on one connection to a node",
    ),
    key(
        Bounds,
        "upstream_reply_bytes_max",
        "SIZE",
        Some("50%"),
        "One whole reply or push of a node; a longer reply is passed over and who asked for it gets an error",
    ),
    key(
        Bounds,
        "upstream_dedicated_max",
        "NUMBER",
        Some("4096"),
        "Connections to nodes that one client each needs for itself, to block, to WATCH, to WAIT or for a long reply where the \
         node limits those; more are refused",
    ),
    key(
        Bounds,
        "upstream_dedicated_idle_max",
        "NUMBER",
        Some("128"),
        "Such connections to one node that each worker keeps for the next client that needs one",
    ),
    key(
        Bounds,
        "upstream_dedicated_idle_timeout",
        "DURATION",
        Some("60s"),
        "How long such a connection is kept unused",
    ),
    key(
        Bounds,
        "upstream_backoff_min",
        "DURATION",
        Some("50ms"),
        "First wait before a lost node is tried again, and the least from one connection to the next",
    ),
    key(
        Bounds,
        "upstream_backoff_max",
        "DURATION",
        Some("2s"),
        "Longest wait before a lost node is tried again",
    ),
    key(
        Bounds,
        "heartbeat_interval",
        "DURATION",
        Some("1s"),
        "How often a connection to a node is proved to be alive and its invalidations to have arrived",
    ),
    key(
        Bounds,
        "shadow_verify",
        "FRACTION",
        Some("0"),
        "Part of the hits that are asked upstream as well and compared: 0.01 for 1 %",
    ),
    key(
        Bounds,
        "canary_interval",
        "DURATION",
        None,
        "How often a key of each node is written to measure until that is heard of; not at all unless given",
    ),
    key(Bounds, "warm_keys", "NUMBER", Some("10000"), "Keys that warm_file has at most"),
    key(
        Bounds,
        "warm_interval",
        "DURATION",
        Some("5m"),
        "How often warm_file is written, besides at the end",
    ),
    key(
        Bounds,
        "warm_rate",
        "NUMBER",
        Some("1000"),
        "Reads a second at the start, until all of warm_file are done",
    ),
    key(
        Bounds,
        "lease",
        "DURATION",
        Some("2s"),
        "How long after the last such proof the near cache serves entries of that node; more than \
         heartbeat_interval",
    ),
    key(
        Bounds,
        "topology_refresh_interval",
        "DURATION",
        Some("5s"),
        "How often the owners of the slots are asked for; at most negative_ttl, because nothing else tells of an \
         absent key that moved",
    ),
    key(
        Bounds,
        "topology_refresh_gap_min",
        "DURATION",
        Some("100ms"),
        "Shortest time between two such questions, however many redirects arrive",
    ),
    key(
        Bounds,
        "topology_source",
        "nodes|configured",
        Some("nodes"),
        "Who is asked who owns the slots: nodes, those that the cluster named last and the hosts of upstream; configured, the \
         hosts of upstream alone",
    ),
    key(
        Bounds,
        "topology_reply_bytes_max",
        "SIZE",
        Some("16mb"),
        "One answer to such a question; beyond it the connection is closed and another node is asked",
    ),
    key(
        Bounds,
        "log_queue_max",
        "NUMBER",
        Some("1024"),
        "Lines of the log that wait for whoever reads it; what comes beyond is dropped and counted",
    ),
    key(
        Bounds,
        "drain_timeout",
        "DURATION",
        Some("10s"),
        "How long running requests may take to end once the daemon was told to stop",
    ),
];

// === impl Key ===

const fn key(
    group: Group,
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Key {
    Key { name, value, default, group, list: false, help }
}

impl Key {
    /// The key with this name.
    pub fn named(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The key whose name looks most like `name`, if one does: for those who mistype.
    pub fn resembling(name: &str) -> Option<&'static Key> {
        const DISTANCE_MAX: usize = 2;
        let distance = |key: &&Key| strsim::damerau_levenshtein(key.name, name);
        KEYS.iter().min_by_key(distance).filter(|key| distance(key) <= DISTANCE_MAX)
    }

    /// Whether it is on or off.
    pub fn is_switch(&self) -> bool {
        self.value == SWITCH
    }

    /// The flag without its dashes: `l1-size`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable: `NEARSIDE_L1_SIZE`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }
}

/// What the name of every environment variable of ours begins with.
pub(super) const VARIABLE_PREFIX: &str = "NEARSIDE_";
