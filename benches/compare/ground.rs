//! What all measurements of a run have in common: the programs, the CPUs, and how long it takes its time.

use std::ops::Range;
use std::process::Command;
use std::sync::Arc;

use nearside::sandbox::directory::Sandbox;

use crate::peers::Peers;

pub(crate) struct Ground {
    pub(crate) peers: Peers,
    /// Ends all servers when this process ends, however it does.
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) pace: Pace,
    /// Whether a program may be put before all others on its CPU.
    pub(crate) is_privileged: bool,
    cpus: usize,
}

/// How long the run takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Rounds of what a goal depends on.
    pub(crate) rounds: usize,
    /// Rounds of what is only drawn.
    pub(crate) rounds_drawn: usize,
    /// By how much the number of requests of each load is divided.
    pub(crate) divisor: u64,
}

/// Which CPUs the measured server has, and which the load and the servers behind have.
pub(crate) struct Split {
    pub(crate) server: String,
    pub(crate) load: String,
    /// Whether the load has as many CPUs to itself as the server.
    pub(crate) has_room: bool,
}

// === impl Pace ===

impl Pace {
    pub(crate) const FULL: Pace = Pace { rounds: 7, rounds_drawn: 3, divisor: 1 };
    pub(crate) const QUICK: Pace = Pace { rounds: 3, rounds_drawn: 1, divisor: 5 };
}

// === impl Ground ===

impl Ground {
    pub(crate) fn set_up(pace: Pace) -> Ground {
        let chrt = Command::new("chrt").args(["--fifo", "1", "true"]).output();
        Ground {
            peers: Peers::set_up(),
            sandbox: Arc::new(Sandbox::new().unwrap()),
            pace,
            is_privileged: chrt.is_ok_and(|output| output.status.success()),
            cpus: std::thread::available_parallelism().unwrap().get(),
        }
    }

    /// The first CPUs are for the server, the others for the rest. Where there are too few, they share.
    pub(crate) fn split(&self, server_cpus: usize) -> Split {
        let list = |cpus: Range<usize>| cpus.map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(",");
        let server_end = server_cpus.min(self.cpus);
        let load_start = server_end.min(self.cpus - 1);
        Split {
            server: list(0..server_end),
            load: list(load_start..self.cpus),
            has_room: self.cpus >= 2 * server_cpus,
        }
    }
}

/// Runs what is appended on these CPUs, in its own place: the process is the program.
pub(crate) fn on_cpus(cpus: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpus]);
    command
}
