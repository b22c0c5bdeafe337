//! COMPATIBILITY.md, docs/differences.md and docs/errors.md agree with the command table, with what the
//! differential suite allows and with the errors of the code.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use nearside::node::NodeId;
use nearside::protocol::command::{
    Class, Database, Flags, Gather, InCluster, Join, Keys, Keyspace, Local, RequiredState, ScriptAction,
    Spec, all,
};
use nearside::protocol::key::Slot;
use nearside::protocol::resp::frame::FrameError;
use nearside::upstream::{Excess, UpstreamError};

#[path = "differential/differences.rs"]
mod differences;
#[path = "support/generated.rs"]
mod generated;
mod reported;

use differences::{Difference, EVERYWHERE, How, IN_CLUSTER, IN_NAMESPACE};

/// What a reader wants to know of a command.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Cached,
    Read,
    Write,
    Script,
    Waits,
    FanOut,
    EveryPrimary,
    AnyNode,
    OfServer,
    PubSub,
    Local,
    Session,
    Refused,
}

/// How each kind compares with one Redis, and what nearside does with it.
const WORDS: [(Kind, &str, &str); 13] = [
    (Kind::Cached, "identical", "answered from memory if possible"),
    (Kind::Read, "identical", "read from the owner of the key"),
    (Kind::Write, "identical", "executed by the owner of the key"),
    (
        Kind::Script,
        "identical",
        "executed by the owner of the key; the reply waits until its invalidations have arrived",
    ),
    (Kind::Waits, "identical", "executed on a dedicated connection"),
    (Kind::FanOut, "emulated", "split by slot in front of a cluster"),
    (Kind::EveryPrimary, "emulated", "sent to the primaries"),
    (Kind::AnyNode, "emulated", "answered by one of the nodes, for itself"),
    (Kind::OfServer, "identical", "executed by the one server"),
    (Kind::PubSub, "emulated", "one subscription upstream for all clients"),
    (Kind::Local, "emulated", "answered by nearside"),
    (Kind::Session, "emulated", "transaction"),
    (Kind::Refused, "refused", ""),
];

/// The kind, and a word that tells the commands of a kind apart where that matters.
fn kind(spec: &Spec) -> (Kind, String) {
    let plain = |kind| (kind, String::new());
    match spec.class {
        Class::CacheableRead => plain(Kind::Cached),
        Class::Forward if spec.flags.has(Flags::READ) => plain(Kind::Read),
        Class::Forward => plain(Kind::Write),
        Class::Script(script) => kind_of_script(script, spec),
        Class::Keyspace(keyspace) => (Kind::EveryPrimary, walked(keyspace).to_owned()),
        Class::Database(Database::Copy) => plain(Kind::Write),
        Class::Database(Database::Move | Database::Swap) => {
            (Kind::OfServer, "in front of a cluster answered by nearside".to_owned())
        }
        Class::Local(Local::Select) => {
            (Kind::Local, "one server is asked whether it has the database".to_owned())
        }
        Class::FanOut(join) => (Kind::FanOut, joined(join).to_owned()),
        Class::EveryPrimary(gather) => (Kind::EveryPrimary, gathered(gather).to_owned()),
        Class::AnyNode | Class::AboutCommands(_) => plain(Kind::AnyNode),
        Class::Local(_) | Class::Session(RequiredState::Reset | RequiredState::Tracking(_)) => {
            plain(Kind::Local)
        }
        Class::Session(session @ (RequiredState::Blocking | RequiredState::Wait)) => {
            (Kind::Waits, needed(session).to_owned())
        }
        Class::Session(session @ RequiredState::Transaction(_)) => {
            (Kind::Session, needed(session).to_owned())
        }
        Class::Publish
        | Class::Session(
            RequiredState::PubSub(_) | RequiredState::Subscribe(_) | RequiredState::Unsubscribe(_),
        ) => plain(Kind::PubSub),
        Class::Session(RequiredState::Monitor) => plain(Kind::Local),
        Class::OfServer(in_cluster) => {
            let cluster = match in_cluster {
                InCluster::Local(_) => "in front of a cluster answered by nearside",
                InCluster::Refused(_) => "refused in front of a cluster",
            };
            (Kind::OfServer, cluster.to_owned())
        }
        Class::Refused(refusal) => {
            let text = String::from_utf8(refusal.reply(spec).to_vec()).unwrap();
            let why = text.trim_end().trim_start_matches("-ERR ");
            let why = why.split_once("through nearside: ").map_or(why, |(_, why)| why);
            (Kind::Refused, why.to_owned())
        }
    }
}

