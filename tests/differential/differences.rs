//! The differences that the differential suite allows, as data, each with its reason.
//!
//! Everything else is compared byte for byte. COMPATIBILITY.md lists these rows. A row that nothing needs any
//! more makes the large run fail.

/// One thing in which nearside and a plain server may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    /// The commands, by their names in the table; none stands for all.
    pub(crate) commands: &'static [&'static str],
    pub(crate) how: How,
    /// What COMPATIBILITY.md says of it.
    pub(crate) why: &'static str,
}

/// What may differ; everything that is not named here must be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// The order of elements, or of pairs.
    Order,
    /// Integers by so much, wherever they stand.
    Near(i64),
    /// Moments, in seconds or milliseconds since 1970, by so much; other integers must be the same.
    Moment(i64),
    /// What is in the texts, and which numbers there are; kinds and counts of elements must be the same.
    Choice,
    /// The values of these fields.
    Fields(&'static [&'static str]),
    /// All, as long as neither is an error.
    Answer,
    /// The plain server's reply begins with the first, nearside's with the second.
    Instead(&'static str, &'static str),
}

/// The beginning of the error for a database that a cluster does not have.
pub(crate) const MISSING_DATABASE: &str = "-ERR DB index is out of range (nearside: ";

const fn row(commands: &'static [&'static str], how: How, why: &'static str) -> Difference {
    Difference { commands, how, why }
}

/// Those of every setting. A setting reads its rows from the first to the last: the first that fits excuses a
/// difference.
pub(crate) const EVERYWHERE: &[Difference] = &[
    row(
        &[
            "hgetall", "hkeys", "hscan", "hvals", "keys", "sdiff", "sinter", "smembers", "sscan", "sunion",
            "zscan",
        ],
        How::Order,
        "sets and hashes have no order: every server hashes with a seed of its own, and KEYS asks several",
    ),
    row(
        &[
            "acl|cat",
            "command",
            "command|docs",
            "command|info",
            "command|list",
            "config|get",
            "function|list",
        ],
        How::Order,
        "the lists have no order: every server hashes with a seed of its own",
    ),
    row(
        &["hscan", "scan", "sscan", "zscan"],
        How::Answer,
        "where one call does not give all, the cursor is the server's own or nearside's: a whole walk gives the same",
    ),
    row(
        &["eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"],
        How::Order,
        "what a script reads from a set or a hash has no order either",
    ),
    row(
        &["dump", "function|dump"],
        How::Choice,
        "the elements of a set or a hash have no order, nor have libraries, and so the dump and its checksum differ",
    ),
    row(&["config|get"], How::Answer, "parameters of nearside itself, beside those of one of the nodes"),
    row(&["xadd"], How::Choice, "an id made by the server is its time"),
    row(
        &["hrandfield", "randomkey", "spop", "srandmember", "zrandmember"],
        How::Choice,
        "the server draws; how many it draws is compared",
    ),
    row(&["acl|genpass", "lolwut"], How::Choice, "drawn at random"),
    row(
        &["pttl", "hpttl", "ttl", "httl", "xpending"],
        How::Near(5_000),
        "counted from when the server took the command in",
    ),
    row(
        &["pexpiretime", "hpexpiretime", "expiretime", "hexpiretime", "xinfo|stream", "lastsave"],
        How::Moment(60_000),
        "moments of two servers",
    ),
    row(&["time"], How::Choice, "the time of one of the nodes"),
    row(
        &["xinfo|consumers"],
        How::Fields(&["idle", "inactive"]),
        "counted from when the server took the command in",
    ),
    row(
        &["object|idletime"],
        How::Near(60),
        "counted from when the server was last asked: reads from memory do not count",
    ),
    row(
        &["memory|usage"],
        How::Choice,
        "a server of a cluster keeps some bytes more for each key, and skip lists are drawn",
    ),
    row(
        &["memory|doctor", "memory|malloc-stats", "memory|stats", "latency|histogram", "function|stats"],
        How::Answer,
        "about one of the nodes",
    ),
    row(
        &["acl|log"],
        How::Answer,
        "of one of the nodes; whoever fails to log in does so at nearside, which keeps no log",
    ),
    row(
        &["hello"],
        How::Fields(&["id", "modules"]),
        "clients are numbered by nearside, and modules are not listed",
    ),
    row(&["client|id"], How::Near(i64::MAX), "clients are numbered by nearside"),
    row(&["client|info", "client|list"], How::Answer, "nearside tells what it knows of its own clients"),
    row(&["info"], How::Answer, "about nearside: fewer fields, and a section of its own"),
    row(
        &["client|capa", "client|import-source", "client|no-touch", "client|setinfo"],
        How::Instead("-ERR unknown subcommand '", ""),
        "nearside answers these itself, also in front of servers that do not know them yet",
    ),
    row(
        &["client|setinfo", "client|setname"],
        How::Instead("+OK\r\n", "-ERR "),
        "in a name nothing but printable letters without spaces; Valkey looks no further than the first zero byte",
    ),
    row(
        &["hello"],
        How::Instead("", "-ERR Client names cannot contain "),
        "in a name nothing but printable letters without spaces; Valkey looks no further than the first zero byte",
    ),
    row(
        &["bgrewriteaof", "bgsave", "save"],
        How::Instead("-ERR ", "+"),
        "whether something is being saved already depends on how fast a server is",
    ),
    row(
        &["bgrewriteaof", "bgsave", "save"],
        How::Instead("+", "-ERR "),
        "whether something is being saved already depends on how fast a server is",
    ),
    row(
        &["bgrewriteaof", "bgsave", "save"],
        How::Answer,
        "whether something is being saved already depends on how fast a server is",
    ),
    row(
        &[],
        How::Instead("-ERR unknown ", "-ERR wrong number of arguments for '"),
        "the arity of a command that the servers do not know is judged before they are asked",
    ),
    row(
        &[],
        How::Instead("-ERR unknown ", "+QUEUED"),
        "whether the servers know a command is asked at EXEC, which then says EXECABORT",
    ),
    row(
        &["scan"],
        How::Instead("-ERR invalid cursor", ""),
        "cursors may have a sign, as in Redis 7; Valkey takes none",
    ),
    row(
        &["scan"],
        How::Instead("", "-ERR invalid cursor"),
        "Redis 7 reads a cursor up to its first zero byte",
    ),
    row(
        &["exec"],
        How::Instead(
            "-EXECABORT Transaction discarded because of previous errors.",
            "-EXECABORT Transaction discarded because of: ",
        ),
        "a mistake that the servers find at EXEC is told there, and nothing of the transaction is done",
    ),
    row(&["acl|getuser"], How::Answer, "the one user as Redis describes it; Valkey has a field more"),
    row(
        &["client|kill", "client|list"],
        How::Instead("-ERR syntax error", "-ERR "),
        "a number that is none is told in the words of Redis",
    ),
    row(
        &["config|set"],
        How::Instead("-ERR CONFIG SET failed ", "-ERR CONFIG SET failed "),
        "parameters and their values are those of nearside",
    ),
    row(
        &["lolwut"],
        How::Instead("-ERR ", ""),
        "nearside has a picture of its own, and reads the arguments as Redis does",
    ),
    row(&["role"], How::Near(1_000_000), "nearside replicates nothing"),
    row(
        &[],
        How::Instead("-ERR wrong number of arguments for '", "+QUEUED"),
        "where versions want other numbers of arguments, the server says so at EXEC, which then says EXECABORT",
    ),
    row(&["sort", "sort_ro"], How::Order, "BY a constant leaves the elements of a set as they come"),
];

