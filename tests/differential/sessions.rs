//! Conversations that change how a connection goes on: transactions, subscriptions, replies turned off, the
//! end. Some are written down in `sessions.txt`; others are drawn from their requests.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;

use fastrand::Rng;
use nearside::sandbox::{Reply, SandboxClient, client};

use crate::conversation::{Differs, name_of};
use crate::coverage::Coverage;
use crate::differences::MISSING_DATABASE;
use crate::family::Pair;
use crate::generator::would_wait;
use crate::words::{self, split};

const SESSIONS: &str = include_str!("sessions.txt");

/// What ends every conversation: while replies are off, a plain server does not close at QUIT.
const LAST: [&str; 2] = ["CLIENT REPLY ON", "QUIT"];

/// Requests of a drawn conversation.
const REQUESTS: std::ops::RangeInclusive<usize> = 2..=8;

/// Holds all that are written down in both versions, and as many drawn ones as `drawn` says.
pub(crate) fn hold_all(
    pair: &Pair,
    drawn: usize,
    coverage: &RefCell<Coverage>,
    rng: &mut Rng,
) -> Vec<Differs> {
    let mut differing = refused_in_multi(pair);
    let lines: Vec<&str> =
        SESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    for line in &lines {
        let (versions, line): (&[u8], &str) = match line.split_once(':') {
            Some(("2", line)) => (&[2], line),
            Some(("3", line)) => (&[3], line),
            _ => (&[2, 3], line),
        };
        let requests: Vec<&str> = line.split(';').collect();
        if !pair.setting.can_hold(&requests) {
            continue;
        }
        for version in versions {
            differing.extend(hold(pair, *version, &requests, coverage).err());
        }
    }
    // What waits for ever is written down only where it cannot.
    let requests: Vec<&str> = lines
        .iter()
        .flat_map(|line| line.trim_start_matches(['2', '3', ':']).split(';'))
        .filter(|request| !would_wait(&words::typed(request)))
        .collect();
    for _ in 0..drawn {
        let count = rng.usize(REQUESTS);
        let line: Vec<&str> = (0..count).map(|_| requests[rng.usize(..requests.len())]).collect();
        // A plain server breaks off in the reply to EXEC when replies are turned off in a transaction, and it
        // does not close at a QUIT without a reply; Redis and Valkey disagree on the reply to a RESET
        // that is to be skipped.
        let is_mute = line.iter().any(|request| request.starts_with("CLIENT REPLY"));
        if is_mute && line.iter().any(|request| matches!(&*split(request)[0], "MULTI" | "QUIT" | "RESET")) {
            continue;
        }
        // None of these is part of a transaction; CONFIG GET is, but for what only the servers know, and so is,
        // in front of one server, what every primary of a cluster carries out.
        let is_refused = |request: &&str| {
            request.contains("SUBSCRIBE")
                || request.starts_with("CLIENT ")
                || request.starts_with("CONFIG GET")
                || pair.setting.is_cluster() && matches!(*request, "DBSIZE" | "FLUSHALL" | "FLUSHDB")
        };
        if line.iter().any(is_refused) && line.contains(&"MULTI") || !pair.setting.can_hold(&line) {
            continue;
        }
        differing.extend(hold(pair, if rng.bool() { 2 } else { 3 }, &line, coverage).err());
    }
    differing
}

/// Subscriptions and tracking are not part of a transaction: here nearside says so, where a plain server
/// carries them out at EXEC.
fn refused_in_multi(pair: &Pair) -> Vec<Differs> {
    let refused = [
        ("SUBSCRIBE", " a"),
        ("PSUBSCRIBE", " a"),
        ("SSUBSCRIBE", " a"),
        ("UNSUBSCRIBE", ""),
        ("PUNSUBSCRIBE", ""),
        ("SUNSUBSCRIBE", ""),
        ("CLIENT TRACKING", " ON"),
    ];
    let wrong = refused.iter().filter_map(|(name, arguments)| {
        let wanted = format!(
            "+OK\r\n-ERR {name} is not available inside MULTI through nearside: a transaction is carried out by the server \
             of its keys, and this is not about keys alone\r\n-EXECABORT Transaction discarded because of previous errors.\r\n+OK\r\n+OK\r\n"
        );
        let said = talk(pair.nearside(), 2, &["MULTI", &format!("{name}{arguments}"), "EXEC"]).unwrap();
        let said = String::from_utf8_lossy(&said).into_owned();
        (said != wanted).then(|| Differs {
            request: (*name).to_owned(),
            story: format!("in MULTI: {name}\n    wanted:   {wanted:?}\n    nearside: {said:?}"),
        })
    });
    wrong.collect()
}

