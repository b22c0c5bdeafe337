//! The tables of the house: which room may use which, where foreign crates may be named, and which words and
//! names have no place.

/// Plain values that any room below may use.
pub(super) const WORDS: &[&str] = &["clock", "drain", "invalidation", "memory", "node", "settings", "stats"];

/// The rooms from the top of the house to the bottom, and what each may use beside the words. All of that
/// stands above it.
pub(super) const HOUSE: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("clock", &[]),
    ("drain", &[]),
    ("invalidation", &["protocol"]),
    ("memory", &[]),
    ("node", &[]),
    ("settings", &[]),
    ("stats", &[]),
    ("namespace", &["protocol"]),
    ("net", &["protocol"]),
    ("clients", &["protocol", "namespace"]),
    // These two are blind to each other and meet in `router`.
    ("cache", &["protocol", "net"]),
    ("upstream", &["protocol", "net"]),
    ("pubsub", &["protocol", "clients", "upstream"]),
    ("router", &["protocol", "namespace", "net", "clients", "cache", "upstream", "pubsub"]),
    ("config", &["protocol", "namespace", "cache"]),
    ("telemetry", &["config"]),
    // The configuration and the log for CONFIG alone, the cache and the upstream for INFO and CONFIG: what
    // is about data goes through the router.
    (
        "commands",
        &["protocol", "namespace", "clients", "cache", "upstream", "pubsub", "router", "config", "telemetry"],
    ),
    ("session", &["protocol", "namespace", "net", "clients", "upstream", "pubsub", "router", "commands"]),
    (
        "daemon",
        &[
            "protocol",
            "namespace",
            "net",
            "clients",
            "cache",
            "upstream",
            "pubsub",
            "router",
            "config",
            "telemetry",
            "commands",
            "session",
        ],
    ),
    // The throwaway servers know nothing of the daemon: a test must not be judged by what it tests.
    ("sandbox", &["protocol"]),
    // What serves clients can never reach a throwaway server.
    ("dev", &["config", "daemon", "sandbox"]),
    // It judges by the command table, and serves nothing.
    ("compat", &["protocol", "config"]),
];

/// Where a foreign crate may be named, and why nowhere else.
pub(super) const PLACES: &[(&str, &[&str], &str)] = &[
    ("moka", &["cache/hot_keys.rs"], "correctness must not lean on what moka promises about time and order"),
    (
        "fred",
        &["sandbox/application.rs", "compat/source.rs"],
        "an ordinary client is wanted there; the daemon trusts no server as far as fred does",
    ),
    (
        "clap",
        &["config/cli.rs", "config/compat.rs"],
        "the command line is one source of the configuration among three",
    ),
    (
        "redis_protocol",
        &["protocol/resp/"],
        "it judges our scanners in tests, and bytes stay untouched on their way through",
    ),
    ("sd_notify", &["daemon/systemd.rs"], "one place that speaks to systemd"),
    ("tikv_jemallocator", &["main.rs"], "who uses the library chooses the allocator"),
    ("tikv_jemalloc_sys", &["main.rs"], "who uses the library chooses the allocator"),
    ("toml", &["config/"], "the form of the file is nobody else's business"),
];

/// What must not stand in the code.
pub(super) const BANNED: &[(&str, &str)] = &[
    ("todo!(", "unfinished code answers a client with a panic"),
    ("unimplemented!(", "unfinished code answers a client with a panic"),
    ("dbg!(", "standard error is the log"),
    ("TODO", "open work belongs into the issue tracker"),
    ("FIXME", "open work belongs into the issue tracker"),
    ("super::super", "name the module from `crate::`, where this test sees it"),
];

/// How no documentation begins: it leans on what stands before it, and breaks when code moves.
pub(super) const NO_BEGINNING: &[&str] = &["The same", "It is", "They", "That", "One", "Whoever"];

/// Columns of a line of comment at most.
pub(super) const COLUMNS_MAX: usize = 110;

/// Names that say nothing about what is in a file.
pub(super) const EMPTY_NAMES: &[&str] =
    &["utils", "util", "helpers", "common", "misc", "types", "manager", "prelude"];

/// Words that speak of people where code is meant; no comment has them.
pub(super) const NO_WORDS: &[&str] = &["whoever", "nobody", "somebody"];