fn joined(join: Join) -> &'static str {
    match join {
        Join::Mget => "one element a key, in order",
        Join::Mset => "OK once every part says so",
        Join::Sum | Join::SumOfReads => "the sum",
    }
}

fn gathered(gather: Gather) -> &'static str {
    match gather {
        Gather::AllOk => "the reply that all give, or an error that says who gave which",
        Gather::AnyOk => "OK if any gives it",
        Gather::First => "the first reply; all are the same",
        Gather::Sum => "the sum",
        Gather::Running => "the reply of the primary that runs something, else any",
    }
}

fn kind_of_script(script: ScriptAction, spec: &Spec) -> (Kind, String) {
    let every = |what: &str| (Kind::EveryPrimary, what.to_owned());
    match script {
        ScriptAction::Eval | ScriptAction::EvalSha | ScriptAction::Function
            if spec.flags.has(Flags::READ) =>
        {
            (Kind::Read, String::new())
        }
        ScriptAction::Eval | ScriptAction::EvalSha | ScriptAction::Function => (Kind::Script, String::new()),
        ScriptAction::Load => every("the reply of any; the others get the script when they need it"),
        ScriptAction::Exists => every("1 where EVALSHA finds the script on every primary"),
        ScriptAction::Flush => every(gathered(Gather::AllOk)),
    }
}

fn walked(keyspace: Keyspace) -> &'static str {
    match keyspace {
        Keyspace::Scan => "a page of a walk over one after the other",
        Keyspace::Keys => "all keys of such a walk, in no order",
        Keyspace::RandomKey => "a key of one, the likelier the more keys it has",
        Keyspace::Count => gathered(Gather::Sum),
        Keyspace::Flush => gathered(Gather::AllOk),
    }
}

fn needed(session: RequiredState) -> &'static str {
    match session {
        RequiredState::Blocking => "waits on the server",
        RequiredState::Monitor => "follows every command",
        RequiredState::PubSub(_) | RequiredState::Subscribe(_) | RequiredState::Unsubscribe(_) => {
            "subscriptions"
        }
        RequiredState::Reset => "ends all state of the connection",
        RequiredState::Tracking(_) => "the client's own client-side caching",
        RequiredState::Transaction(_) => "queued by nearside, carried out by one node in one piece",
        RequiredState::Wait => "waits for replicas",
    }
}

/// How a command compares with one Redis in front of one server, in front of a cluster, in a namespace of a
/// cluster, and in a pinned one.
fn settings(spec: &Spec) -> [&'static str; 4] {
    let (kind, _) = kind(spec);
    let (_, in_cluster, _) = WORDS.into_iter().find(|(other, ..)| *other == kind).unwrap();
    let on_one_server = match spec.class {
        Class::FanOut(_)
        | Class::EveryPrimary(_)
        | Class::Keyspace(_)
        | Class::AnyNode
        | Class::AboutCommands(_)
        | Class::Database(_)
        | Class::OfServer(_) => "identical",
        _ => in_cluster,
    };
    let in_cluster = match spec.class {
        Class::OfServer(InCluster::Refused(_)) => "refused",
        Class::OfServer(InCluster::Local(_)) | Class::Keyspace(_) | Class::Database(_) => "emulated",
        _ if takes_several_keys(spec) => "one slot",
        _ => in_cluster,
    };
    let in_namespace = match in_cluster {
        "refused" => "refused",
        _ if spec.flags.has(Flags::SHARED) => "refused",
        _ if matches!(spec.class, Class::Script(_)) => "emulated",
        word => word,
    };
    let pinned = match in_namespace {
        "one slot" => "identical",
        word => word,
    };
    [on_one_server, in_cluster, in_namespace, pinned]
}

/// Whether a request may name several keys that one node has to have.
fn takes_several_keys(spec: &Spec) -> bool {
    let is_split = matches!(spec.class, Class::FanOut(_) | Class::Session(RequiredState::Subscribe(_)));
    let has_one = matches!(spec.keys, Keys::None | Keys::Movable)
        || matches!(spec.keys, Keys::Range { first, last, .. } if first as isize == last);
    let is_unsubscribed = matches!(spec.class, Class::Session(RequiredState::Unsubscribe(_)));
    !has_one && !is_split && !is_unsubscribed && !matches!(spec.class, Class::Refused(_))
}

