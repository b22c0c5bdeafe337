//! A request: its raw bytes and where each argument is in them.

use std::array;
use std::cell::OnceCell;
use std::ops::{Deref, Range};

use bytes::Bytes;

/// A request as a client sent it, in the form of a RESP array of bulk strings. Borrowed: nothing is copied.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    raw: &'a [u8],
    args: &'a [Range<usize>],
    copy: RequestCopy<'a>,
}

/// The place of the shared copy of a request.
#[derive(Clone, Copy)]
enum RequestCopy<'a> {
    /// In this cell, once it was needed.
    Cell(&'a OnceCell<OwnedRequest>),
    /// The copy from which this request was made.
    Made(&'a OwnedRequest),
}

/// A request that outlives the buffer it was read into. A clone shares its bytes.
#[derive(Clone, Debug)]
pub struct OwnedRequest {
    raw: Bytes,
    args: ArgRanges,
}

/// Where the arguments of a request lie in it. Few of them are copied as they are, without a loop: each
/// request that goes upstream is cloned.
#[derive(Clone, Debug)]
enum ArgRanges {
    Few { ranges: [Range<usize>; ARGS_INLINE], count: usize },
    Many(Box<[Range<usize>]>),
}

/// Arguments of a request that take no allocation of their own: a SET with an expiry has five.
const ARGS_INLINE: usize = 5;

// === impl Request ===

impl<'a> Request<'a> {
    /// The request in `raw`, whose arguments (command name first) are at `args`, relative to its beginning.
    /// If a copy is needed, it is made once, in `copy`.
    pub fn new(raw: &'a [u8], args: &'a [Range<usize>], copy: &'a OnceCell<OwnedRequest>) -> Request<'a> {
        debug_assert!(!args.is_empty(), "an empty request is no request");
        Request { raw, args, copy: RequestCopy::Cell(copy) }
    }

    /// How many arguments there are, the command's name included; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a request is never empty")]
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Argument `index`, 0 being the command's name; empty when there is none.
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index).map_or(&[], |range| &self.raw[range.clone()])
    }

    /// Where argument `index` lies in [`Request::raw`].
    pub fn range(&self, index: usize) -> Range<usize> {
        self.args.get(index).cloned().unwrap_or(0..0)
    }

    /// All arguments, the command's name first.
    pub fn args(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.args_from(0)
    }

    /// Those from argument `index` on, without a walk over the ones before it.
    pub fn args_from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let raw = self.raw;
        self.args[index.min(self.args.len())..].iter().map(move |range| &raw[range.clone()])
    }

    /// Argument `index` in its form in the request, `$<length>\r\n<bytes>\r\n`; `index` is at least 1.
    pub fn encoded(&self, index: usize) -> &'a [u8] {
        &self.raw[self.range(index - 1).end + 2..self.range(index).end + 2]
    }

    /// All bytes behind the command's name, as in the request.
    #[inline]
    pub fn tail(&self) -> &'a [u8] {
        &self.raw[self.range(0).end + 2..]
    }

    /// The request as it goes upstream: a RESP array of bulk strings.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// A copy that owns its bytes; all callers share one.
    pub fn to_owned(&self) -> OwnedRequest {
        self.copied().clone()
    }

    /// Argument `index` in the copy that owns its bytes; empty when there is none.
    pub fn arg_bytes(&self, index: usize) -> Bytes {
        self.copied().arg_bytes(index)
    }

    fn copied(&self) -> &'a OwnedRequest {
        let copy = || OwnedRequest { raw: Bytes::copy_from_slice(self.raw), args: self.args.into() };
        match self.copy {
            RequestCopy::Cell(cell) => cell.get_or_init(copy),
            RequestCopy::Made(owned) => owned,
        }
    }
}

impl std::fmt::Debug for Request<'_> {
    /// Shows the name and the number of arguments only: keys and values are not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({} with {} arguments)", self.arg(0).escape_ascii(), self.len() - 1)
    }
}

// === impl ArgRanges ===

impl From<&[Range<usize>]> for ArgRanges {
    #[inline]
    fn from(args: &[Range<usize>]) -> ArgRanges {
        match args.len() {
            count @ ..=ARGS_INLINE => {
                let ranges = array::from_fn(|index| args.get(index).cloned().unwrap_or_default());
                ArgRanges::Few { ranges, count }
            }
            _ => ArgRanges::Many(args.into()),
        }
    }
}

impl Deref for ArgRanges {
    type Target = [Range<usize>];

    #[inline]
    fn deref(&self) -> &[Range<usize>] {
        match self {
            ArgRanges::Few { ranges, count } => &ranges[..*count],
            ArgRanges::Many(ranges) => ranges,
        }
    }
}

// === impl OwnedRequest ===

impl OwnedRequest {
    /// The request in `raw`, whose arguments lie at `args`; its bytes are shared, and not copied.
    pub fn shared(raw: Bytes, args: &[Range<usize>]) -> OwnedRequest {
        OwnedRequest { raw, args: args.into() }
    }

    /// The request made of these arguments, the command's name first.
    pub fn from_args<A: AsRef<[u8]>>(args: impl IntoIterator<Item = A>) -> OwnedRequest {
        let mut raw = Vec::new();
        let mut ranges = Vec::new();
        for arg in args {
            let arg = arg.as_ref();
            raw.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            ranges.push(raw.len()..raw.len() + arg.len());
            raw.extend_from_slice(arg);
            raw.extend_from_slice(b"\r\n");
        }
        let header = format!("*{}\r\n", ranges.len());
        raw.splice(0..0, header.bytes());
        for range in &mut ranges {
            *range = range.start + header.len()..range.end + header.len();
        }
        OwnedRequest { raw: raw.into(), args: ranges.as_slice().into() }
    }

    /// The request, borrowed.
    pub fn as_request(&self) -> Request<'_> {
        Request { raw: &self.raw, args: &self.args, copy: RequestCopy::Made(self) }
    }

    /// The bytes as they go upstream, shared, not copied.
    pub fn bytes(&self) -> Bytes {
        self.raw.clone()
    }

    /// Argument `index`, shared, not copied; empty when there is none.
    pub fn arg_bytes(&self, index: usize) -> Bytes {
        self.args.get(index).map_or_else(Bytes::new, |range| self.raw.slice(range.clone()))
    }

    /// What [`Request::tail`] gives, shared, not copied.
    pub fn tail_bytes(&self) -> Bytes {
        self.raw.slice(self.args[0].end + 2..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_given_from_any_of_them_on() {
        let request = OwnedRequest::from_args(["MGET", "a", "", "b"]);
        let from = |index| request.as_request().args_from(index).collect::<Vec<_>>();
        assert_eq!(from(0), [&b"MGET"[..], b"a", b"", b"b"]);
        assert_eq!(from(2), [&b""[..], b"b"]);
        assert!(from(4).is_empty());
        assert!(from(5).is_empty());
    }

    #[test]
    fn a_copy_has_the_arguments_however_many_there_are() {
        for count in 1..=ARGS_INLINE + 2 {
            let args: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let owned = OwnedRequest::from_args(&args);
            let (cell, ranges) = (OnceCell::new(), owned.args.to_vec());
            let request = Request::new(&owned.raw, &ranges, &cell);
            for copy in [request.to_owned(), request.to_owned().clone()] {
                assert_eq!(copy.as_request().args().collect::<Vec<_>>(), request.args().collect::<Vec<_>>());
                assert_eq!(copy.as_request().len(), count);
                assert_eq!(copy.arg_bytes(count), Bytes::new());
            }
        }
    }
}
