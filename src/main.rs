//! The thin binary: reads what the user wants, does it, and turns errors into exit codes.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use nearside::cli::Invocation;
use nearside::config::{LogConfig, LogFormat};
use nearside::daemon::{Daemon, dev};
use nearside::telemetry;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Invocation::of_process() {
        Err(refusal) => ExitCode::from(refusal.report()),
        Ok(Invocation::Serve(config, sources)) => {
            finish(telemetry::init(&config.log).map_err(|error| error.to_string()).and_then(|()| {
                Daemon::start(&config)
                    .and_then(|daemon| daemon.run(sources))
                    .map_err(|error| error.to_string())
            }))
        }
        Ok(Invocation::Dev(listen)) => {
            let log = LogConfig { format: LogFormat::Human, filter: "warn".to_owned() };
            finish(
                telemetry::init(&log)
                    .map_err(|error| error.to_string())
                    .and_then(|()| dev::dev(listen, io::stdout()).map_err(|error| error.to_string())),
            )
        }
    }
}

fn finish(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "nearside: {error}");
            ExitCode::FAILURE
        }
    }
}