fn hold(pair: &Pair, version: u8, line: &[&str], coverage: &RefCell<Coverage>) -> Result<(), Differs> {
    let said = [pair.plain(), pair.nearside()]
        .map(|client| talk(client, version, line).unwrap_or_else(|error| format!("({error})").into_bytes()));
    let [plain, nearside] = said;
    let nearside = without_hints(&nearside);
    let is_answered = !plain.starts_with(b"-") && !plain.windows(3).any(|bytes| bytes == b"\r\n-");
    for request in line.iter().map(|request| words::typed(request)) {
        let name = name_of(&request);
        coverage.borrow_mut().count_named(&name, is_answered);
    }
    if plain == nearside || are_alike(&plain, &nearside) {
        return Ok(());
    }
    Err(Differs {
        request: split(line[0]).join(" "),
        story: format!(
            "RESP{version}: {}\n    plain:    {}\n    nearside: {}",
            line.join("; "),
            plain.escape_ascii(),
            nearside.escape_ascii()
        ),
    })
}

/// What nearside said, without what it adds to the error for a database that a cluster does not have.
pub(crate) fn without_hints(said: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::new(), said);
    let hinted = MISSING_DATABASE.as_bytes();
    let plain = "-ERR DB index is out of range".len();
    while let Some(at) = rest.windows(hinted.len()).position(|bytes| bytes == hinted) {
        kept.extend_from_slice(&rest[..at + plain]);
        let end = rest[at..].iter().position(|byte| *byte == b')').unwrap();
        rest = &rest[at + end + 1..];
    }
    kept.extend_from_slice(rest);
    kept
}

/// All that comes back until the connection ends.
fn talk(mut client: SandboxClient, version: u8, line: &[&str]) -> io::Result<Vec<u8>> {
    if version == 3 {
        client.hello(3)?;
    }
    let requests = line.iter().copied().chain(LAST).map(|request| client::encode(&split(request)));
    client.send_raw(&requests.collect::<Vec<_>>().concat())?;
    client.receive_rest()
}

/// Whether the two said the same, but for what COMPATIBILITY.md allows: invalidations come when they come,
/// and more may be told than by one server, never less.
fn are_alike(plain: &[u8], nearside: &[u8]) -> bool {
    let (Some(plain), Some(nearside)) = (in_order(plain), in_order(nearside)) else { return false };
    let is_told = |stale: &String| nearside.1.contains(stale) || nearside.1.contains(EVERYTHING);
    plain.0 == nearside.0 && plain.1.iter().all(is_told)
}

/// What stands for all keys among those that are told to be stale.
const EVERYTHING: &str = "everything";

/// What was said, and the keys that were told to be stale. What has no order is put into one: UNSUBSCRIBE
/// without names goes through the channels as they lie in a hash table, so they are sorted.
fn in_order(said: &[u8]) -> Option<(Vec<String>, BTreeSet<String>)> {
    let (mut replies, mut stale): (Vec<String>, BTreeSet<String>) = Default::default();
    let (mut left, mut counts): (Vec<String>, Vec<String>) = Default::default();
    let mut rest = said;
    while !rest.is_empty() {
        let reply = Reply::read(&mut rest).ok()?;
        match reply.items() {
            [kind, keys] if kind.text() == "invalidate" => match keys.items() {
                [] => drop(stale.insert(EVERYTHING.to_owned())),
                keys => stale.extend(keys.iter().map(|key| format!("{key:?}"))),
            },
            [kind, channel, count] if kind.text().ends_with("unsubscribe") => {
                left.push(format!("{kind:?} {channel:?}"));
                counts.push(format!("{count:?}"));
            }
            _ => {
                left.sort();
                replies.extend(left.drain(..).chain(counts.drain(..)));
                replies.push(format!("{reply:?}"));
            }
        }
    }
    left.sort();
    Some(([replies, left, counts].concat(), stale))
}

#[cfg(test)]
mod tests {
    use super::{are_alike, in_order};

    #[test]
    fn only_what_has_no_order_is_put_into_one() {
        let push =
            |kind: &str, channel: &str, count: u8| format!(">3\r\n+{kind}\r\n+{channel}\r\n:{count}\r\n");
        let ab = push("unsubscribe", "a", 1) + &push("unsubscribe", "b", 0);
        let ba = push("unsubscribe", "b", 1) + &push("unsubscribe", "a", 0);
        assert_eq!(in_order(ab.as_bytes()), in_order(ba.as_bytes()));
        let stale = ">2\r\n+invalidate\r\n*1\r\n+a\r\n";
        let early = format!("+OK\r\n{stale}+PONG\r\n");
        let late = format!("+OK\r\n+PONG\r\n{stale}");
        assert_eq!(in_order(early.as_bytes()), in_order(late.as_bytes()));
        let untold = b"+OK\r\n+PONG\r\n";
        assert!(are_alike(untold, late.as_bytes()) && !are_alike(late.as_bytes(), untold));
        let all_told = b"+OK\r\n>2\r\n+invalidate\r\n_\r\n+PONG\r\n";
        assert!(are_alike(late.as_bytes(), all_told) && !are_alike(all_told, late.as_bytes()));
        assert_ne!(in_order(b"+OK\r\n+PONG\r\n"), in_order(b"+PONG\r\n+OK\r\n"));
        let subscribed = push("subscribe", "a", 1) + &push("subscribe", "b", 2);
        let otherwise = push("subscribe", "b", 1) + &push("subscribe", "a", 2);
        assert_ne!(in_order(subscribed.as_bytes()), in_order(otherwise.as_bytes()));
    }
}
