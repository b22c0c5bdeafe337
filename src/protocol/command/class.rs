//! What the daemon does with a command: the vocabulary of the table's `class` column.

use super::RefusalReason;
use crate::protocol::resp::request::Request;

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A read of one key whose reply depends on that key's value alone, so L1 may answer it.
    CacheableRead,
    /// Goes to the node that owns its keys, which all lie in one slot. Read or write: see the flags.
    Forward,
    /// Runs a script or a function, or is about the scripts that are kept.
    Script(ScriptAction),
    /// Is split by slot, and the partial replies are joined.
    FanOut(Join),
    /// Goes to every primary, and the replies become one.
    EveryPrimary(Gather),
    /// Is about all keys, wherever they are.
    Keyspace(Keyspace),
    /// Names another database; there is only one.
    Database(Database),
    /// Is a message for all subscribers, including clients of this daemon.
    Publish,
    /// Has no key: any node can answer.
    AnyNode,
    /// As [`Class::AnyNode`], and may name very many commands.
    AboutCommands(CommandQuery),
    /// Is answered by the daemon itself.
    Local(Local),
    /// Needs state that outlives the request, so a multiplexed connection cannot carry it.
    Session(RequiredState),
    /// Concerns a server and no keys: one server carries it out. This is done where there are many.
    OfServer(InCluster),
    /// Makes no sense behind this daemon.
    Refused(RefusalReason),
}

/// What is done in front of a cluster with a command that is about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InCluster {
    /// The daemon answers it.
    Local(Local),
    /// A refusal.
    Refused(RefusalReason),
}

/// How the replies to the parts of a split request become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// An array with an element for each key, in the order of the keys.
    Mget,
    /// `OK` once every part says so.
    Mset,
    /// The sum of integers.
    Sum,
    /// The sum of integers; of one key, a read that L1 may answer.
    SumOfReads,
}

/// How the replies of all primaries become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// The one reply that all give, or the first error.
    AllOk,
    /// `OK` if any node answers that, else an error: only one node runs the script that is to be stopped.
    /// Sent on dedicated connections, because that node reads nothing on the connection of the script.
    AnyOk,
    /// The reply of the first node, since all reply alike; the first error, if there is one.
    First,
    /// The sum of integers.
    Sum,
    /// The reply of the node that runs something, else any.
    Running,
}

/// What is asked about all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyspace {
    /// A page of a walk over them.
    Scan,
    /// All that match.
    Keys,
    /// A random key, each as likely as any other.
    RandomKey,
    /// How many there are.
    Count,
    /// Removes all.
    Flush,
}

/// What is done with scripts. Those that run one may touch keys that they do not name; they go where their
/// named keys lie, or anywhere if they name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptAction {
    /// Runs a script that it brings.
    Eval,
    /// Runs a script that the server knows.
    EvalSha,
    /// Runs a function of a library.
    Function,
    /// Makes a script known.
    Load,
    /// Asks whether scripts are known.
    Exists,
    /// Forgets all scripts.
    Flush,
}

/// What names another database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// COPY may.
    Copy,
    /// MOVE does.
    Move,
    /// SWAPDB names two.
    Swap,
}

/// What the daemon answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its command")]
pub enum Local {
    AclDryRun,
    AclGetUser,
    AclList,
    AclLog,
    AclUsers,
    AclWhoAmI,
    Auth,
    ClientCapa,
    ClientGetName,
    ClientId,
    ClientImportSource,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientPause,
    ClientReply,
    ClientSetInfo,
    ClientSetName,
    ClientUnblock,
    ClientUnpause,
    ConfigGet,
    ConfigResetStat,
    ConfigSet,
    Echo,
    Hello,
    Info,
    LatencyDoctor,
    LatencyGraph,
    LatencyHistogram,
    LatencyHistory,
    LatencyLatest,
    LatencyReset,
    Lolwut,
    Ping,
    Quit,
    Role,
    Select,
    SlowlogGet,
    SlowlogLen,
    SlowlogReset,
    NearsideExplain,
    NearsideFlush,
    NearsideFresh,
    NearsideHelp,
}

/// What a subscription is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKind {
    /// A channel: SUBSCRIBE.
    Channel,
    /// All channels whose names match: PSUBSCRIBE.
    Pattern,
    /// A channel of a shard: SSUBSCRIBE.
    Shard,
}

/// What is asked about commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandQuery {
    /// COMMAND INFO.
    Info,
    /// COMMAND DOCS.
    Docs,
}

/// What is asked about subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionQuery {
    /// The channels with subscribers, of this kind.
    Names(TopicKind),
    /// How many subscribers each channel of this kind has.
    Counts(TopicKind),
    /// How many patterns have subscribers.
    Patterns,
}

/// What a command does about the client's own caching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackingCommand {
    /// CLIENT CACHING: whether the next command is tracked.
    Caching,
    /// CLIENT GETREDIR: the client that is notified instead.
    GetRedir,
    /// CLIENT TRACKINGINFO: the options in use.
    Info,
    /// CLIENT TRACKING: on or off.
    Switch,
}

/// What a command does about transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its command")]
pub enum TransactionCommand {
    Discard,
    Exec,
    Multi,
    Unwatch,
    Watch,
}

/// Which state a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequiredState {
    /// Waits on the server until there is something to answer.
    Blocking,
    /// Follows every command of a server.
    Monitor,
    /// Asks about subscriptions: PUBSUB.
    PubSub(SubscriptionQuery),
    /// Ends every state.
    Reset,
    /// Subscribes.
    Subscribe(TopicKind),
    /// The client's own client-side caching.
    Tracking(TrackingCommand),
    /// MULTI, WATCH and what belongs to them.
    Transaction(TransactionCommand),
    /// Unsubscribes.
    Unsubscribe(TopicKind),
    /// Waits for the replicas of what this connection wrote.
    Wait,
}

// === impl Class ===

impl Class {
    /// What is done with a request of this class in front of a cluster, or of one server.
    #[inline]
    pub fn before(self, is_cluster: bool, request: &Request<'_>) -> Class {
        match self {
            Class::OfServer(of_server) => of_server.before(is_cluster, request),
            class => class,
        }
    }
}

// === impl InCluster ===

impl InCluster {
    #[cold]
    fn before(self, is_cluster: bool, request: &Request<'_>) -> Class {
        match self {
            InCluster::Local(local) if is_cluster => Class::Local(local),
            InCluster::Refused(reason) if is_cluster => Class::Refused(reason),
            _ if request.arg(0).eq_ignore_ascii_case(b"debug") && !is_harmless(request.arg(1)) => {
                Class::Refused(RefusalReason::Harmful)
            }
            _ => Class::AnyNode,
        }
    }
}

/// Whether a subcommand of DEBUG leaves the server running, and data as they are.
fn is_harmless(subcommand: &[u8]) -> bool {
    const HARMLESS: [&str; 13] = [
        "help",
        "digest",
        "digest-value",
        "htstats",
        "htstats-key",
        "jmap",
        "listpack",
        "object",
        "quicklist",
        "sdslen",
        "set-active-expire",
        "sleep",
        "stringmatch-len",
    ];
    HARMLESS.iter().any(|name| subcommand.eq_ignore_ascii_case(name.as_bytes()))
}

// === impl Local ===

impl Local {
    /// Whether the answer has facts about the upstream, so that the first clients wait a moment for the
    /// topology.
    pub fn needs_upstream_facts(self) -> bool {
        matches!(
            self,
            Local::ConfigGet | Local::ConfigSet | Local::Hello | Local::Info | Local::NearsideExplain
        )
    }
}
