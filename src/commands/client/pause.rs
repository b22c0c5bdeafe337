//! CLIENT PAUSE: the clients of this daemon wait, with writes or with everything, until a time or CLIENT
//! UNPAUSE.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::clock;
use crate::commands::server_state::{GlobalFlags, Pause, ServerState};
use crate::protocol::command::{Flags, Spec};
use crate::protocol::resp::encode;
use crate::protocol::resp::parse_integer;
use crate::protocol::resp::reply::{ok, wrong_number};
use crate::protocol::resp::request::Request;

/// Counts a pause until it is dropped.
struct PausedGuard(Arc<AtomicUsize>);

// === impl PausedGuard ===

impl PausedGuard {
    fn more(of: &Arc<AtomicUsize>) -> PausedGuard {
        of.fetch_add(1, Ordering::Relaxed);
        PausedGuard(of.clone())
    }
}

impl Drop for PausedGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// CLIENT PAUSE timeout [WRITE|ALL]. Of two pauses the longer time and the stricter kind hold, as in Redis.
pub(in crate::commands) fn begin(request: &Request<'_>, server: &ServerState) -> Bytes {
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
    server.pause.send_modify(|held| {
        let before = held.filter(|held| held.until > now).unwrap_or(Pause { until, all });
        *held = Some(Pause { until: before.until.max(until), all: before.all || all });
        server.set(GlobalFlags::PAUSED, true);
    });
    ok()
}

/// CLIENT UNPAUSE.
pub(in crate::commands) fn end(server: &ServerState) -> Bytes {
    server.pause.send_modify(|held| {
        *held = None;
        server.set(GlobalFlags::PAUSED, false);
    });
    ok()
}

/// What a command must wait for, if it is one that waits now. EXEC counts as a write: what it carries out may
/// be one.
#[cold]
pub(crate) fn wait(spec: &Spec, server: &ServerState) -> Option<LocalBoxFuture<'static, ()>> {
    let held = (*server.pause.borrow())?;
    if held.until <= clock::now() {
        server.pause.send_if_modified(|present| {
            let over = *present == Some(held);
            if over {
                *present = None;
                server.set(GlobalFlags::PAUSED, false);
            }
            over
        });
        return None;
    }
    if !(held.all || spec.flags.has_any(Flags::WRITE.with(Flags::MAY_REPLICATE)) || spec.is_exec()) {
        return None;
    }
    let mut changes = server.pause.subscribe();
    let counted = PausedGuard::more(&server.paused);
    Some(Box::pin(async move {
        let _counted = counted;
        // A change since `held` was read is seen at the next look, which comes at once when the pause is
        // over.
        let over = async {
            let present = |present: &Option<Pause>| *present != Some(held);
            let _ = changes.wait_for(present).await;
        };
        tokio::select! { () = over => (), () = tokio::time::sleep_until(clock::instant(held.until)) => () }
    }))
}
