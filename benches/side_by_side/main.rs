//! Side by side: what a GET that hits costs on redis-server, on nearside and on a server that only answers,
//! with the same load in the same run. `benches/README.md` says how to read the table.

mod address;
mod control;
#[path = "../shared/cpu.rs"]
mod cpu;
#[path = "../shared/fixed_reply.rs"]
mod fixed_reply;
mod load;
#[path = "../shared/machine.rs"]
mod machine;
mod rounds;
mod servers;
#[path = "../shared/socket.rs"]
mod socket;
mod table;
mod workload;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::address::Transport;
use crate::control::Control;
use crate::rounds::{Pace, ROWS, Row};
use crate::servers::Server;

/// Hidden: makes this process the fixed-reply server, on the Unix path that follows.
const FIXED_REPLY_ARGUMENT: &str = "--fixed-reply";

const USAGE: &str = "cargo bench --bench side_by_side -- [--quick] [--only TEXT]
  --quick      short rounds: a look, not a measurement
  --only TEXT  only rows whose name contains TEXT, such as \"unix\" or \"depth 1,\"";

const FULL_PACE: Pace =
    Pace { rounds: 5, warm_up: Duration::from_millis(200), window: Duration::from_millis(1_500) };
const QUICK_PACE: Pace =
    Pace { rounds: 3, warm_up: Duration::from_millis(100), window: Duration::from_millis(300) };

enum Job {
    Compare { pace: Pace, rows: Vec<Row> },
    ServeFixedReply(PathBuf),
}

fn main() -> ExitCode {
    let done = job(std::env::args().skip(1)).and_then(|job| match job {
        Job::Compare { pace, rows } => compare(pace, &rows),
        Job::ServeFixedReply(unix_path) => Ok(fixed_reply::serve(&unix_path, &workload::reply(0))?),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be told if stderr is gone.
            let _ = writeln!(io::stderr(), "side_by_side: {error}");
            ExitCode::FAILURE
        }
    }
}

fn job(mut arguments: impl Iterator<Item = String>) -> Result<Job, Box<dyn Error>> {
    let mut pace = FULL_PACE;
    let mut rows = ROWS.to_vec();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => pace = QUICK_PACE,
            "--only" => {
                let text = arguments.next().ok_or(USAGE)?;
                rows.retain(|row| row.to_string().contains(&text));
            }
            FIXED_REPLY_ARGUMENT => {
                return Ok(Job::ServeFixedReply(arguments.next().ok_or(USAGE)?.into()));
            }
            // Cargo adds it.
            "--bench" => {}
            _ => return Err(USAGE.into()),
        }
    }
    if rows.is_empty() {
        return Err("no row has such a name".into());
    }
    Ok(Job::Compare { pace, rows })
}

/// Runs the bench. Without a working nearside the table of the others is still printed, and the bench fails.
fn compare(pace: Pace, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let redis = Server::start_redis(directory.path())?;
    let control = Control::connect(&redis.address(Transport::Tcp))?;
    control.fill(rows.iter().map(|row| row.key_count()).max().unwrap_or_default())?;
    let redis_version = control.info("server", "redis_version")?;
    let nearside = Server::start_nearside(directory.path(), redis.tcp());
    let fixed_reply = Server::start_fixed_reply(directory.path())?;

    let mut servers = vec![redis];
    let missing = nearside.map(|nearside| servers.push(nearside)).err();
    servers.push(fixed_reply);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::stdout();
    table::print_heading(&mut out, &redis_version, pace)?;
    for row in rows {
        let series = row.measure(&runtime, &servers, pace)?;
        table::print_row(&mut out, *row, &series)?;
    }
    match missing {
        Some(error) => Err(format!("nearside is not in the table: {error}").into()),
        None => Ok(()),
    }
}
