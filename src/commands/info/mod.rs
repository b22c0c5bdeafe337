//! INFO: what a client of one standalone Redis expects to read, and how the daemon is doing.
//!
//! Must never know: how a counter is counted. Primaries are asked for the two sections about data. Begin with
//! `sections.rs` (the fields).

mod primaries;
mod process;
mod sections;

use bytes::Bytes;

use crate::commands::client_state::ClientState;
use crate::commands::context::{ExecContext, SessionContext};
use crate::namespace::DATABASES;
use crate::protocol::resp::Resp;
use crate::protocol::resp::reply::text;
use crate::protocol::resp::request::Request;
use crate::router::Answer;
use primaries::Primaries;
use sections::SectionFacts;

/// A section: its name, whether it is shown unasked, and what writes it.
type Section = (&'static str, bool, fn(&SectionFacts, &mut String) -> std::fmt::Result);

/// In the order of Redis.
const SECTIONS: [Section; 14] = [
    ("server", true, sections::server),
    ("clients", true, sections::clients),
    ("memory", true, sections::memory),
    ("persistence", true, sections::persistence),
    ("stats", true, sections::stats),
    ("replication", true, sections::replication),
    ("cpu", true, sections::cpu),
    ("modules", true, sections::modules),
    ("commandstats", false, sections::command_stats),
    ("errorstats", true, sections::error_stats),
    ("latencystats", false, sections::latency_stats),
    ("cluster", true, sections::cluster),
    ("keyspace", true, sections::keyspace),
    ("nearside", true, sections::nearside),
];

/// INFO with any number of section names; a section that does not exist is empty, as in Redis.
///
/// Two sections are about the data: the primaries are asked for them. Inside MULTI there is no time for that.
///
/// A client in a namespace sees its own databases, for which all names are walked over: only if it asks for
/// that section by name.
pub(super) fn answer(
    request: &Request<'_>,
    client: &ClientState,
    context: &SessionContext,
    exec: ExecContext,
) -> Answer {
    let resp = client.resp();
    let asked: Vec<String> =
        request.args().skip(1).map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let has = |name: &str| asked.iter().any(|asked| asked == name);
    let (default, all) = (asked.is_empty() || has("default"), has("all") || has("everything"));
    let shown = |section: &&Section| all || has(section.0) || (default && section.1);
    let scope = client.scope.as_deref();
    let is_of_others = |section: &&Section| scope.is_some() && section.0 == "keyspace" && !has(section.0);
    let wanted: Vec<&'static Section> =
        SECTIONS.iter().filter(shown).filter(|section| !is_of_others(section)).collect();
    let about_data = wanted.iter().any(|section| matches!(section.0, "memory" | "keyspace"));
    let mut facts = SectionFacts {
        report: context.report.clone(),
        server: context.server.clone(),
        clients: context.clients.clone(),
        primaries: Primaries::default(),
        namespace: scope.map(|scope| scope.namespace().clone()),
    };
    if !about_data || exec == ExecContext::AtOnce {
        return Answer::Now(written(&wanted, &facts, resp));
    }
    let primaries = primaries::ask(&context.router);
    let counted = scope
        .filter(|_| has("keyspace"))
        .map(|scope| context.router.namespace_keys.count_databases(scope, client.inflight.database()));
    let numbers: Vec<u32> =
        scope.iter().flat_map(|scope| (0..DATABASES).map(|number| scope.shown_number(number))).collect();
    Answer::Later(Box::pin(async move {
        facts.primaries = primaries.await;
        if let Some(counted) = counted {
            match counted.await {
                Ok(keys) => facts.primaries.keyspace = Some(primaries::lines(numbers.into_iter().zip(keys))),
                Err(error) => return error,
            }
        }
        written(&wanted, &facts, resp)
    }))
}

fn written(sections: &[&Section], facts: &SectionFacts, resp: Resp) -> Bytes {
    let mut out = String::new();
    for (_, _, write) in sections {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        // Writing to a String cannot fail.
        let _ = write(facts, &mut out);
    }
    text(out, resp)
}
