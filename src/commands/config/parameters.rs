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
    ("requirepass", |context| {
        // That there is one may be known; which it is stays where it was read.
        if context.server.asks_password() { "(redacted)".to_owned() } else { String::new() }
    }),
    ("slaveof", |_| String::new()),
    ("slowlog-log-slower-than", |context| context.server.settings.slowlog_log_slower_than.get().to_string()),
    ("slowlog-max-len", |context| context.server.settings.slowlog_max_len.get().to_string()),
    ("tcp-keepalive", |_| "300".to_owned()),
    ("timeout", |context| context.limits.idle_timeout.as_secs().to_string()),
    ("unixsocket", |context| {
        context.report.unix.as_ref().map_or_else(String::new, |(path, _)| path.display().to_string())
    }),
    ("unixsocketperm", |context| {
        context.report.unix.as_ref().map_or_else(|| "0".to_owned(), |(_, mode)| format!("{mode:o}"))
    }),
];

/// Parameters about the data: a server of the upstream says them. No other is passed on, for some are secrets
/// of it.
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

/// The one parameter about the data that is set on every primary: applications set it for themselves.
pub(super) const SET_UPSTREAM: &str = "notify-keyspace-events";

/// Whether a parameter is about the data.
pub(super) fn is_about_data(name: &str) -> bool {
    DATA.contains(&name)
}

/// The key of the daemon's configuration that a parameter means, in whichever way it is named.
pub(super) fn own_key(name: &str) -> Option<String> {
    match name {
        "maxclients" => Some("max_clients".to_owned()),
        "slowlog-log-slower-than" | "slowlog-max-len" => Some(name.replace('-', "_")),
        "loglevel" => Some("log_level".to_owned()),
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
    Change::read(&own_key(name)?, text)
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
