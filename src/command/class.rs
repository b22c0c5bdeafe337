//! What the daemon does with a command: the vocabulary of the table's `class` column.

use super::Refusal;

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A read of one key whose reply depends on that key's value alone, so L1 may answer it.
    CacheableRead,
    /// Goes to the node that owns its keys, which all lie in one slot. Read or write: see the flags.
    Forward,
    /// A script that may touch keys it does not name; goes where its named keys lie, or anywhere if it names
    /// none.
    Opaque,
    /// Is split by slot, and the partial replies are joined.
    FanOut(Join),
    /// Goes to every primary, and the replies become one.
    EveryPrimary(Gather),
    /// Has no key: any node can answer.
    AnyNode,
    /// Is answered by the daemon itself.
    Local(Local),
    /// Needs state that outlives the request, so a multiplexed connection cannot carry it.
    Session(Session),
    /// Makes no sense behind this daemon.
    Refused(Refusal),
}

/// How the replies to the parts of a split request become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// One element a key, in the order of the keys.
    Mget,
    /// `OK` once every part says so.
    Mset,
    /// The sum of integers.
    Sum,
}

/// How the replies of all primaries become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// The one reply that all give, or the first error.
    AllOk,
    /// `OK` if any gives it, else the first error: only one node runs the script that is to be stopped.
    AnyOk,
    /// The first node's reply; the others say the same. The first error, if there is one.
    First,
    /// Any of the replies that is not null.
    Any,
    /// The sum of integers.
    Sum,
    /// All elements of all arrays.
    Concat,
    /// Arrays of 0 and 1 of one length: 1 where every node has 1.
    AllBits,
}

/// What the daemon answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its command")]
pub enum Local {
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
    ClientReply,
    ClientSetInfo,
    ClientSetName,
    ClientUnblock,
    Echo,
    Hello,
    Info,
    Ping,
    Quit,
    Reset,
    Role,
    Select,
    SlowlogGet,
    SlowlogLen,
    SlowlogReset,
}

/// Which state a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Waits on the server until there is something to answer.
    Blocking,
    /// Follows every command of a server.
    Monitor,
    /// Subscribes, or asks about subscriptions.
    PubSub,
    /// A cursor that has to walk all primaries.
    Scan,
    /// The client's own client-side caching.
    Tracking,
    /// MULTI, WATCH and what belongs to them.
    Transaction,
    /// Waits for the replicas of what this connection wrote.
    Wait,
}

// === impl Session ===

impl Session {
    /// The word for logs, metrics and error texts.
    pub fn name(self) -> &'static str {
        match self {
            Session::Blocking => "blocking",
            Session::Monitor => "monitor",
            Session::PubSub => "pubsub",
            Session::Scan => "scan",
            Session::Tracking => "tracking",
            Session::Transaction => "transaction",
            Session::Wait => "wait",
        }
    }
}
