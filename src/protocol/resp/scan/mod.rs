//! Finds requests in what a client sent: RESP arrays of bulk strings, and inline commands.
//!
//! The limits, the strictness and the texts of the errors are those of Redis 7.0 (`processMultibulkBuffer`
//! and `processInlineBuffer`). A length is judged before memory is taken for it. The scanner resumes where it
//! stopped, so a large request that arrives in many pieces is scanned once.
//!
//! Must never know: commands and sockets. Begin with `mod.rs` (one request after the other); `ahead.rs` finds
//! the keys to prefetch.

use std::ops::Range;

mod ahead;
mod error;

pub use ahead::{AHEAD_MAX, keys_ahead};
pub use error::ProtocolError;

use super::inline;
use super::request::OwnedRequest;

/// Arguments for whose places the scanner keeps memory for the next request.
const KEPT_ARGS_MAX: usize = 1024;

/// The longest line with a count or a length that is waited for, as in Redis.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What a client may ask for at most.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Arguments of one request.
    pub args_max: usize,
    /// Bytes of one argument (`proto-max-bulk-len` of Redis).
    pub bulk_bytes_max: usize,
    /// Bytes of one request (`client-query-buffer-limit` of Redis).
    pub request_bytes_max: usize,
    /// Bytes of an inline command (`PROTO_INLINE_MAX_SIZE` of Redis).
    pub inline_bytes_max: usize,
}

/// The arguments, and the bytes of one, of a client that has a password to say yet; as in Redis.
const RESTRAINED_ARGS_MAX: usize = 10;
const RESTRAINED_BULK_BYTES_MAX: usize = 16 * 1024;

/// The request at the beginning of the buffer.
#[derive(Debug)]
pub enum ScanOutcome {
    /// Not all of a request yet.
    Incomplete,
    /// Nothing to answer: an empty line or an empty array of this many bytes.
    Nothing(usize),
    /// A request of this many bytes; [`RequestScanner::args`] says where its arguments are.
    Request(usize),
    /// A request of this many bytes with very many arguments, and where they are: the scanner does not keep
    /// the memory.
    LargeRequest(usize, Vec<Range<usize>>),
    /// An inline command of this many bytes, and the request that it means.
    Inline(usize, OwnedRequest),
    /// A request of at least this many bytes, which is more than the limit: it has to be skipped.
    TooLarge(usize),
}

/// How far a request has been skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Bytes that are done with.
    pub bytes: usize,
    /// Whether it has ended.
    pub ended: bool,
}

/// The scanner of one connection.
#[derive(Debug)]
pub struct RequestScanner {
    limits: RequestLimits,
    /// What they are while the client is not restrained.
    full: RequestLimits,
    args: Vec<Range<usize>>,
    /// How far the current request has been walked, from its beginning.
    at: usize,
    /// Arguments of the current request still to come; `None` before its count line was read.
    missing: Option<usize>,
    /// The least number of bytes of the current request, by its announced lengths.
    announced: usize,
    /// What is still to come of an argument that is skipped.
    skipping: usize,
}

// === impl RequestScanner ===

impl RequestScanner {
    /// A scanner that holds requests to these limits.
    pub fn new(limits: RequestLimits) -> RequestScanner {
        RequestScanner {
            limits,
            full: limits,
            args: Vec::new(),
            at: 0,
            missing: None,
            announced: 0,
            skipping: 0,
        }
    }

    /// From the next request on, the client is held to what one may send that has a password to say yet, or
    /// is not.
    pub fn limit_unauthenticated(&mut self, restrained: bool) {
        self.limits = self.full;
        if restrained {
            self.limits.args_max = self.full.args_max.min(RESTRAINED_ARGS_MAX);
            self.limits.bulk_bytes_max = self.full.bulk_bytes_max.min(RESTRAINED_BULK_BYTES_MAX);
        }
    }

    /// Looks at `buf`, which begins where the last request ended (or did not end yet). A request whose end is
    /// not in sight is resumed at the next call, with a `buf` that begins at the same byte.
    ///
    /// # Errors
    /// What the client sent is no request; see [`ProtocolError`].
    #[inline]
    pub fn scan(&mut self, buf: &[u8]) -> Result<ScanOutcome, ProtocolError> {
        match self.scan_plain(buf) {
            Some(length) => Ok(ScanOutcome::Request(length)),
            None => self.scan_other(buf),
        }
    }

