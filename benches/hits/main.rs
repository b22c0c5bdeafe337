//! Hit ratio: open and drawn traces through the near cache of this build, beside Redis' LRU and other
//! policies, all with the same bytes. It writes the figures and plots of docs/hit-ratio.md.
//! `benches/README.md` says how to read them. `make hits`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

mod contenders;
mod cost;
#[path = "../shared/figures.rs"]
mod figures;
mod generated;
#[path = "../shared/machine.rs"]
mod machine;
mod near;
mod other_writes;
mod page;
#[path = "../shared/plot.rs"]
mod plot;
mod plots;
mod policy;
mod recorded;
mod request;
mod rows;
mod sizes;
mod trace;

use std::path::PathBuf;

/// That of the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A quick run has one budget, recorded traces as far as that many requests, and this part of what is drawn.
const QUICK_SHARE: f64 = 0.1;
const QUICK_REQUESTS: usize = 500_000;
const QUICK_DIVISOR: usize = 5;

/// What the run was told by its environment.
struct HitsOptions {
    is_quick: bool,
    /// A directory with more traces.
    more: Option<PathBuf>,
}

fn main() {
    let options = HitsOptions::of_environment();
    let shares = if options.is_quick { &[QUICK_SHARE][..] } else { &rows::SHARES };
    let (requests_max, divisor) =
        if options.is_quick { (QUICK_REQUESTS, QUICK_DIVISOR) } else { (usize::MAX, 1) };
    let recorded = recorded::all(options.more.as_deref());
    let recorded = recorded.iter().map(|recorded| recorded.read(requests_max));
    let mut measured = Vec::new();
    for trace in recorded.chain(generated::all(divisor)) {
        let rows = rows::measure(&trace, shares);
        rows.iter().for_each(|row| println!("{}", row.line()));
        measured.extend(rows);
    }
    let writes = other_writes::measure(divisor);
    let tables = page::tables(&measured, &writes, &options.command());
    println!("\n{tables}");
    // A quick run is a look: the page keeps what was measured in full.
    if !options.is_quick {
        plots::draw(&measured, &writes);
        page::write(&tables, &measured, &writes, &options.command());
    }
}

// === impl HitsOptions ===

impl HitsOptions {
    fn of_environment() -> HitsOptions {
        let of = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        HitsOptions {
            is_quick: of("QUICK").is_some_and(|value| value != "0"),
            more: of("TRACES").map(PathBuf::from),
        }
    }

    fn command(&self) -> String {
        let quick = if self.is_quick { " QUICK=1" } else { "" };
        let more = if self.more.is_some() { " TRACES=directory" } else { "" };
        format!("make hits{quick}{more}")
    }
}
