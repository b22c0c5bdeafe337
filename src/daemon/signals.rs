//! The signals that the daemon takes.

use std::io;

use futures_util::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of the service manager.
#[derive(Debug)]
pub(super) struct Signals {
    /// The signals that end the daemon.
    pub(super) end: [Signal; 5],
    /// The signal that asks for a reload.
    pub(super) hangup: Signal,
}

// === impl Signals ===

impl Signals {
    /// Takes the signals from now on. Works only inside of a runtime.
    ///
    /// # Errors
    /// The system refused a handler.
    pub(super) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            // By default these end the process at once, and some operators expect them to ask politely.
            end: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::quit())?,
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Waits for one of `signals`.
pub(super) async fn any_of(signals: &mut [Signal]) {
    select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
}
