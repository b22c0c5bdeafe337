//! How long a blocking command still waits, so that it can go on waiting at another node.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{self, Instant};

use crate::protocol::command::{Spec, Timeout};
use crate::protocol::resp::request::{OwnedRequest, Request};

/// The timeout of one blocking command. The node keeps it; this computes the remaining time when another node
/// is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockTimeout {
    began: Instant,
    /// The argument that gives it, and when it is over; `None` when the wait has no end, or the time
    /// makes no sense.
    limit: Option<(Timeout, Instant)>,
}

/// A wait that began so recently is sent as it is.
const UNCHANGED: Duration = Duration::from_millis(1);

// === impl BlockTimeout ===

impl BlockTimeout {
    /// The time that `request` gives, from now on.
    pub(super) fn of(spec: &Spec, request: &Request<'_>) -> BlockTimeout {
        BlockTimeout::at(spec.timeout_of(request), request)
    }

    /// The time that a WAIT or WAITAOF gives, in its last argument, from now on.
    pub(super) fn of_replicas(request: &Request<'_>) -> BlockTimeout {
        BlockTimeout::at(request.args().count().checked_sub(1).map(Timeout::Milliseconds), request)
    }

    fn at(timeout: Option<Timeout>, request: &Request<'_>) -> BlockTimeout {
        let began = Instant::now();
        let limit = timeout.and_then(|timeout| {
            let text = std::str::from_utf8(request.arg(timeout.at())).ok()?;
            let time = match timeout {
                Timeout::Seconds(_) => Duration::try_from_secs_f64(text.parse().ok()?).ok()?,
                Timeout::Milliseconds(_) => Duration::from_millis(text.parse().ok()?),
            };
            let end = began.checked_add(time)?;
            (!time.is_zero()).then_some((timeout, end))
        });
        BlockTimeout { began, limit }
    }

    /// `request` with the time that is left; `None` when none is.
    pub(super) fn request(&self, request: &OwnedRequest) -> Option<Bytes> {
        let Some((timeout, end)) = self.limit.filter(|_| self.began.elapsed() > UNCHANGED) else {
            return Some(request.bytes());
        };
        let left = end.checked_duration_since(Instant::now()).filter(|left| *left >= UNCHANGED)?;
        let left = match timeout {
            Timeout::Seconds(_) => format!("{:.3}", left.as_secs_f64()),
            Timeout::Milliseconds(_) => left.as_millis().to_string(),
        };
        let request = request.as_request();
        let args = request.args().enumerate();
        let args = args.map(|(index, arg)| if index == timeout.at() { left.as_bytes() } else { arg });
        Some(OwnedRequest::from_args(args).bytes())
    }

    /// Ends `grace` after the time is over; never, when it has no end.
    pub(super) async fn over(&self, grace: Duration) {
        match self.limit.and_then(|(_, end)| end.checked_add(grace)) {
            Some(end) => time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::command::recognise;

    async fn left_after(request: &str, time: Duration) -> Option<String> {
        let request = OwnedRequest::from_args(request.split(' '));
        let spec = recognise(&request.as_request()).unwrap();
        let timeout = BlockTimeout::of(spec, &request.as_request());
        time::advance(time).await;
        timeout.request(&request).map(|bytes| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.split("\r\n").skip(2).step_by(2).collect::<Vec<_>>().join(" ").trim().to_owned()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_stands_where_the_time_stood() {
        let second = Duration::from_secs(1);
        for (request, left) in [
            ("BLPOP a b 2.5", Some("BLPOP a b 1.500")),
            ("BLMPOP 2 1 a LEFT", Some("BLMPOP 1.000 1 a LEFT")),
            (
                "XREADGROUP GROUP block c BLOCK 3000 STREAMS s >",
                Some("XREADGROUP GROUP block c BLOCK 2000 STREAMS s >"),
            ),
            ("BLPOP a 0", Some("BLPOP a 0")),
            ("BLPOP a x", Some("BLPOP a x")),
            ("BLPOP a -1", Some("BLPOP a -1")),
            ("BLPOP a 1", None),
        ] {
            assert_eq!(left_after(request, second).await.as_deref(), left, "{request}");
            assert_eq!(left_after(request, Duration::ZERO).await.as_deref(), Some(request));
        }
    }
}
