//! CLIENT PAUSE: a time in which no command of a client is sent to a server, or none that writes.
//!
//! A session asks before it begins a request, and the router once more when a request has waited for
//! something else: what has not left yet when a pause begins is sent when the pause is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

use crate::clock::{self, Nanos};
use crate::protocol::command::Flags;
use crate::stats::CountGuard;

/// Commands that a pause for writes holds back.
const WRITES: Flags = Flags::WRITE.with(Flags::MAY_REPLICATE);

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    until: Nanos,
    /// Reads too.
    all: bool,
}

/// The pause of all clients of the daemon, if there is one.
#[derive(Debug, Default)]
pub struct ClientPause {
    present: watch::Sender<Option<Pause>>,
    /// How many clients wait for its end.
    waiting: Arc<AtomicUsize>,
}

// === impl ClientPause ===

impl ClientPause {
    /// Pauses commands that write, or all, until then. Of two pauses the longer time and the stricter kind
    /// hold. `mark` runs before another pause can begin or end.
    pub fn begin(&self, until: Nanos, all: bool, mark: impl FnOnce()) {
        let now = clock::now();
        self.present.send_modify(|present| {
            let before = present.filter(|before| before.until > now).unwrap_or(Pause { until, all });
            *present = Some(Pause { until: before.until.max(until), all: before.all || all });
            mark();
        });
    }

    /// Ends the pause; `mark` as for [`ClientPause::begin`].
    pub fn end(&self, mark: impl FnOnce()) {
        self.present.send_modify(|present| {
            *present = None;
            mark();
        });
    }

    /// Whether clients are paused. If the time of a pause is over, that pause ends, and `mark` runs as for
    /// [`ClientPause::begin`].
    pub fn is_on(&self, mark: impl FnOnce()) -> bool {
        let now = clock::now();
        self.present.send_if_modified(|present| {
            let over = present.is_some_and(|pause| pause.until <= now);
            if over {
                *present = None;
                mark();
            }
            over
        });
        self.present.borrow().is_some()
    }

    /// How many clients wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Lasts while a command with these flags has to wait; `None` if it need not. Another pause may have
    /// begun by the end of it.
    pub fn hold(&self, flags: Flags) -> Option<LocalBoxFuture<'static, ()>> {
        let held = self.present().filter(|pause| pause.all || flags.has_any(WRITES))?;
        let (mut changes, counted) = (self.present.subscribe(), CountGuard::more(&self.waiting));
        Some(Box::pin(async move {
            let _counted = counted;
            // A change since `held` was read is seen at the first look.
            let over = async { drop(changes.wait_for(|present| *present != Some(held)).await) };
            tokio::select! { () = over => (), () = tokio::time::sleep_until(clock::instant(held.until)) => () }
        }))
    }

    /// Waits until a command with these flags may be sent. The caller sends it at once.
    pub async fn pass(&self, flags: Flags) {
        while let Some(held) = self.hold(flags) {
            held.await;
        }
    }

    fn present(&self) -> Option<Pause> {
        let present = *self.present.borrow();
        present.filter(|pause| pause.until > clock::now())
    }
}
