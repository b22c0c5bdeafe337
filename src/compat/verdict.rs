//! What nearside makes of a command, by the class that the command table has for it.

use serde::Serialize;

use crate::config::CompatUpstream;
use crate::protocol::command::{
    Class, Gather, InCluster, Join, Keyspace, Local, RequiredState, ScriptAction, Spec, TransactionCommand,
};

/// What nearside makes of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "how")]
pub(super) enum CommandVerdict {
    /// Answered from memory where possible, with the bytes of the server.
    Cacheable,
    /// Carried out by the server, with its bytes.
    Identical,
    /// Carried out or answered in another way; the text says how.
    Different(&'static str),
    /// Refused; the text says why.
    Refused(String),
    /// Not in the command table: the server is asked what it is. Nothing of it is kept in memory.
    Unknown,
}

// === impl CommandVerdict ===

impl CommandVerdict {
    /// The verdict on the command of a row, in front of `upstream`.
    pub(super) fn of(spec: &Spec, upstream: CompatUpstream) -> CommandVerdict {
        let in_cluster = upstream == CompatUpstream::Cluster;
        let different_in_cluster =
            |how| if in_cluster { CommandVerdict::Different(how) } else { CommandVerdict::Identical };
        match spec.class {
            Class::CacheableRead => CommandVerdict::Cacheable,
            Class::FanOut(Join::Mget | Join::SumOfReads) if !in_cluster => CommandVerdict::Cacheable,
            Class::FanOut(Join::Mget) => CommandVerdict::Different(
                "answered from memory where possible; split by slot, so it is no snapshot of all keys",
            ),
            Class::FanOut(_) => different_in_cluster("split by slot: atomic for each slot, not as a whole"),
            Class::Forward
            | Class::Publish
            | Class::Script(ScriptAction::Eval | ScriptAction::EvalSha | ScriptAction::Function) => {
                CommandVerdict::Identical
            }
            Class::Script(ScriptAction::Load | ScriptAction::Exists | ScriptAction::Flush) => {
                CommandVerdict::Identical
            }
            Class::EveryPrimary(Gather::Running) | Class::AnyNode | Class::AboutCommands(_) => {
                different_in_cluster("answered by one of the nodes")
            }
            Class::EveryPrimary(_) | Class::Keyspace(Keyspace::Count | Keyspace::Flush) => {
                different_in_cluster("sent to every primary, one after the other or side by side")
            }
            Class::Keyspace(Keyspace::Scan | Keyspace::Keys) => {
                different_in_cluster("walks over all primaries; cursors are those of nearside")
            }
            Class::Keyspace(Keyspace::RandomKey) => different_in_cluster("a key of one of the primaries"),
            Class::Database(_) => different_in_cluster("a cluster has database 0 alone"),
            Class::Local(local) => of_local(local, different_in_cluster),
            Class::Session(RequiredState::Monitor) => {
                CommandVerdict::Different("shows what clients send to this nearside")
            }
            Class::Session(RequiredState::Tracking(_)) => {
                CommandVerdict::Different("nearside itself tells its clients which keys changed")
            }
            Class::Session(_) => CommandVerdict::Identical,
            Class::OfServer(_) if !in_cluster => CommandVerdict::Identical,
            Class::OfServer(InCluster::Local(local)) => of_local(local, different_in_cluster),
            Class::OfServer(InCluster::Refused(refusal)) | Class::Refused(refusal) => {
                let reply = refusal.reply(spec);
                let text = String::from_utf8_lossy(&reply);
                CommandVerdict::Refused(text.trim_end().trim_start_matches("-ERR ").to_owned())
            }
        }
    }

    /// Whether an application would notice.
    pub(super) fn is_noticed(&self) -> bool {
        matches!(self, CommandVerdict::Different(_) | CommandVerdict::Refused(_))
    }
}

fn of_local(local: Local, different_in_cluster: impl Fn(&'static str) -> CommandVerdict) -> CommandVerdict {
    match local {
        Local::Select => different_in_cluster("a cluster has database 0 alone"),
        Local::Auth
        | Local::ClientGetName
        | Local::ClientId
        | Local::ClientReply
        | Local::ClientSetInfo
        | Local::ClientSetName
        | Local::Echo
        | Local::Hello
        | Local::Ping
        | Local::Quit => CommandVerdict::Identical,
        _ => CommandVerdict::Different("answered by nearside, about itself and its clients"),
    }
}

/// Whether a row opens or ends a transaction.
pub(super) fn transaction(spec: &Spec) -> Option<TransactionCommand> {
    match spec.class {
        Class::Session(RequiredState::Transaction(command)) => Some(command),
        _ => None,
    }
}

/// Whether a row runs a script or a function.
pub(super) fn runs_script(spec: &Spec) -> bool {
    matches!(spec.class, Class::Script(ScriptAction::Eval | ScriptAction::EvalSha | ScriptAction::Function))
}

/// Whether keys of several slots in one request of a row are split by nearside.
pub(super) fn is_split(spec: &Spec) -> bool {
    matches!(spec.class, Class::FanOut(_))
}
