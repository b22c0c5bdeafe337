//! Rewrites a request: puts prefixes in front of some of its arguments.

use std::cell::OnceCell;
use std::ops::Range;

use crate::protocol::resp::request::{OwnedRequest, Request};

/// Bytes of a request up to which the buffers are used again. A larger one becomes a copy that all share.
const KEPT_BYTES: usize = 16 * 1024;

/// Rewrites one request after the other, in buffers that are used again.
#[derive(Debug, Default)]
pub struct Rewriter {
    raw: Vec<u8>,
    args: Vec<Range<usize>>,
    /// The rewritten request, if it is large or was made anew.
    owned: Option<OwnedRequest>,
}

// === impl Rewriter ===

impl Rewriter {
    /// Rewrites `request`: puts each prefix in front of the argument at its position. The positions are at
    /// least 1, and ascend.
    #[inline]
    pub(super) fn prefix<'p>(
        &mut self,
        request: &Request<'_>,
        prefixes: impl Iterator<Item = (usize, &'p [u8])>,
    ) {
        self.owned = None;
        self.raw.clear();
        self.args.clear();
        let (source, mut copied, mut next) = (request.raw(), 0, 0);
        for (at, prefix) in prefixes {
            let argument = request.range(at);
            // Where the head of the argument begins.
            let head = request.range(at - 1).end + 2;
            self.keep(request, next..at, copied, head);
            self.raw.push(b'$');
            let length = argument.len() + prefix.len();
            self.raw.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            self.raw.extend_from_slice(b"\r\n");
            let start = self.raw.len();
            self.raw.extend_from_slice(prefix);
            self.raw.extend_from_slice(&source[argument.clone()]);
            self.args.push(start..self.raw.len());
            (copied, next) = (argument.end, at + 1);
        }
        self.keep(request, next..request.len(), copied, source.len());
        if self.raw.len() > KEPT_BYTES {
            let raw = std::mem::take(&mut self.raw);
            self.owned = Some(OwnedRequest::shared(raw.into(), &std::mem::take(&mut self.args)));
        }
    }

    /// Puts `request` in place of the one that a client sent.
    pub fn replace(&mut self, request: OwnedRequest) {
        self.owned = Some(request);
    }

    /// The rewritten request. If a copy of it is needed, it is made once, in `copy`.
    #[inline]
    pub fn request<'a>(&'a self, copy: &'a OnceCell<OwnedRequest>) -> Request<'a> {
        match &self.owned {
            Some(owned) => owned.as_request(),
            None => Request::new(&self.raw, &self.args, copy),
        }
    }

    /// Copies the arguments in `unchanged`, which lie between `from` and `to`.
    #[inline]
    fn keep(&mut self, request: &Request<'_>, unchanged: Range<usize>, from: usize, to: usize) {
        let base = self.raw.len();
        self.raw.extend_from_slice(&request.raw()[from..to]);
        for at in unchanged {
            let Range { start, end } = request.range(at);
            self.args.push(start - from + base..end - from + base);
        }
    }
}