/// Those in front of a cluster, which has slots and several nodes.
pub(crate) const IN_CLUSTER: &[Difference] = &[
    row(
        &["select"],
        How::Instead("-ERR DB index is out of range", MISSING_DATABASE),
        "a cluster has one database, and the error says which setting makes namespaces of others",
    ),
    DOCTOR,
    row(
        &["watch"],
        How::Instead("+OK", "-CROSSSLOT "),
        "all that a client watches must lie in one slot, as all of a transaction must",
    ),
    SORT_BY,
    SORT_GET,
];

/// Those in a namespace of a cluster.
pub(crate) const IN_NAMESPACE: &[Difference] = &[
    row(
        &["move"],
        How::Instead("", "-CROSSSLOT "),
        "databases are prefixes: a key without a hash tag lies in another slot in each, unless the namespace is pinned",
    ),
    DOCTOR,
    SORT_BY,
    SORT_GET,
    row(
        &["xread", "xreadgroup"],
        How::Instead("+QUEUED", "-ERR syntax error"),
        "in MULTI a request in which nearside finds no keys is refused at once, and not by EXEC",
    ),
    row(
        &["xread", "xreadgroup"],
        How::Instead("-ERR ", "-ERR syntax error"),
        "nearside looks for the keys before other arguments are judged",
    ),
];

const DOCTOR: Difference = row(&["latency|doctor"], How::Answer, "about nearside, in the words of Redis");

const SORT_BY: Difference = row(
    &["sort", "sort_ro"],
    How::Instead("", "-ERR BY option of SORT denied in "),
    "a cluster does not let SORT read keys of other slots",
);

const SORT_GET: Difference = row(
    &["sort", "sort_ro"],
    How::Instead("", "-ERR GET option of SORT denied in "),
    "a cluster does not let SORT read keys of other slots",
);
