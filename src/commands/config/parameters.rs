//! The parameters of CONFIG: which of Redis's are about this daemon and what they say, and which are about
//! the data.

use crate::commands::context::SessionContext;
use crate::config::Change;

/// What the keys of the daemon's own configuration begin with.
pub(super) const OWN_PREFIX: &str = "nearside-";

/// Parameters of Redis that are about the daemon, with what they say.
pub(super) const DAEMON: &[(&str, fn(&SessionContext) -> String)] = &[
    ("bind", |context| {
        context.report.tcp.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" ")
    }),
    ("client-output-buffer-limit", |context| {
        let normal = context.server.settings.client_output_max.get();
        let subscribed = context.limits.subscribed_output_bytes_max;
        format!("normal {normal} 0 0 slave 0 0 0 pubsub {subscribed} 0 0")
    }),
    ("client-query-buffer-limit", |context| context.limits.ahead_bytes_max.to_string()),
    ("cluster-enabled", |_| "no".to_owned()),
    ("daemonize", |_| "no".to_owned()),
    ("databases", |_| "1".to_owned()),
    ("io-threads", |context| context.report.workers.to_string()),
    ("latency-monitor-threshold", |_| "0".to_owned()),
    ("logfile", |_| String::new()),
    ("loglevel", |context| log_level(context).to_owned()),
    ("maxclients", |context| context.server.settings.max_clients.get().to_string()),
    ("port", |context| context.report.tcp_port().to_string()),
    ("protected-mode", |context| if context.report.allow_remote { "no" } else { "yes" }.to_owned()),
    ("replicaof", |_| String::new()),
    ("requirepass", |context| context.server.shown_password()),
    ("slaveof", |_| String::new()),
    ("slowlog-log-slower-than", |context| context.server.settings.slowlog_log_slower_than.get().to_string()),
    ("slowlog-max-len", |context| context.server.settings.slowlog_max_len.get().to_string()),
    ("tcp-keepalive", |_| "300".to_owned()),
    ("timeout", |context| context.server.settings.client_idle_timeout.duration().as_secs().to_string()),
    ("tracking-table-max-keys", |context| context.server.settings.tracking_keys_max.get().to_string()),
    ("unixsocket", |context| {
        context.report.unix.as_ref().map_or_else(String::new, |(path, _)| path.display().to_string())
    }),
    ("unixsocketperm", |context| {
        context.report.unix.as_ref().map_or_else(|| "0".to_owned(), |(_, mode)| format!("{mode:o}"))
    }),
];

/// Parameters of [`DAEMON`] that are those of the server where there is one.
const OF_SERVER: &[&str] = &["databases", "latency-monitor-threshold"];

/// Parameters of one server that stay between it and its operator: files, modules and credentials. So are
/// those that begin with `tls-`.
const OF_OPERATOR: &[&str] = &[
    "aclfile",
    "appenddirname",
    "appendfilename",
    "cluster-config-file",
    "dbfilename",
    "dir",
    "enable-debug-command",
    "enable-module-command",
    "enable-protected-configs",
    "include",
    "loadmodule",
    "masterauth",
    "masteruser",
    "pidfile",
    "primaryauth",
    "primaryuser",
    "user",
];

/// Parameters about the data: a server of a cluster says them. No other is passed on there unless
/// `server_config` says so, since others are about one server of many.
const DATA: &[&str] = &[
    "active-expire-effort",
    "appendfsync",
    "appendonly",
    "busy-reply-threshold",
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "hash-max-ziplist-entries",
    "hash-max-ziplist-value",
    "hll-sparse-max-bytes",
    "hz",
    "lazyfree-lazy-eviction",
    "lazyfree-lazy-expire",
    "lazyfree-lazy-server-del",
    "lazyfree-lazy-user-del",
    "lazyfree-lazy-user-flush",
    "lfu-decay-time",
    "lfu-log-factor",
    "list-compress-depth",
    "list-max-listpack-size",
    "list-max-ziplist-size",
    "lua-time-limit",
    "maxmemory",
    "maxmemory-clients",
    "maxmemory-eviction-tenacity",
    "maxmemory-policy",
    "maxmemory-samples",
    "notify-keyspace-events",
    "proto-max-bulk-len",
    "save",
    "set-max-intset-entries",
    "set-max-listpack-entries",
    "set-max-listpack-value",
    "stream-node-max-bytes",
    "stream-node-max-entries",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
    "zset-max-ziplist-entries",
    "zset-max-ziplist-value",
];

/// The one parameter that is set on every primary of a cluster in any case: applications set it for
/// themselves.
pub(super) const SET_UPSTREAM: &str = "notify-keyspace-events";

