//! Compare: the goals for speed and size, each measured beside the peers in one run, by load generators that
//! are not ours. It writes docs/performance.md, the plots and the JSON beside it. `benches/README.md` says
//! how to read them. `cargo bench --bench compare`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

#[path = "../shared/cpu.rs"]
mod cpu;
#[path = "../shared/figures.rs"]
mod figures;
#[path = "../shared/fixed_reply.rs"]
mod fixed_reply;
mod footprint;
mod ground;
mod keys;
mod launch;
mod load;
#[path = "../shared/machine.rs"]
mod machine;
mod memory;
mod page;
mod peers;
mod plan;
#[path = "../shared/plot.rs"]
mod plot;
mod plots;
mod process;
mod rounds;
mod servers;
#[path = "../shared/socket.rs"]
mod socket;
mod verdict;

use std::path::PathBuf;

use ground::{Ground, Pace};
use page::Report;

/// Hidden: makes this process the fixed-reply server, on the Unix path that follows.
const FIXED_REPLY_ARGUMENT: &str = "--fixed-reply";

const USAGE: &str = "cargo bench --bench compare -- [--quick] [--only TEXT]
  --quick      short rounds: a look, not a measurement
  --only TEXT  only what has TEXT in its name, such as \"zipf\", \"SET\" or \"resident\"
Either leaves docs/performance.md alone and writes what it saw into target/compare.";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut pace, mut only) = (Pace::FULL, None);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.len()) {
            ("--quick", _) => pace = Pace::QUICK,
            ("--only", 1..) => only = arguments.next(),
            (FIXED_REPLY_ARGUMENT, 1..) => {
                let path = PathBuf::from(arguments.next().unwrap());
                return fixed_reply::serve(&path, &keys::value_reply(plan::VALUE_BYTES)).unwrap();
            }
            // Cargo adds it.
            ("--bench", _) => {}
            _ => {
                println!("{USAGE}");
                std::process::exit(2);
            }
        }
    }
    compare(pace, only);
}

fn compare(pace: Pace, only: Option<String>) {
    let is_whole = only.is_none() && pace == Pace::FULL;
    let wanted = |name: &str| only.as_ref().is_none_or(|text| name.contains(text));
    process::raise_open_files();
    let ground = Ground::set_up(pace);
    let mut report = Report::new(&ground);
    for cell in plan::cells() {
        if wanted(&cell.name) {
            let measured = rounds::measure(&ground, &cell);
            report.cell(&cell, measured);
        }
    }
    footprint::measure(&ground, &wanted, &mut report);
    if wanted("memory over entries") {
        report.memory = memory::over_entries(&ground);
    }
    report.write(is_whole);
}
