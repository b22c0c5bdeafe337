//! The thin binary: reads what the user wants, does it, and turns errors into exit codes.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use nearside::cli::Invocation;
use nearside::config::{LogConfig, LogFormat};
use nearside::daemon::{Daemon, dev, end_on_panic};
use nearside::telemetry;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Lines of the log of `dev`, which warns and no more.
const DEV_LOG_QUEUE_MAX: usize = 128;

fn main() -> ExitCode {
    match Invocation::of_process() {
        Err(refusal) => ExitCode::from(refusal.report()),
        Ok(Invocation::Serve(config, sources)) => {
            finish(telemetry::init(&config.log).map_err(|error| error.to_string()).and_then(|()| {
                end_on_panic();
                Daemon::start(&config)
                    .and_then(|daemon| daemon.run(sources))
                    .map_err(|error| error.to_string())
            }))
        }
        Ok(Invocation::Dev(listen)) => {
            let log = LogConfig {
                format: LogFormat::Human,
                filter: "warn".to_owned(),
                queue_max: DEV_LOG_QUEUE_MAX,
            };
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
        Ok(()) => {
            telemetry::finish(None);
            ExitCode::SUCCESS
        }
        Err(error) => {
            telemetry::finish(Some(&format!("nearside: {error}")));
            ExitCode::FAILURE
        }
    }
}
