//! The plan: which loads are measured, and the servers taking turns at each in short rounds, so that a
//! machine that is slow for a while is slow for all of them.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::address::Transport;
use crate::control::Control;
use crate::cpu;
use crate::load::{Load, Outcome};
use crate::servers::{Kind, Server};
use crate::workload::{Keys, Script};

/// One load, the same for all servers: a block of the table.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    transport: Transport,
    connections: usize,
    depth: usize,
    keys: Keys,
}

pub(crate) const ROWS: [Row; 14] = [
    Row { transport: Transport::Tcp, connections: 50, depth: 1, keys: Keys::Few },
    Row { transport: Transport::Tcp, connections: 50, depth: 16, keys: Keys::Few },
    Row { transport: Transport::Tcp, connections: 50, depth: 64, keys: Keys::Few },
    Row { transport: Transport::Unix, connections: 50, depth: 1, keys: Keys::Few },
    Row { transport: Transport::Unix, connections: 50, depth: 16, keys: Keys::Few },
    Row { transport: Transport::Tcp, connections: 1, depth: 1, keys: Keys::Few },
    Row { transport: Transport::Unix, connections: 1, depth: 1, keys: Keys::Few },
    Row { transport: Transport::Tcp, connections: 50, depth: 1, keys: Keys::Zipf },
    Row { transport: Transport::Tcp, connections: 50, depth: 16, keys: Keys::Zipf },
    Row { transport: Transport::Tcp, connections: 50, depth: 64, keys: Keys::Zipf },
    Row { transport: Transport::Unix, connections: 50, depth: 1, keys: Keys::Zipf },
    Row { transport: Transport::Tcp, connections: 50, depth: 1, keys: Keys::Uniform },
    Row { transport: Transport::Tcp, connections: 50, depth: 16, keys: Keys::Uniform },
    Row { transport: Transport::Tcp, connections: 50, depth: 64, keys: Keys::Uniform },
];

/// How long the bench takes its time.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// One server's turn.
pub(crate) struct Round {
    pub(crate) outcome: Outcome,
    /// Which share of the GETs L1 answered, for a server that has an L1.
    pub(crate) hit_share: Option<f64>,
}

/// All rounds of one server in one row; round `n` of each server ran beside round `n` of the others.
pub(crate) struct Series {
    pub(crate) kind: Kind,
    pub(crate) rounds: Vec<Round>,
}

// === impl Row ===

impl Row {
    /// How many keys the servers must have.
    pub(crate) fn key_count(self) -> usize {
        self.keys.count()
    }

    /// Measures every server at this load.
    pub(crate) fn measure(
        self,
        runtime: &Runtime,
        servers: &[Server],
        pace: Pace,
    ) -> io::Result<Vec<Series>> {
        let mut series: Vec<Series> =
            servers.iter().map(|server| Series { kind: server.kind, rounds: Vec::new() }).collect();
        for server in servers {
            let control = Control::connect(&server.address(self.transport))?;
            control.read_every_key(self.keys.count(), server.kind.replies())?;
        }
        let scripts: Vec<Script> =
            servers.iter().map(|server| Script::drawn(self.keys, server.kind.replies())).collect();
        for round in 0..pace.rounds {
            // Who goes first changes, so that no server always follows the same one.
            for turn in 0..servers.len() {
                let number = (round + turn) % servers.len();
                let outcome =
                    self.round(runtime, &servers[number], &scripts[number], pace).map_err(|error| {
                        io::Error::new(
                            error.kind(),
                            format!("{} at {self}: {error}", servers[number].kind.name()),
                        )
                    })?;
                series[number].rounds.push(outcome);
            }
        }
        Ok(series)
    }

    fn round(self, runtime: &Runtime, server: &Server, script: &Script, pace: Pace) -> io::Result<Round> {
        let address = server.address(self.transport);
        let Row { connections, depth, .. } = self;
        let load = Load { connections, depth, warm_up: pace.warm_up, window: pace.window };
        let hits_before = server.l1_hits()?;
        let outcome = runtime.block_on(load.run(&address, script, || cpu::used_by(server.pid())))?;
        let hits_after = server.l1_hits()?;
        let hit_share = hits_after
            .zip(hits_before)
            .map(|(after, before)| after.saturating_sub(before) as f64 / outcome.operations_total as f64);
        Ok(Round { outcome, hit_share })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.connections == 1 { "" } else { "s" };
        let Row { transport, connections, depth, keys } = self;
        write!(f, "{transport} depth {depth}, {connections} connection{plural}, {keys}")
    }
}

// === impl Round ===

impl Round {
    /// CPU time of the server for one GET, in microseconds.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.outcome.cpu.as_secs_f64() * 1e6 / self.outcome.operations as f64
    }

    pub(crate) fn operations_per_second(&self) -> f64 {
        self.outcome.operations as f64 / self.outcome.elapsed.as_secs_f64()
    }
}
