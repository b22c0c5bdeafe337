//! The thin binary: reads what the user wants, does it, and turns errors into exit codes.

use std::ffi::CStr;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::ptr;

use nearside::config::LogFormat;
use nearside::config::cli::Invocation;
use nearside::daemon::{Daemon, end_on_panic};
use nearside::dev;
use nearside::memory;
use nearside::telemetry::{self, LogOptions};

#[global_allocator]
static JEMALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is done by hand what a thread of its own would do, which a static build has not.
const ALLOCATOR: memory::Allocator =
    memory::Allocator { decay: || command(c"arena.4096.decay"), purge: || command(c"arena.4096.purge") };

/// Has jemalloc do something with all arenas, which together have the number 4096.
#[expect(unsafe_code, reason = "jemalloc is told by name, in C")]
fn command(name: &CStr) {
    let (none, length) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the name ends with a zero, and these commands read and write nothing of ours. They fail, and do
    // nothing, where they are not known.
    let _ = unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), none, length, none, 0) };
}

/// Lines of the log of `dev`, which warns and no more.
const DEV_LOG_QUEUE_MAX: usize = 128;

fn main() -> ExitCode {
    match Invocation::of_process() {
        Err(refusal) => ExitCode::from(refusal.report()),
        Ok(Invocation::Serve(config, sources)) => finish(
            telemetry::init(&LogOptions::of(&config.values)).map_err(|error| error.to_string()).and_then(
                |()| {
                    end_on_panic();
                    Daemon::start(&config, ALLOCATOR)
                        .and_then(|daemon| daemon.run(sources))
                        .map_err(|error| error.to_string())
                },
            ),
        ),
        Ok(Invocation::Dev(listen)) => {
            let log = LogOptions {
                format: LogFormat::Human,
                filter: "warn".to_owned(),
                queue_max: DEV_LOG_QUEUE_MAX,
            };
            finish(
                telemetry::init(&log).map_err(|error| error.to_string()).and_then(|()| {
                    dev::dev(listen, io::stdout(), ALLOCATOR).map_err(|error| error.to_string())
                }),
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
