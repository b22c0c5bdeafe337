//! The differential suite: every command of the table, with generated arguments, asked of a plain server and
//! of nearside in front of servers of the same program, in RESP2 and RESP3. Every byte of every reply must
//! be the same, but for what `differences.rs` names. `settings.rs` has the settings in which this is done.
//!
//! NEARSIDE_TEST_LARGE=1 asks much more, and something else each time: it prints its seed, and
//! NEARSIDE_TEST_SEED runs it again with that one. The small run always asks the same, so that a change fails
//! only by what it changed. NEARSIDE_TEST_SETTING names the one setting that is tried.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in what tests share as well")]
#![expect(clippy::print_stdout, reason = "the seed of a failed run is shown where cargo shows it")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "not all of what tests share is needed here")]
mod support;

mod conversation;
mod coverage;
mod cursors;
mod differences;
mod events;
mod family;
mod generator;
mod likeness;
mod mutation;
mod sessions;
mod settings;
mod shape;
mod transactions;
mod words;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::thread;

use fastrand::Rng;
use nearside::protocol::command::{Class, InCluster, Spec};

use conversation::{Conversation, Differs};
use coverage::{Coverage, rows};
use differences::Difference;
use family::{Family, Pair};
use generator::Generator;
use settings::{SETTINGS, Setting};

/// How much is asked.
#[derive(Clone, Copy)]
struct Size {
    /// Requests of each row in each version of the protocol.
    turns: usize,
}

/// Requests of one conversation.
const REQUESTS: usize = 24;
/// Every so many conversations one has large keys.
const LARGE_EVERY: usize = 4;
/// Settings that are tried at the same time.
const SETTINGS_TOGETHER: usize = 2;
/// Differences after which a run gives up.
const DIFFERENCES_MAX: usize = 200;

// === impl Size ===

impl Size {
    fn turns_of(self, row: &Spec) -> usize {
        // It computes for seconds, and takes no arguments.
        if row.name == "pfselftest" { 1 } else { self.turns }
    }

    /// How often `row` must have been asked. A changed word may have made another command of a request.
    fn least_of(self, row: &Spec) -> usize {
        if row.name == "monitor" {
            1
        } else if is_apart(row) {
            4
        } else {
            self.turns_of(row).div_ceil(2)
        }
    }
}

/// What the small run asks.
const SMALL_SEED: u64 = 7;