/// Which parameters of the servers clients may read and set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// In front of one server: all that are not its operator's.
    OneServer,
    /// In front of a cluster: those about the data are read, and none but [`SET_UPSTREAM`] is set.
    Cluster,
    /// In front of a cluster with `server_config = "forward"`: as one server's, but for those that make it a
    /// cluster.
    WholeCluster,
}

// === impl Reach ===

impl Reach {
    pub(super) fn of(context: &SessionContext) -> Reach {
        match (context.router.upstream().is_cluster(), context.report.forwards_config) {
            (false, _) => Reach::OneServer,
            (true, false) => Reach::Cluster,
            (true, true) => Reach::WholeCluster,
        }
    }

    /// Whether the daemon says a parameter of Redis itself.
    pub(super) fn is_of_daemon(self, name: &str) -> bool {
        DAEMON.iter().any(|(known, _)| *known == name)
            && (self != Reach::OneServer || !OF_SERVER.contains(&name))
    }

    /// Whether servers of the upstream say a parameter.
    pub(super) fn is_of_upstream(self, name: &str) -> bool {
        let is_own = || name.starts_with(OWN_PREFIX) || self.is_of_daemon(name) || is_of_operator(name);
        match self {
            Reach::Cluster => DATA.contains(&name),
            Reach::OneServer => !is_own(),
            Reach::WholeCluster => !(is_own() || name.starts_with("cluster-")),
        }
    }

    /// Whether CONFIG SET of a parameter is carried out by the servers of the upstream.
    pub(super) fn is_set_upstream(self, name: &str) -> bool {
        name == SET_UPSTREAM || (self != Reach::Cluster && self.is_of_upstream(name))
    }
}

/// Whether a parameter stays between a server and its operator.
pub(super) fn is_of_operator(name: &str) -> bool {
    OF_OPERATOR.contains(&name) || name.starts_with("tls-")
}

/// The key of the daemon's configuration that a parameter means, in whichever way it is named.
pub(super) fn own_key(name: &str) -> Option<String> {
    match name {
        "maxclients" => Some("max_clients".to_owned()),
        "slowlog-log-slower-than" | "slowlog-max-len" => Some(name.replace('-', "_")),
        "loglevel" => Some("log_level".to_owned()),
        "timeout" => Some("client_idle_timeout".to_owned()),
        "tracking-table-max-keys" => Some("tracking_keys_max".to_owned()),
        _ => name.strip_prefix(OWN_PREFIX).map(|key| key.replace('-', "_")),
    }
}

/// Reads a value of CONFIG SET; the errors for parameters of Redis have its texts.
pub(super) fn read(name: &str, text: &str) -> Option<Result<Change, String>> {
    let text = match (name, log_filter(text)) {
        ("loglevel", Some(filter)) => filter,
        ("loglevel", None) => {
            let names = "argument(s) must be one of the following: debug, verbose, notice, warning";
            return Some(Err(names.to_owned()));
        }
        _ => text,
    };
    let range = match name {
        "maxclients" => Some((1, 1_000_000)),
        "slowlog-log-slower-than" => Some((-1, i64::MAX)),
        "slowlog-max-len" => Some((0, 1_000_000)),
        // 30 days.
        "timeout" => Some((0, 2_592_000)),
        "tracking-table-max-keys" => Some((1, 100_000_000)),
        _ => None,
    };
    if let Some((least, most)) = range {
        match crate::protocol::resp::parse_integer(text.as_bytes()) {
            None => return Some(Err("argument couldn't be parsed into an integer".to_owned())),
            Some(number) if !(least..=most).contains(&number) => {
                return Some(Err(format!("argument must be between {least} and {most} inclusive")));
            }
            Some(_) => {}
        }
    }
    let seconds = format!("{text}s");
    Change::read(&own_key(name)?, if name == "timeout" { &seconds } else { text })
}

/// The filter of the log for a level of Redis.
fn log_filter(level: &str) -> Option<&'static str> {
    match &*level.to_ascii_lowercase() {
        "debug" => Some("trace"),
        "verbose" => Some("debug"),
        "notice" => Some("info"),
        "warning" => Some("warn"),
        _ => None,
    }
}

/// The level of Redis that the filter of the log is nearest to.
fn log_level(context: &SessionContext) -> &'static str {
    match context.server.typed().get("log_level").map(String::as_str) {
        Some("trace") => "debug",
        Some("debug") => "verbose",
        Some("warn" | "error" | "off") => "warning",
        _ => "notice",
    }
}
