//! The thin binary: reads what the user wants, does it, and turns errors into exit codes.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use nearside::compat;
use nearside::config::LogFormat;
use nearside::config::cli::Invocation;
use nearside::daemon::{Daemon, end_on_panic};
use nearside::dev;
use nearside::memory;
use nearside::telemetry::{self, LogOptions};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static JEMALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Gives unused memory back to the kernel when the daemon asks: a static build has no thread for it.
#[cfg(feature = "jemalloc")]
const ALLOCATOR: memory::Allocator =
    memory::Allocator { decay: || command(c"arena.4096.decay"), purge: || command(c"arena.4096.purge") };

/// The C library's allocator gives memory back when it likes.
#[cfg(not(feature = "jemalloc"))]
const ALLOCATOR: memory::Allocator = memory::Allocator { decay: || {}, purge: || {} };

/// Runs a command of jemalloc on all arenas, which together have the number 4096.
#[cfg(feature = "jemalloc")]
#[expect(unsafe_code, reason = "jemalloc's commands are called by name, in C")]
fn command(name: &std::ffi::CStr) {
    let (none, length) = (std::ptr::null_mut(), std::ptr::null_mut());
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
        Ok(Invocation::Compat(options)) => finish(compat::compat(&options, io::stdout())),
        Ok(Invocation::Dev(flags)) => {
            let log = LogOptions {
                format: LogFormat::Human,
                filter: "warn".to_owned(),
                queue_max: DEV_LOG_QUEUE_MAX,
            };
            finish(
                telemetry::init(&log).map_err(|error| error.to_string()).and_then(|()| {
                    dev::dev(flags, io::stdout(), ALLOCATOR).map_err(|error| error.to_string())
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
