//! The server and its administration.

use super::builder::{SECOND, container, of_server, read, refused, row};
use crate::protocol::command::{
    Class, CommandQuery, Flags, Gather, InCluster, Local, RefusalReason, RequiredState, Spec,
};

pub(super) const ROWS: &[Spec] = &[
    container("acl", -2, ACL),
    of_server("bgrewriteaof", 1, InCluster::Refused(RefusalReason::OneServer)).flags(Flags::ADMIN),
    of_server("bgsave", -1, InCluster::Refused(RefusalReason::OneServer)).flags(Flags::ADMIN),
    row("command", -1, Class::AnyNode).subcommands(COMMAND),
    container("commandlog", -2, COMMANDLOG),
    container("config", -2, CONFIG),
    of_server("debug", -2, InCluster::Refused(RefusalReason::OneServer)).flags(Flags::ADMIN).shared(),
    refused("failover", -1, RefusalReason::Replication).flags(Flags::ADMIN),
    row("info", -1, Class::Local(Local::Info)),
    row("lastsave", 1, Class::AnyNode),
    container("latency", -2, LATENCY),
    row("lolwut", -1, Class::Local(Local::Lolwut)).flags(Flags::READ),
    container("memory", -2, MEMORY),
    container("module", -2, MODULE),
    row("monitor", 1, Class::Session(RequiredState::Monitor)).flags(Flags::ADMIN),
    container("nearside", -2, NEARSIDE),
    refused("psync", -3, RefusalReason::Replication).flags(Flags::NO_MULTI).flags(Flags::ADMIN),
    refused("replconf", -1, RefusalReason::Replication).flags(Flags::ADMIN),
    refused("replicaof", 3, RefusalReason::Replication).flags(Flags::ADMIN),
    row("role", 1, Class::Local(Local::Role)),
    of_server("save", 1, InCluster::Refused(RefusalReason::OneServer))
        .flags(Flags::NO_MULTI)
        .flags(Flags::ADMIN),
    refused("shutdown", -1, RefusalReason::Harmful).flags(Flags::NO_MULTI).flags(Flags::ADMIN),
    refused("slaveof", 3, RefusalReason::Replication).flags(Flags::ADMIN),
    container("slowlog", -2, SLOWLOG),
    refused("sync", 1, RefusalReason::Replication).flags(Flags::NO_MULTI).flags(Flags::ADMIN),
    row("time", 1, Class::AnyNode),
];

const ACL: &[Spec] = &[
    row("acl|cat", -2, Class::AnyNode),
    refused("acl|deluser", -3, RefusalReason::Users).flags(Flags::ADMIN),
    row("acl|dryrun", -4, Class::Local(Local::AclDryRun)).flags(Flags::ADMIN),
    row("acl|genpass", -2, Class::AnyNode),
    row("acl|getuser", 3, Class::Local(Local::AclGetUser)).flags(Flags::ADMIN),
    row("acl|help", 2, Class::AnyNode),
    row("acl|list", 2, Class::Local(Local::AclList)).flags(Flags::ADMIN),
    refused("acl|load", 2, RefusalReason::Users).flags(Flags::ADMIN),
    row("acl|log", -2, Class::Local(Local::AclLog)).flags(Flags::ADMIN),
    refused("acl|save", 2, RefusalReason::Users).flags(Flags::ADMIN),
    refused("acl|setuser", -3, RefusalReason::Users).flags(Flags::ADMIN),
    row("acl|users", 2, Class::Local(Local::AclUsers)).flags(Flags::ADMIN),
    row("acl|whoami", 2, Class::Local(Local::AclWhoAmI)),
];

const COMMAND: &[Spec] = &[
    row("command|count", 2, Class::AnyNode),
    row("command|docs", -2, Class::AboutCommands(CommandQuery::Docs)),
    row("command|getkeys", -3, Class::AnyNode),
    row("command|getkeysandflags", -3, Class::AnyNode),
    row("command|help", 2, Class::AnyNode),
    row("command|info", -2, Class::AboutCommands(CommandQuery::Info)),
    row("command|list", -2, Class::AnyNode),
];

const COMMANDLOG: &[Spec] = &[
    row("commandlog|get", 4, Class::AnyNode).flags(Flags::ADMIN).shared(),
    row("commandlog|help", 2, Class::AnyNode),
    row("commandlog|len", 3, Class::AnyNode).flags(Flags::ADMIN).shared(),
    row("commandlog|reset", 3, Class::EveryPrimary(Gather::AllOk)).flags(Flags::ADMIN).shared(),
];

const CONFIG: &[Spec] = &[
    row("config|get", -3, Class::Local(Local::ConfigGet)).flags(Flags::ADMIN),
    row("config|help", 2, Class::AnyNode),
    row("config|resetstat", 2, Class::Local(Local::ConfigResetStat)).flags(Flags::ADMIN),
    of_server("config|rewrite", 2, InCluster::Refused(RefusalReason::OwnFile)).flags(Flags::ADMIN),
    row("config|set", -4, Class::Local(Local::ConfigSet)).flags(Flags::ADMIN),
];

const LATENCY: &[Spec] = &[
    of_server("latency|doctor", 2, InCluster::Local(Local::LatencyDoctor)).flags(Flags::ADMIN),
    of_server("latency|graph", 3, InCluster::Local(Local::LatencyGraph)).flags(Flags::ADMIN),
    row("latency|help", 2, Class::AnyNode),
    of_server("latency|histogram", -2, InCluster::Local(Local::LatencyHistogram)).flags(Flags::ADMIN),
    of_server("latency|history", 3, InCluster::Local(Local::LatencyHistory)).flags(Flags::ADMIN),
    of_server("latency|latest", 2, InCluster::Local(Local::LatencyLatest)).flags(Flags::ADMIN),
    of_server("latency|reset", -2, InCluster::Local(Local::LatencyReset)).flags(Flags::ADMIN),
];

const MEMORY: &[Spec] = &[
    row("memory|doctor", 2, Class::AnyNode),
    row("memory|help", 2, Class::AnyNode),
    row("memory|malloc-stats", 2, Class::AnyNode),
    row("memory|purge", 2, Class::EveryPrimary(Gather::AllOk)),
    row("memory|stats", 2, Class::AnyNode),
    read("memory|usage", -3).keys(SECOND),
];

const MODULE: &[Spec] = &[
    row("module|help", 2, Class::AnyNode),
    row("module|list", 2, Class::AnyNode).flags(Flags::ADMIN),
    refused("module|load", -3, RefusalReason::Modules).flags(Flags::ADMIN),
    refused("module|loadex", -3, RefusalReason::Modules).flags(Flags::ADMIN),
    refused("module|unload", 3, RefusalReason::Modules).flags(Flags::ADMIN),
];

/// What Redis does not have.
const NEARSIDE: &[Spec] = &[
    row("nearside|explain", 3, Class::Local(Local::NearsideExplain)),
    row("nearside|flush", -2, Class::Local(Local::NearsideFlush)).flags(Flags::ADMIN),
    row("nearside|fresh", 3, Class::Local(Local::NearsideFresh)),
    row("nearside|help", 2, Class::Local(Local::NearsideHelp)),
];

const SLOWLOG: &[Spec] = &[
    row("slowlog|get", -2, Class::Local(Local::SlowlogGet)).flags(Flags::ADMIN),
    row("slowlog|help", 2, Class::AnyNode),
    row("slowlog|len", 2, Class::Local(Local::SlowlogLen)).flags(Flags::ADMIN),
    row("slowlog|reset", 2, Class::Local(Local::SlowlogReset)).flags(Flags::ADMIN),
];