/// Every row that a request can be recognised as: subcommands by their full names, and their container only
/// if it is a command by itself.
fn rows() -> impl Iterator<Item = &'static Spec> {
    all().flat_map(|spec| {
        let alone = spec.subcommands.is_empty() || spec.arity.unsigned_abs() == 1;
        alone.then_some(spec).into_iter().chain(spec.subcommands)
    })
}

fn spelled(spec: &Spec) -> String {
    format!("`{}`", spec.name.to_ascii_uppercase().replace('|', " "))
}

/// What may differ in the replies of a command, without those differences that any command may have.
fn differences_of(spec: &Spec) -> String {
    let of_it = [EVERYWHERE, IN_CLUSTER].concat();
    let of_it = of_it.iter().filter(|difference| difference.commands.contains(&spec.name));
    let mut words: Vec<String> = of_it.map(what_differs).collect();
    words.dedup();
    words.join("; ")
}

#[test]
fn the_page_has_a_row_for_every_command_with_what_the_table_says_of_it() {
    let mut lines = BTreeMap::new();
    for spec in rows() {
        let (kind, detail) = kind(spec);
        let (_, _, does) = WORDS.into_iter().find(|(other, ..)| *other == kind).unwrap();
        let mut what =
            [does, &detail].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        // Only when it is told to wait does it need a connection of its own.
        if spec.keys == Keys::Streams && spec.flags.has(Flags::BLOCKING) {
            what.push_str("; with `BLOCK` on a dedicated connection");
        }
        let [server, cluster, namespace, pinned] = settings(spec);
        let (name, differs) = (spelled(spec), differences_of(spec));
        let line =
            format!("| {name} | {server} | {cluster} | {namespace} | {pinned} | {what} | {differs} |\n");
        assert!(lines.insert(spec.name, line).is_none(), "{} has two rows", spec.name);
    }
    assert!(lines.len() > 350, "only {} commands", lines.len());
    let mut page =
        "| command | one server | cluster | namespace | pinned | what nearside does | what may differ |\n\
                    |---|---|---|---|---|---|---|\n"
            .to_owned();
    page.extend(lines.into_values());
    generated::keep("COMPATIBILITY.md", "commands", &page);
}

