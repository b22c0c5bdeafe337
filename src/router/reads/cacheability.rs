//! Whether the reply to a read may be kept, and for how long.

use std::time::Duration;

use crate::cache::{Lifetime, MissReason};
use crate::protocol::resp::cursor;
use crate::router::replies::stopped;
use crate::upstream::{Outcome, PendingReply};

/// The outcome of a command, if it was sent.
pub(in crate::router) async fn answered(sent: Option<PendingReply>) -> Option<Outcome> {
    match sent {
        Some(sent) => Some(sent.reply.await.unwrap_or_else(stopped)),
        None => None,
    }
}

/// How long a reply may be kept, given what the server said right after it of the lifetime of its key, or why
/// it may not be kept at all. EXPIRE and PERSIST push an invalidation, so if either came between the two
/// replies the fill is killed anyway. `looks_absent` is whether the reply is what an absent key would have
/// had. A server that was not asked says nothing: then what looks absent counts as absent.
pub(in crate::router) fn cacheability(
    frame: &[u8],
    looks_absent: bool,
    rerouted: bool,
    lifetime: Option<&Outcome>,
) -> Result<Lifetime, MissReason> {
    if rerouted || lifetime.is_some_and(|reply| reply.as_ref().is_ok_and(|reply| reply.rerouted)) {
        return Err(MissReason::Rerouted);
    }
    if frame.starts_with(b"-") {
        return Err(MissReason::Error);
    }
    let Some(lifetime) = lifetime else {
        return Ok(if looks_absent { Lifetime::Absent } else { Lifetime::Unbounded });
    };
    let lifetime = lifetime.as_ref().map_err(|_| MissReason::Failed)?;
    match cursor::integer(&lifetime.frame).ok_or(MissReason::NoLifetime)? {
        -1 => Ok(Lifetime::Unbounded),
        // The key expired between the two replies, unless the first looks as it does for an absent key.
        -2 if looks_absent => Ok(Lifetime::Absent),
        milliseconds => {
            let milliseconds = u64::try_from(milliseconds).map_err(|_| MissReason::ChangedLifetime)?;
            Ok(Lifetime::Bounded(Duration::from_millis(milliseconds)))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::upstream::{UpstreamError, UpstreamReply};

    fn said(frame: &'static str, rerouted: bool) -> Outcome {
        Ok(UpstreamReply { frame: Bytes::from_static(frame.as_bytes()), rerouted, tracked: true, by: None })
    }

    #[test]
    fn what_may_be_kept_and_why_the_rest_may_not() {
        let (value, absent) = ("$5\r\nvalue\r\n", "_\r\n");
        let cases = [
            (value, false, Some(said(":-1\r\n", false)), Ok(Lifetime::Unbounded)),
            (value, false, Some(said(":70\r\n", false)), Ok(Lifetime::Bounded(Duration::from_millis(70)))),
            (absent, false, Some(said(":-2\r\n", false)), Ok(Lifetime::Absent)),
            (absent, false, None, Ok(Lifetime::Absent)),
            (value, false, None, Ok(Lifetime::Unbounded)),
            (value, false, Some(said(":-2\r\n", false)), Err(MissReason::ChangedLifetime)),
            (value, true, Some(said(":-1\r\n", false)), Err(MissReason::Rerouted)),
            (value, false, Some(said(":-1\r\n", true)), Err(MissReason::Rerouted)),
            ("-WRONGTYPE x\r\n", false, Some(said(":-1\r\n", false)), Err(MissReason::Error)),
            (value, false, Some(said("-NOPERM x\r\n", false)), Err(MissReason::NoLifetime)),
            (value, false, Some(said("_\r\n", false)), Err(MissReason::NoLifetime)),
            (value, false, Some(Err(UpstreamError::Stopped)), Err(MissReason::Failed)),
        ];
        for (frame, rerouted, lifetime, wanted) in cases {
            assert_eq!(
                cacheability(
                    frame.as_bytes(),
                    cursor::is_absent_form(frame.as_bytes()),
                    rerouted,
                    lifetime.as_ref()
                ),
                wanted,
                "{frame} {lifetime:?}"
            );
        }
    }
}