    /// Scans what [`RequestScanner::scan_plain`] does not decide.
    ///
    /// # Errors
    /// Those of [`RequestScanner::scan`].
    pub fn scan_other(&mut self, buf: &[u8]) -> Result<ScanOutcome, ProtocolError> {
        match buf.first() {
            None => Ok(ScanOutcome::Incomplete),
            Some(b'*') => self.scan_array(buf),
            Some(_) => scan_inline(buf, self.limits.inline_bytes_max),
        }
    }

    /// How many bytes a request has at least whose end is not in sight.
    pub fn announced(&self) -> usize {
        self.announced
    }

    /// What it takes to remember where very many arguments of such a request lie.
    pub fn args_bytes(&self) -> usize {
        let places = self.args.capacity();
        if places > KEPT_ARGS_MAX { places * size_of::<Range<usize>>() } else { 0 }
    }

    /// Whether the request whose end is not in sight can be skipped.
    pub fn can_skip(&self) -> bool {
        self.missing.is_some()
    }

    /// Whether a `buf` of `bytes` bytes may have, by its announced lengths, all of the request that it begins
    /// with.
    pub fn may_end_within(&self, bytes: usize) -> bool {
        self.missing.is_none_or(|missing| missing == 1) && self.announced <= bytes
    }

    /// The request whose end is not in sight will not be looked at. What is left of `buf`, which begins where
    /// it does, is for [`RequestScanner::skip`]; returns how much is done with.
    pub fn begin_skip(&mut self) -> usize {
        self.args = Vec::new();
        (self.announced, self.skipping) = (0, 0);
        std::mem::take(&mut self.at)
    }

    /// Skips the bytes of a request in `buf`. Bytes that were not used come again at the beginning of the
    /// next `buf`.
    ///
    /// # Errors
    /// What the client sent is no request; see [`ProtocolError`].
    pub fn skip(&mut self, buf: &[u8]) -> Result<Skipped, ProtocolError> {
        let mut bytes = 0;
        loop {
            let passed = self.skipping.min(buf.len() - bytes);
            self.skipping -= passed;
            bytes += passed;
            if self.skipping > 0 {
                return Ok(Skipped { bytes, ended: false });
            }
            let Some(missing) = self.missing.filter(|missing| *missing > 0) else {
                self.missing = None;
                return Ok(Skipped { bytes, ended: true });
            };
            match buf.get(bytes) {
                None => return Ok(Skipped { bytes, ended: false }),
                Some(b'$') => {}
                Some(other) => return Err(ProtocolError::ExpectedDollar(*other)),
            }
            let Some(line) = number_line(buf, bytes, ProtocolError::LengthLine)? else {
                return Ok(Skipped { bytes, ended: false });
            };
            self.skipping = self.length(&line)? + 2;
            bytes = line.end;
            self.missing = Some(missing - 1);
        }
    }

    /// The length of an argument, if one may be as long.
    fn length(&self, line: &NumberLine) -> Result<usize, ProtocolError> {
        let length = line.value.and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or(ProtocolError::BulkLength)?;
        if length > self.limits.bulk_bytes_max {
            let restrained = length <= self.full.bulk_bytes_max;
            return Err(match restrained {
                true => ProtocolError::RestrainedBulkLength,
                false => ProtocolError::BulkLength,
            });
        }
        Ok(length)
    }

    /// Where the arguments of the request found last lie, relative to its first byte.
    #[inline]
    pub fn args(&self) -> &[Range<usize>] {
        &self.args
    }

    /// How many bytes a request has that is as nearly all are: a few arguments, none of them long, and all
    /// there. `None` is for anything else, and has changed nothing that matters:
    /// [`RequestScanner::scan_other`] looks at that.
    #[inline]
    pub fn scan_plain(&mut self, buf: &[u8]) -> Option<usize> {
        let &[b'*', count @ b'1'..=b'9', b'\r', _, ..] = buf else { return None };
        let count = usize::from(count - b'0');
        if self.missing.is_some() || count > self.limits.args_max {
            return None;
        }
        self.args.clear();
        let mut at = 4;
        for _ in 0..count {
            let (length, begin) = short_line(buf, at)?;
            let end = begin + length;
            let bytes_max = buf.len().min(self.limits.request_bytes_max);
            if end + 2 > bytes_max || length > self.limits.bulk_bytes_max {
                return None;
            }
            self.args.push(begin..end);
            at = end + 2;
        }
        Some(at)
    }