/// One of each, with what an operator would read there.
fn failures() -> [(UpstreamError, &'static str); 19] {
    let node = || NodeId::new("10.0.0.1:6379");
    let cause = || "Connection refused (os error 111)".to_owned();
    let slot = Slot::of(b"foo");
    [
        (
            UpstreamError::NoTopology { cause: format!("10.0.0.1:6379: {}", cause()) },
            "no node of the upstream was reached yet",
        ),
        (UpstreamError::NoOwner { slot }, "no node owns the slot"),
        (
            UpstreamError::Unreachable { node: node(), cause: cause() },
            "the node is down; it is tried again and again",
        ),
        (
            UpstreamError::Unreachable {
                node: node(),
                cause: "it is an HTTP server and no Redis: look at the port in upstream, or at address_map".to_owned(),
            },
            "another service answers there; an SSH server, a port that wants TLS and others that speak no RESP are told in \
             the same way, and who hangs up on HELLO is said to do that",
        ),
        (
            UpstreamError::Unreachable {
                node: node(),
                cause: "it is a node of a cluster: the upstream must be redis-cluster://10.0.0.1:6379"
                    .to_owned(),
            },
            "the upstream is said to be one server; over a Unix socket, HOST:PORT stands for the address of any node",
        ),
        (
            UpstreamError::Unreachable {
                node: node(),
                cause: "it is no node of a cluster and no Sentinel (mode standalone), and a node of the cluster is expected there; \
                        redis://HOST:PORT is the form for one server that is no cluster"
                    .to_owned(),
            },
            "another kind of server has the address of a node, or of the primary that Sentinels tell of; `it is a Sentinel` and \
             `it is a node of a cluster` are said in the same way",
        ),
        (
            UpstreamError::Unreachable {
                node: node(),
                cause: "it does not say which node of the cluster it is: LOADING Redis is loading the dataset in memory"
                    .to_owned(),
            },
            "it may be another one than is meant; it is asked again",
        ),
        (
            UpstreamError::Unreachable {
                node: NodeId::new("127.0.0.1:6379"),
                cause: "it is this nearside itself: the upstream, or a node that it names, is at an address that listen or \
                        unix has; let nearside listen elsewhere, or correct upstream or address_map"
                    .to_owned(),
            },
            "what goes there would come round for ever; `it is a nearside whose upstream leads back to this one` is said of a \
             circle",
        ),
        (
            UpstreamError::Lost { node: node(), cause: "closed by the node".to_owned() },
            "the connection broke while the command was on its way",
        ),
        (
            UpstreamError::Lost { node: node(), cause: FrameError::TooLong.to_string() },
            "the reply is longer than nearside takes; ask for it in parts, or raise the bound",
        ),
        (
            UpstreamError::Lost {
                node: node(),
                cause: "it answered EXEC with something that is no reply to the transaction".to_owned(),
            },
            "anything but as many replies as commands were queued; its connection is closed",
        ),
        (
            UpstreamError::TimedOut { node: node(), after: Duration::from_secs(5) },
            "the node is silent; its connection is closed",
        ),
        (
            UpstreamError::Slow { node: node(), bound: "upstream_rate_min" },
            "less of it came in `upstream_request_timeout` than that rate asks for, or (`upstream_request_time_max`) it took \
             too long in all; its connection is closed. Raise or lower the bound that is named where a link is so slow",
        ),
        (
            UpstreamError::Overloaded { node: node(), bound: "upstream_in_flight_max" },
            "the node answers more slowly than it is asked",
        ),
        (
            UpstreamError::NoDedicated { bound: "upstream_dedicated_max" },
            "it blocks, WATCHes or WAITs, and so do as many other clients as may",
        ),
        (
            UpstreamError::TooLong { node: node(), excess: Excess::example() },
            "the node would hang up on it, and on what others have on the same connection: its settings say so",
        ),
        (
            UpstreamError::TooLarge { node: node(), excess: Excess::example_of_a_transaction() },
            "the same, of the commands of a transaction together",
        ),
        (
            UpstreamError::TooManyRedirects { slot, redirects_max: 5 },
            "the cluster is being changed, or its nodes disagree",
        ),
        (UpstreamError::Stopped, "`drain_timeout` was over before the reply came"),
    ]
}

#[test]
fn the_page_gives_the_errors_as_they_are() {
    let mut table = "| error | why |\n|---|---|\n".to_owned();
    for (failure, why) in failures() {
        table.push_str(&format!("| `{failure}` | {why} |\n"));
    }
    generated::keep("docs/errors.md", "errors", &table);
}

/// What may differ, in words.
fn what_differs(difference: &Difference) -> String {
    let quoted = |text: &str| format!("`{}`", text.trim_start_matches('-').trim_end().replace("\r\n", " "));
    match &difference.how {
        How::Order => "the order".to_owned(),
        How::Near(i64::MAX) => "the number".to_owned(),
        How::Near(most) => format!("numbers, by up to {most}"),
        How::Moment(most) => format!("moments, by up to {most}"),
        How::Choice => "what is chosen, not how much".to_owned(),
        How::Fields(names) => format!("the fields `{}`", names.join("`, `")),
        How::Answer => "the reply".to_owned(),
        How::Instead("", nearside) => format!("nearside says {}", quoted(nearside)),
        How::Instead(plain, "") => format!("Redis or Valkey says {}", quoted(plain)),
        How::Instead(plain, nearside) => {
            format!("Redis or Valkey says {}, nearside says {}", quoted(plain), quoted(nearside))
        }
    }
}

#[test]
fn the_page_gives_the_differences_that_the_differential_suite_allows() {
    let mut table = "| command | what may differ | why |\n|---|---|---|\n".to_owned();
    let in_cluster = IN_CLUSTER.iter().map(|difference| ("in front of a cluster: ", difference));
    let only_there = IN_NAMESPACE.iter().filter(|difference| !IN_CLUSTER.contains(difference));
    let in_namespace = only_there.map(|difference| ("in a namespace: ", difference));
    let everywhere = EVERYWHERE.iter().map(|difference| ("", difference));
    for (place, difference) in everywhere.chain(in_cluster).chain(in_namespace) {
        let names: Vec<String> = difference
            .commands
            .iter()
            .map(|name| format!("`{}`", name.to_ascii_uppercase().replace('|', " ")))
            .collect();
        let names = if names.is_empty() { "any".to_owned() } else { names.join(", ") };
        table.push_str(&format!("| {names} | {} | {place}{} |\n", what_differs(difference), difference.why));
    }
    generated::keep("docs/differences.md", "differences", &table);
}
