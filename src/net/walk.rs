//! A walk over the requests in a buffer: shows each to the session, and says where it ended.

use std::cell::OnceCell;

use bytes::Bytes;

use crate::memory::SMALL_BYTES;
use crate::net::write_queue::WriteQueue;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::scan::{AHEAD_MAX, ProtocolError, RequestScanner, ScanOutcome};

/// What to do after a request was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Look at the next one.
    Next,
    /// Take no more for now.
    Pause,
    /// Take no more for now, and show this one again.
    Again,
}

/// Where a walk over requests came to.
pub(super) struct WalkEnd {
    /// The bytes that were used.
    pub(super) at: usize,
    /// What the rest begins with.
    pub(super) next: Next,
}

/// What the bytes begin with that a walk left.
pub(super) enum Next {
    /// Requests that are looked at later, or nothing.
    Later,
    /// A request of this many bytes that is shown again.
    Again(usize),
    /// A part of a request.
    Part,
    /// A request of at least this many bytes, which is too large.
    TooLarge(usize),
}

/// Shows the requests in `bytes` to `handle`. If they are `shared`, a large one need not be copied.
#[inline]
pub(super) fn walk(
    scanner: &mut RequestScanner,
    bytes: &[u8],
    shared: Option<&Bytes>,
    out: &mut WriteQueue,
    mut ahead: impl FnMut(&[u8]),
    mut handle: impl FnMut(Request<'_>, &mut WriteQueue) -> Flow,
) -> Result<WalkEnd, ProtocolError> {
    let (mut at, mut walked) = (0, 0);
    loop {
        let rest = &bytes[at..];
        if rest.is_empty() {
            return Ok(WalkEnd { at, next: Next::Later });
        }
        let (length, scanned) = match scanner.scan_plain(rest) {
            // Nearly all are: what else they could be is not carried about.
            Some(length) => (length, None),
            None => {
                let scanned = scanner.scan_other(rest)?;
                let length = match &scanned {
                    ScanOutcome::Incomplete => return Ok(WalkEnd { at, next: Next::Part }),
                    ScanOutcome::TooLarge(bytes) => return Ok(WalkEnd { at, next: Next::TooLarge(*bytes) }),
                    ScanOutcome::Nothing(length) | ScanOutcome::Request(length) => *length,
                    ScanOutcome::LargeRequest(length, _) | ScanOutcome::Inline(length, _) => *length,
                };
                (length, Some(scanned))
            }
        };
        // A request that came alone has nothing to be fetched together with.
        if walked % AHEAD_MAX == 0 && at + length < bytes.len() {
            ahead(&bytes[at..]);
        }
        walked += 1;
        let raw = &bytes[at..at + length];
        let (copy, made);
        let request = match scanned {
            None | Some(ScanOutcome::Request(_)) if shared.is_none() || length <= SMALL_BYTES => {
                copy = OnceCell::new();
                Request::new(raw, scanner.args(), &copy)
            }
            scanned => match other(scanned.unwrap_or(ScanOutcome::Request(length)), scanner, raw, shared) {
                Some(request) => {
                    made = request;
                    made.as_request()
                }
                None => {
                    at += length;
                    continue;
                }
            },
        };
        // There is only one call of `handle`, so that it is inlined here.
        match handle(request, out) {
            Flow::Next => at += length,
            Flow::Pause => return Ok(WalkEnd { at: at + length, next: Next::Later }),
            Flow::Again => return Ok(WalkEnd { at, next: Next::Again(length) }),
        }
    }
}

/// A request that is not shown where it was read: it is `shared`, came inline, or has very many arguments.
#[cold]
fn other(
    scanned: ScanOutcome,
    scanner: &RequestScanner,
    raw: &[u8],
    shared: Option<&Bytes>,
) -> Option<OwnedRequest> {
    let shared = shared.filter(|_| raw.len() > SMALL_BYTES);
    let whole = || shared.map_or_else(|| Bytes::copy_from_slice(raw), |shared| shared.slice_ref(raw));
    match scanned {
        ScanOutcome::Request(_) => Some(OwnedRequest::shared(whole(), scanner.args())),
        ScanOutcome::LargeRequest(_, args) => Some(OwnedRequest::shared(whole(), &args)),
        ScanOutcome::Inline(_, request) => Some(request),
        ScanOutcome::Incomplete | ScanOutcome::TooLarge(_) | ScanOutcome::Nothing(_) => None,
    }
}