    fn scan_array(&mut self, buf: &[u8]) -> Result<ScanOutcome, ProtocolError> {
        let mut missing = match self.missing {
            Some(missing) => missing,
            None => {
                let Some(line) = number_line(buf, 0, ProtocolError::CountLine)? else {
                    return Ok(ScanOutcome::Incomplete);
                };
                let count = line.value.ok_or(ProtocolError::MultibulkLength)?;
                if count <= 0 {
                    return Ok(ScanOutcome::Nothing(line.end));
                }
                let count = usize::try_from(count).map_err(|_| ProtocolError::MultibulkLength)?;
                if count > self.limits.args_max {
                    let restrained = count <= self.full.args_max;
                    return Err(match restrained {
                        true => ProtocolError::RestrainedMultibulkLength,
                        false => ProtocolError::MultibulkLength,
                    });
                }
                self.args.clear();
                (self.at, self.announced) = (line.end, 0);
                count
            }
        };
        while missing > 0 {
            let Some(&first) = buf.get(self.at) else { break };
            if first != b'$' {
                return Err(ProtocolError::ExpectedDollar(first));
            }
            let (length, begin) = match short_line(buf, self.at) {
                Some((length, begin)) if length <= self.limits.bulk_bytes_max && begin <= buf.len() => {
                    (length, begin)
                }
                _ => {
                    let line = number_line(buf, self.at, ProtocolError::LengthLine)?;
                    let Some(line) = line else { break };
                    (self.length(&line)?, line.end)
                }
            };
            let end = begin + length + 2;
            if end > self.limits.request_bytes_max {
                self.missing = Some(missing);
                return Ok(ScanOutcome::TooLarge(end));
            }
            if end > buf.len() {
                self.announced = end;
                break;
            }
            self.args.push(begin..begin + length);
            self.at = end;
            missing -= 1;
        }
        if missing > 0 {
            self.missing = Some(missing);
            return Ok(ScanOutcome::Incomplete);
        }
        (self.missing, self.announced) = (None, 0);
        if self.args.len() > KEPT_ARGS_MAX {
            return Ok(ScanOutcome::LargeRequest(self.at, std::mem::take(&mut self.args)));
        }
        Ok(ScanOutcome::Request(self.at))
    }
}

fn scan_inline(buf: &[u8], bytes_max: usize) -> Result<ScanOutcome, ProtocolError> {
    let Some(newline) = memchr::memchr(b'\n', &buf[..buf.len().min(bytes_max + 1)]) else {
        return if buf.len() > bytes_max {
            Err(ProtocolError::InlineLength)
        } else {
            Ok(ScanOutcome::Incomplete)
        };
    };
    let line = buf[..newline].strip_suffix(b"\r").unwrap_or(&buf[..newline]);
    let args = inline::split(line).ok_or(ProtocolError::InlineQuotes)?;
    if args.is_empty() {
        return Ok(ScanOutcome::Nothing(newline + 1));
    }
    Ok(ScanOutcome::Inline(newline + 1, OwnedRequest::from_args(args)))
}

/// The length of an argument of fewer than a hundred bytes whose line begins at `at`, and where the argument
/// begins.
#[inline(always)]
fn short_line(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match *buf.get(at..)?.first_chunk::<4>()? {
        [b'$', ones @ b'0'..=b'9', b'\r', _] => Some((digit(ones), at + 4)),
        [b'$', tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r'] => {
            Some((digit(tens) * 10 + digit(ones), at + 5))
        }
        _ => None,
    }
}

/// A line `<type><number>\r\n`.
struct NumberLine {
    /// The number; `None` when it is none.
    value: Option<i64>,
    /// The offset after the line's end.
    end: usize,
}

/// Reads the number line whose type byte is at `start`. `None`: its end has not arrived yet.
#[inline]
fn number_line(
    buf: &[u8],
    start: usize,
    too_long: ProtocolError,
) -> Result<Option<NumberLine>, ProtocolError> {
    // The common case, one to three digits, without a search for the line's end.
    let mut value = 0i64;
    for (offset, &byte) in buf[start + 1..].iter().take(4).enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'\r' if offset > 0 && (offset == 1 || buf[start + 1] != b'0') => {
                let end = start + offset + 3;
                return Ok((end <= buf.len()).then_some(NumberLine { value: Some(value), end }));
            }
            _ => break,
        }
    }
    let Some(length) = memchr::memchr(b'\r', &buf[start + 1..]) else {
        return if buf.len() - start > LINE_BYTES_MAX { Err(too_long) } else { Ok(None) };
    };
    let digits = &buf[start + 1..start + 1 + length];
    let end = start + length + 3;
    Ok((end <= buf.len()).then(|| NumberLine { value: super::parse_integer(digits), end }))
}

#[cfg(test)]
mod tests;
