//! Whole walks with a cursor: SCAN over all keys, and over what a large key holds. Steps may differ, what is
//! found may not.

use std::collections::BTreeSet;

use nearside::sandbox::{Reply, SandboxClient};

use crate::conversation::Differs;
use crate::family::Pair;
use crate::words::split;
use crate::world;

/// The cursor stands where `CURSOR` does.
const WALKS: &[&str] = &[
    "SCAN CURSOR",
    "SCAN CURSOR COUNT 3",
    "SCAN CURSOR COUNT 1000",
    "SCAN CURSOR MATCH {c}* COUNT 50",
    "SCAN CURSOR MATCH c-1*",
    "SCAN CURSOR TYPE hash",
    "SCAN CURSOR TYPE string COUNT 20",
    "SCAN CURSOR TYPE nonsense",
    "SSCAN {c}set CURSOR",
    "SSCAN {c}set CURSOR COUNT 7",
    "SSCAN {c}set CURSOR MATCH 1*",
    "SSCAN {c}none CURSOR",
    "HSCAN {c}hash CURSOR",
    "HSCAN {c}hash CURSOR COUNT 100 MATCH *5",
    "ZSCAN {c}zset CURSOR",
    "ZSCAN {c}zset CURSOR COUNT 11",
];

/// Steps after which a walk is taken to have no end.
const STEPS_MAX: usize = 10_000;

pub(crate) fn compare(pair: &Pair) -> Vec<Differs> {
    let (mut plain, mut nearside) = (pair.plain(), pair.nearside());
    for client in [&mut plain, &mut nearside] {
        client.command(&["FLUSHALL"]).unwrap();
        for request in world::setup("c", true) {
            client.command(&request).unwrap();
        }
        for number in 0..300 {
            client.command(&["SET", &format!("c-{number}"), "v"]).unwrap();
        }
    }
    let mut differing = Vec::new();
    for version in [2, 3] {
        plain.hello(version).unwrap();
        nearside.hello(version).unwrap();
        for line in WALKS {
            let (expected, found) = (walk(&mut plain, line), walk(&mut nearside, line));
            if expected != found {
                let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
                    one.difference(other).take(10).cloned().collect::<Vec<_>>().join(" ")
                };
                differing.push(Differs {
                    request: (*line).to_owned(),
                    story: format!(
                        "RESP{version}: {line}\n    only plain:    {}\n    only nearside: {}",
                        only(&expected, &found),
                        only(&found, &expected)
                    ),
                });
            }
        }
    }
    for client in [&mut plain, &mut nearside] {
        client.command(&["FLUSHALL"]).unwrap();
    }
    differing
}

/// All that a walk finds: keys, members, or pairs. An error is what is found, too.
fn walk(client: &mut SandboxClient, line: &str) -> BTreeSet<String> {
    let is_paired = line.starts_with('H') || line.starts_with('Z');
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    for _ in 0..STEPS_MAX {
        let words: Vec<String> = split(line)
            .into_iter()
            .map(|word| if word == "CURSOR" { cursor.clone() } else { word })
            .collect();
        let reply = client.command(&words).unwrap();
        let [next, Reply::Array(items)] = reply.items() else {
            found.insert(format!("{reply:?}"));
            return found;
        };
        found.extend(items.chunks(if is_paired { 2 } else { 1 }).map(|item| format!("{item:?}")));
        cursor = next.text();
        if cursor == "0" {
            return found;
        }
    }
    found.insert("no end".to_owned());
    found
}
