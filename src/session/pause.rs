//! CLIENT PAUSE: the clients of this daemon wait, with writes or with everything, until a time or CLIENT UNPAUSE.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::desk::{Attention, Desk};
use super::local::{ok, wrong_number};
use crate::clock::{self, Nanos};
use crate::command::{Flags, Spec};
use crate::resp::encode;
use crate::resp::parse_integer;
use crate::resp::request::Request;

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    until: Nanos,
    /// Reads too.
    all: bool,
}

/// One more of something, until it is dropped.
struct Counted(Arc<AtomicUsize>);

// === impl Counted ===

impl Counted {
    fn more(of: &Arc<AtomicUsize>) -> Counted {
        of.fetch_add(1, Ordering::Relaxed);
        Counted(of.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// CLIENT PAUSE timeout [WRITE|ALL]. Of two pauses the longer time and the stricter kind hold, as in Redis.
pub(super) fn begin(request: &Request<'_>, desk: &Desk) -> Bytes {
    if request.len() > 4 {
        return wrong_number(request, "CLIENT");
    }
    let all = match request.arg(3) {
        _ if request.len() == 3 => true,
        mode if mode.eq_ignore_ascii_case(b"all") => true,
        mode if mode.eq_ignore_ascii_case(b"write") => false,
        _ => return encode::error_reply("ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    let Some(millis) = parse_integer(request.arg(2)) else {
        return encode::error_reply("ERR timeout is not an integer or out of range");
    };
    let Ok(millis) = u64::try_from(millis) else {
        return encode::error_reply("ERR timeout is negative");
    };
    let now = clock::now();
    let until = now.saturating_add(clock::nanos(Duration::from_millis(millis)));
    desk.pause.send_modify(|held| {
        let before = held.filter(|held| held.until > now).unwrap_or(Held { until, all });
        *held = Some(Held { until: before.until.max(until), all: before.all || all });
        desk.draw(Attention::PAUSED, true);
    });
    ok()
}

/// CLIENT UNPAUSE.
pub(super) fn end(desk: &Desk) -> Bytes {
    desk.pause.send_modify(|held| {
        *held = None;
        desk.draw(Attention::PAUSED, false);
    });
    ok()
}

/// What a command must wait for, if it is one that waits now. EXEC counts as a write: what it carries out may be one.
#[cold]
pub(super) fn wait(spec: &Spec, desk: &Desk) -> Option<LocalBoxFuture<'static, ()>> {
    let held = (*desk.pause.borrow())?;
    if held.until <= clock::now() {
        desk.pause.send_if_modified(|present| {
            let over = *present == Some(held);
            if over {
                *present = None;
                desk.draw(Attention::PAUSED, false);
            }
            over
        });
        return None;
    }
    if !(held.all || spec.flags.has_any(Flags::WRITE.with(Flags::MAY_REPLICATE)) || spec.name == "exec") {
        return None;
    }
    let mut changes = desk.pause.subscribe();
    let counted = Counted::more(&desk.paused);
    Some(Box::pin(async move {
        let _counted = counted;
        // A change since `held` was read is seen at the next look, which comes at once when the pause is over.
        let over = async {
            let present = |present: &Option<Held>| *present != Some(held);
            let _ = changes.wait_for(present).await;
        };
        tokio::select! { () = over => (), () = tokio::time::sleep_until(clock::instant(held.until)) => () }
    }))
}
