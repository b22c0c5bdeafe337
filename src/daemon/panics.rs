//! Panics: a panic is logged and ends the process, except inside one session.
//!
//! The event loops take a panic for the end of one task. Others that rely on the task (an upstream
//! connection, the topology, a listener) would wait for ever while the daemon still listens. The service
//! manager starts a process that has ended again.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{self, PanicHookInfo};
use std::pin::Pin;
use std::process;
use std::task::{Context, Poll};
use std::thread;

use pin_project_lite::pin_project;

use crate::telemetry;

/// The exit code of a process that a panic ended, as where the main thread of a Rust program panics.
const PANICKED: i32 = 101;

thread_local! {
    /// Whether what runs on this thread at the moment is a session.
    static IN_SESSION: Cell<bool> = const { Cell::new(false) };
}

/// Sets what a panic of any thread does: it is logged, and ends the process except inside one session.
pub fn end_on_panic() {
    panic::set_hook(Box::new(|info| {
        let in_session = IN_SESSION.try_with(Cell::get).unwrap_or_default();
        log(info, if in_session { "a session panicked: its client is closed" } else { "panicked: ending" });
        if !in_session {
            telemetry::finish(None);
            process::exit(PANICKED);
        }
    }));
}

pin_project! {
    /// A session that runs. If it panics, its client alone loses by that: all that it holds is given back, as
    /// when the client leaves. An async function would take the memory of the session twice, for every
    /// client.
    pub(super) struct PanicGuard<S> {
        #[pin]
        session: S,
    }
}

/// `session`, contained.
pub(super) fn contained<S: Future<Output = ()>>(session: S) -> PanicGuard<S> {
    PanicGuard { session }
}

impl<S: Future<Output = ()>> Future for PanicGuard<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _in_session = InSession::begin();
        self.project().session.poll(cx)
    }
}

/// Until it is dropped, a session runs on this thread.
struct InSession;

// === impl InSession ===

impl InSession {
    fn begin() -> InSession {
        IN_SESSION.set(true);
        InSession
    }
}

impl Drop for InSession {
    fn drop(&mut self) {
        IN_SESSION.set(false);
    }
}

fn log(info: &PanicHookInfo<'_>, outcome: &'static str) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let panic = said(info.payload());
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(thread, location, panic, %backtrace, "{outcome}");
    } else {
        tracing::error!(thread, location, panic, "{outcome}");
    }
}

fn said(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("not a text")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};
    use std::time::Duration;

    use tokio::runtime::Builder;
    use tokio::task::{self, LocalSet};
    use tokio::time;

    use super::*;
    use crate::config::LogFormat;
    use crate::telemetry::LogOptions;

    /// Longer than it takes to write down a panic and to end, on a busy machine too.
    const FOR_EVER: Duration = Duration::from_secs(60);

    /// What goes on for so long beside what panics, in a process of its own.
    fn go_on_beside(panicking: impl Future<Output = ()> + 'static, time: Duration) {
        let config = LogOptions { format: LogFormat::Json, filter: "info".to_owned(), queue_max: 16 };
        telemetry::init(&config).unwrap();
        end_on_panic();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            task::spawn_local(panicking);
            time::sleep(time).await;
        });
        tracing::info!("went on");
        telemetry::finish(None);
    }

    async fn panicking() {
        time::sleep(Duration::from_millis(1)).await;
        panic!("number {}", 7);
    }

    /// Not a test, as the two below it: a panic that ends a process ends that of all tests.
    #[test]
    #[ignore = "run by a_panic_ends_the_process in a process of its own"]
    fn a_task_panics() {
        go_on_beside(panicking(), FOR_EVER);
    }

    #[test]
    #[ignore = "run by a_panic_ends_the_process in a process of its own"]
    fn a_thread_panics() {
        go_on_beside(async { drop(thread::spawn(|| panic!("number {}", 7))) }, FOR_EVER);
    }

    #[test]
    #[ignore = "run by a_session_that_panics_ends_alone in a process of its own"]
    fn a_session_panics() {
        go_on_beside(contained(panicking()), Duration::from_millis(500));
    }

    fn run(test: &str) -> (Output, String) {
        let test = format!("daemon::panics::tests::{test}");
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", &test, "--ignored", "--nocapture"]).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        (output, log)
    }

    #[test]
    fn a_panic_ends_the_process() {
        for test in ["a_task_panics", "a_thread_panics"] {
            let (output, log) = run(test);
            assert_eq!(output.status.code(), Some(PANICKED), "{output:?}");
            for part in ["\"ERROR\"", "\"panicked: ending\"", "\"number 7\"", "panics.rs:"] {
                assert!(log.contains(part), "{part}: {log}");
            }
            assert!(!log.contains("went on"), "{log}");
        }
    }

    #[test]
    fn a_session_that_panics_ends_alone() {
        let (output, log) = run("a_session_panics");
        assert!(output.status.success(), "{output:?}");
        for part in ["\"ERROR\"", "\"a session panicked: its client is closed\"", "\"number 7\"", "went on"] {
            assert!(log.contains(part), "{part}: {log}");
        }
    }
}
