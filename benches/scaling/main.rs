//! Scaling: what sidecars that track cost one primary, measured with 10, 100 and 1,000 connections, and a
//! model of more. It writes the figures and plots of docs/scaling.md. `benches/README.md` says how to read
//! them. `cargo bench --bench scaling`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

#[path = "../shared/cpu.rs"]
mod cpu;
mod crowd;
mod daemons;
#[path = "../shared/figures.rs"]
mod figures;
#[path = "../shared/machine.rs"]
mod machine;
mod measure;
mod model;
mod page;
#[path = "../shared/plot.rs"]
mod plot;
mod plots;
mod simulate;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use measure::{Mode, Point};
use model::Model;

/// Tracked connections to one server.
const CROWDS: [usize; 3] = [10, 100, 1_000];

fn main() {
    raise_open_files();
    let mut points: Vec<Point> = Vec::new();
    for mode in [Mode::Untracked, Mode::Default, Mode::Broadcast] {
        for clients in CROWDS {
            let point = measure::measure(mode, clients);
            println!("{}", page::line(&point));
            points.push(point);
        }
    }
    let model = Model::fit(&points);
    println!("{model:#?}");
    let checks = simulate::checks();
    checks.iter().for_each(|check| println!("{check:?}"));
    let daemons = daemons::look();
    println!("{daemons:?}");
    let figures = page::tables(&points, &model, &checks, &daemons);
    plots::draw(&points, &model);
    page::write(&figures, &points, &model);
}

/// Lets this process, and those that it starts, hold as many sockets as the system lets them.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
