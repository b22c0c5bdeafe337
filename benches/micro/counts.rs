//! How many instructions each operation takes, by callgrind, compared with the figures of the last time: what
//! a busy machine cannot move. `make counts`; benches/README.md says how to read it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a scenario ends at the first surprise, and what is found out is printed"
)]

mod callgrind;
mod figures;
mod parts;
mod relay;
mod rig;
mod traffic;

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, mpsc};
use std::thread;

use tokio::sync::oneshot;

use figures::Figures;
use parts::Part;
use rig::Rig;
use traffic::{Round, Traffic};

const USAGE: &str = "cargo run --profile dist --example counts -- [--only TEXT]
  --only TEXT  only scenarios whose name contains TEXT, such as \"hit\"
With NEARSIDE_BLESS=1 the new figures are kept.";

/// Where the figures are kept.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/micro/counts.json");

/// When it is set, the new figures are kept.
const BLESS: &str = "NEARSIDE_BLESS";

/// Hidden: this process is the one that is counted.
const SCENARIO_ARGUMENT: &str = "--scenario";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => check(""),
        ["--only", text] => check(text),
        [SCENARIO_ARGUMENT, name] => {
            run(name);
            Ok(true)
        }
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to be told if stderr is gone.
            let _ = writeln!(std::io::stderr(), "counts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts the scenarios whose name contains `text` and compares them with what is kept; whether that is good.
fn check(text: &str) -> Result<bool, Box<dyn Error>> {
    let bless = std::env::var_os(BLESS).is_some();
    if bless && !text.is_empty() {
        return Err(format!("{BLESS} keeps the figures of all scenarios: leave out --only").into());
    }
    let path = Path::new(KEPT);
    let mut kept = match Figures::read(path) {
        Ok(kept) => Some(kept),
        Err(_) if bless => None,
        Err(error) => return Err(format!("{KEPT}: {error}").into()),
    };
    let now = count(text)?;
    if let Some(kept) = &mut kept {
        kept.instructions.retain(|name, _| name.contains(text));
        println!("{}", now.compare(kept));
    }
    if bless {
        now.write(path)?;
        println!("These figures are kept in {KEPT}.");
        return Ok(true);
    }
    Ok(kept.is_none_or(|kept| now.compare(&kept).is_good()))
}

/// Counts the scenarios whose name contains `text`, as many at a time as there are processors.
fn count(text: &str) -> Result<Figures, Box<dyn Error>> {
    let tools = callgrind::tools()?;
    let names = traffic::ALL.iter().map(|(name, _)| *name).chain(parts::ALL.iter().map(|(name, _)| *name));
    let names = Mutex::new(names.filter(|name| name.contains(text)));
    let next = || names.lock().unwrap().next();
    let one_by_one = || {
        let counted = std::iter::from_fn(next).map(|name| {
            let figure = callgrind::instructions(&[SCENARIO_ARGUMENT, name]);
            let figure = figure.map_err(|error| format!("{name}: {error}"))?;
            Ok((name.to_owned(), (figure * 10.0).round() / 10.0))
        });
        counted.collect::<Result<Vec<_>, String>>()
    };
    let processors = thread::available_parallelism()?.get();
    let instructions = thread::scope(|scope| {
        let counting: Vec<_> = (0..processors).map(|_| scope.spawn(one_by_one)).collect();
        counting.into_iter().map(|counting| counting.join().unwrap()).collect::<Result<Vec<_>, String>>()
    });
    Ok(Figures { tools, instructions: instructions?.into_iter().flatten().collect() })
}

/// Carries out a scenario and prints how many operations were counted.
fn run(name: &str) {
    let traffic = traffic::ALL.iter().find(|(known, _)| *known == name);
    let part = parts::ALL.iter().find(|(known, _)| *known == name);
    let operations = match (traffic, part) {
        (Some((_, make)), _) => exchange(make()),
        (None, Some((_, make))) => call(make()),
        (None, None) => panic!("there is no scenario {name:?}"),
    };
    println!("{operations}");
}

/// The client has a thread of its own, so that the worker alone is counted.
fn exchange(traffic: Traffic) -> usize {
    let rig = Rig::start(relay::open, traffic.namespace);
    rig.prepare(&traffic.prepare);
    let mut stream = rig.connect();
    let operations = traffic.counted * traffic.operations;
    let (counter, each) = traffic.proof;
    let (warm, is_warm) = oneshot::channel();
    let (go_on, told) = mpsc::channel();
    let (done, mut is_done) = oneshot::channel();
    let client = thread::spawn(move || {
        let mut rounds = traffic.rounds.iter().cycle();
        ask(&mut stream, rounds.by_ref().take(traffic.warm_up));
        warm.send(()).unwrap();
        told.recv().unwrap();
        ask(&mut stream, rounds.take(traffic.counted));
        done.send(()).unwrap();
        // Kept open until all was counted.
        stream
    });
    rig.runtime.block_on(is_warm).unwrap();
    let before = rig.stats.total(counter);
    go_on.send(()).unwrap();
    callgrind::count(&mut || rig.runtime.block_on(&mut is_done).unwrap());
    let proved = rig.stats.total(counter) - before;
    assert!(proved >= (operations * each) as u64, "{counter} grew by {proved} in {operations} operations");
    drop(client.join().unwrap());
    operations
}

fn ask<'a>(stream: &mut UnixStream, rounds: impl Iterator<Item = &'a Round>) {
    let mut got = Vec::new();
    for round in rounds {
        got.resize(round.reply.len(), 0);
        stream.write_all(&round.request).unwrap();
        stream.read_exact(&mut got).unwrap();
        assert!(got == round.reply, "{}", got.escape_ascii());
    }
}

fn call(mut part: Part) -> usize {
    (0..parts::WARM_UP).for_each(|_| (part.call)());
    callgrind::count(&mut || (0..parts::COUNTED).for_each(|_| (part.call)()));
    parts::COUNTED * part.operations
}