#[test]
fn every_command_is_answered_as_by_a_plain_server() {
    let seed = env::var("NEARSIDE_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let is_large = env::var_os("NEARSIDE_TEST_LARGE").is_some();
    let seed = seed.unwrap_or_else(|| if is_large { fastrand::u64(..) } else { SMALL_SEED });
    println!("NEARSIDE_TEST_SEED={seed}");
    let only = env::var("NEARSIDE_TEST_SETTING").ok();
    let settings: Vec<&Setting> =
        SETTINGS.iter().filter(|setting| only.as_ref().is_none_or(|only| only == setting.name)).collect();
    assert!(!settings.is_empty(), "no setting is {only:?}");
    let mut faults: Vec<String> = Vec::new();
    let mut used = BTreeSet::new();
    for together in settings.chunks(SETTINGS_TOGETHER) {
        let ended: Vec<(&Setting, Family, Ended)> = thread::scope(|scope| {
            let pairs =
                together.iter().flat_map(|setting| [(setting, Family::Redis), (setting, Family::Valkey)]);
            let runs = pairs.map(|(setting, family)| {
                let size = Size { turns: if is_large { 150 } else { setting.turns } };
                scope.spawn(move || (*setting, family, run(family, setting, seed, size)))
            });
            let runs: Vec<_> = runs.collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        for (setting, family, ended) in ended {
            println!("{}, {}: {} requests", setting.name, family.name(), ended.coverage.total());
            used.extend(ended.coverage.used);
            faults.extend(ended.faults);
        }
    }
    if is_large && only.is_none() {
        let rows: BTreeSet<&Difference> = settings.iter().flat_map(|setting| setting.differences()).collect();
        let unused = rows.difference(&used).map(|Difference { commands, how, why }| {
            format!("nothing needs this difference any more: {commands:?}, {how:?}: {why}")
        });
        faults.extend(unused);
    }
    assert!(faults.is_empty(), "seed {seed}: {} faults:\n{}", faults.len(), faults.join("\n\n"));
}

/// What a run through one family found.
struct Ended {
    coverage: Coverage,
    faults: Vec<String>,
}

fn run(family: Family, setting: &'static Setting, seed: u64, size: Size) -> Ended {
    let pair = family.launch(setting);
    let generator = generator(&pair);
    let mut rng = Rng::with_seed(seed);
    let coverage = RefCell::default();
    let mut found = hold_generated(&pair, &generator, size, &coverage, &mut rng);
    found.extend(transactions::hold_all(&pair, &generator, size.turns * 5, &coverage, &mut rng));
    found.extend(sessions::hold_all(&pair, size.turns * 10, &coverage, &mut rng));
    found.extend(events::compare(&pair));
    found.extend(events::compare_monitor(&pair));
    coverage.borrow_mut().count_named("monitor", true);
    found.extend(cursors::compare(&pair));
    let mut by_request: BTreeMap<String, Vec<Differs>> = BTreeMap::new();
    for differs in found {
        by_request.entry(differs.request.clone()).or_default().push(differs);
    }
    let mut faults: Vec<String> = by_request
        .values()
        .map(|all| format!("{}, {}, {} times: {}", setting.name, family.name(), all.len(), all[0].story))
        .collect();
    let coverage = coverage.into_inner();
    if faults.is_empty() {
        faults.extend(coverage.gaps(
            setting,
            |row| size.least_of(row),
            |row| is_answerable(&pair, &generator, row),
        ));
        pair.end();
    }
    Ended { coverage, faults }
}

/// Every command with generated arguments.
fn hold_generated(
    pair: &Pair,
    generator: &Generator,
    size: Size,
    coverage: &RefCell<Coverage>,
    rng: &mut Rng,
) -> Vec<Differs> {
    let mut found = Vec::new();
    for (number, cases) in schedule(size, rng).into_iter().enumerate() {
        let version = if number % 2 == 0 { 2 } else { 3 };
        let mut rest = &cases[..];
        while !rest.is_empty() && found.len() < DIFFERENCES_MAX {
            let conversation = Conversation::begin(pair, version, coverage);
            if let Err(differs) = hold(conversation, generator, &mut rest, number, rng) {
                clear(pair);
                found.push(differs);
            }
        }
    }
    found
}

/// The requests of all conversations: of each row so many, in no order. Each is a row and which of its
/// requests it is.
fn schedule(size: Size, rng: &mut Rng) -> Vec<Vec<(&'static Spec, usize)>> {
    let mut versions: Vec<Vec<Vec<(&'static Spec, usize)>>> = Vec::new();
    for _version in [2, 3] {
        let mut cases: Vec<(&Spec, usize)> = rows()
            .filter(|row| !is_apart(row))
            .flat_map(|row| (0..size.turns_of(row)).map(move |turn| (row, turn)))
            .collect();
        rng.shuffle(&mut cases);
        versions.push(cases.chunks(REQUESTS).map(<[_]>::to_vec).collect());
    }
    let (three, two) = (versions.pop().unwrap(), versions.pop().unwrap());
    two.into_iter().zip(three).flat_map(|(two, three)| [two, three]).collect()
}

/// Asks the `rest`, until nothing is left of it or the two sides have parted.
fn hold(
    mut conversation: Conversation<'_>,
    generator: &Generator,
    rest: &mut &[(&'static Spec, usize)],
    number: usize,
    rng: &mut Rng,
) -> Result<(), Differs> {
    let tag = format!("w{}", number % 50);
    conversation.make_world(&tag, number.is_multiple_of(LARGE_EVERY))?;
    conversation.ask_plain(&["SCRIPT", "LOAD", "return 1"])?;
    if !conversation.setting.is_namespace() {
        conversation.ask_plain(&["FUNCTION", "LOAD", "REPLACE", LIBRARY])?;
    }
    while let Some(((spec, turn), after)) = rest.split_first()
        && !conversation.has_parted
    {
        *rest = after;
        conversation.ask(&generator.request(spec, *turn, &tag, rng))?;
    }
    conversation.end()
}

/// A function that reads and one that writes.
const LIBRARY: &str = "#!lua name=nslib\n\
    redis.register_function('nswrite', function(keys, args) return redis.call('SET', keys[1], args[1]) end)\n\
    redis.register_function{function_name='nsread', flags={'no-writes'}, \
    callback=function(keys, args) return redis.call('TYPE', keys[1]) end}";

/// Whether its requests change what follows so much that they have conversations of their own.
fn is_apart(spec: &Spec) -> bool {
    matches!(
        spec.name,
        "quit"
            | "monitor"
            | "multi"
            | "subscribe"
            | "psubscribe"
            | "ssubscribe"
            | "unsubscribe"
            | "punsubscribe"
            | "sunsubscribe"
    )
}

fn is_answerable(pair: &Pair, generator: &Generator, spec: &Spec) -> bool {
    let is_refused = match spec.class {
        Class::OfServer(InCluster::Refused(_)) => pair.setting.is_cluster(),
        class => matches!(class, Class::Refused(_)),
    };
    generator.is_known(spec) && !is_refused && !pair.setting.refuses(spec)
}

fn generator(pair: &Pair) -> Generator {
    let mut client = pair.plain();
    client.command(&["SET", "payload", "restored"]).unwrap();
    let mut payload = |words: &[&str]| client.command(words).unwrap().bytes().unwrap().to_vec();
    let dump = payload(&["DUMP", "payload"]);
    payload(&["FUNCTION", "LOAD", LIBRARY]);
    let functions = payload(&["FUNCTION", "DUMP"]);
    client.command(&["FLUSHALL"]).unwrap();
    Generator::new(shape::docs(&mut client), [("$dump", dump), ("$functions", functions)])
}

/// Begins anew after a difference: neither keys nor scripts of it are to be found again.
fn clear(pair: &Pair) {
    for mut client in [pair.plain(), pair.nearside()] {
        for words in [&["FLUSHALL"][..], &["SCRIPT", "FLUSH"], &["FUNCTION", "FLUSH"]] {
            client.command(words).unwrap();
        }
    }
}
