//! Which arguments of a request are keys.

use crate::protocol::resp::request::Request;

/// The positions of a command's keys. Positions count arguments; the name of the command is at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It has no key.
    None,
    /// Every `step`-th argument from `first` to `last`; a negative `last` counts from the end, -1 being the
    /// last argument.
    Range {
        /// The first key.
        first: usize,
        /// The last key, or how far it is from the end.
        last: isize,
        /// From one key to the next.
        step: usize,
    },
    /// The argument `at` says how many keys follow it.
    Count {
        /// The position of the number.
        at: usize,
        /// From one key to the next.
        step: usize,
    },
    /// A destination at `dest`, and at `at` how many keys follow.
    DestCount {
        /// The destination.
        dest: usize,
        /// The position of the number.
        at: usize,
    },
    /// XREAD and XREADGROUP: the first half of what follows STREAMS.
    Streams,
    /// SORT: argument 1, and the one after STORE.
    SortStore,
    /// GEORADIUS and GEORADIUSBYMEMBER: argument 1, and the one after STORE or STOREDIST.
    GeoStore,
    /// SORT: the one after STORE alone.
    SortDestination,
    /// GEORADIUS and GEORADIUSBYMEMBER: the one after STORE or STOREDIST alone.
    GeoDestination,
    /// MIGRATE: argument 3, or if that is empty all that follow KEYS.
    Migrate,
    /// Only the server knows.
    Movable,
}

/// The positions of the keys of one request, in ascending order but for a destination, which comes last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPositions {
    next: usize,
    remaining: usize,
    step: usize,
    destination: Option<usize>,
}

/// The arguments do not say which of them are keys. Any node answers such a request with the error it
/// deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the arguments do not say which of them are keys")]
pub struct KeysUnknown;

// === impl Keys ===

impl Keys {
    /// The position of the first key of `request`.
    #[inline]
    pub fn first(self, request: &Request<'_>) -> Option<usize> {
        match self {
            Keys::Range { first, .. } => (first < request.len()).then_some(first),
            _ => self.positions(request).ok()?.next(),
        }
    }

    /// The position of the key of a command that has just one, if `request` has it.
    #[inline]
    pub fn only(self, request: &Request<'_>) -> Option<usize> {
        match self {
            Keys::Range { first, last, .. } => {
                (first as isize == last && first < request.len()).then_some(first)
            }
            _ => None,
        }
    }

    /// The positions of the keys of `request`.
    pub fn positions(self, request: &Request<'_>) -> Result<KeyPositions, KeysUnknown> {
        match self {
            Keys::None => Ok(KeyPositions::evenly(0, 0, 1)),
            Keys::Range { first, last, step } => range(request, first, last, step),
            Keys::Count { at, step } => counted(request, at, step),
            Keys::DestCount { dest, at } => Ok(counted(request, at, 1)?.and(Some(dest))),
            Keys::Streams => streams(request),
            Keys::SortStore => Ok(KeyPositions::evenly(1, 1, 1).and(sort_destination(request))),
            Keys::GeoStore => Ok(KeyPositions::evenly(1, 1, 1).and(geo_destination(request))),
            Keys::SortDestination => Ok(KeyPositions::evenly(0, 0, 1).and(sort_destination(request))),
            Keys::GeoDestination => Ok(KeyPositions::evenly(0, 0, 1).and(geo_destination(request))),
            Keys::Migrate => migrate(request),
            Keys::Movable => Err(KeysUnknown),
        }
    }

    /// Whether a request whose keys follow STREAMS has that option, behind options that are known.
    pub fn names_streams(self, request: &Request<'_>) -> bool {
        stream_options(request).1.is_some()
    }
}

// === impl KeyPositions ===

impl KeyPositions {
    /// The positions in ascending order, a destination too.
    pub fn ascending(self) -> impl Iterator<Item = usize> {
        let KeyPositions { next, destination, .. } = self;
        let is_first = destination.is_some_and(|destination| destination < next);
        let others = KeyPositions { destination: None, ..self };
        let (before, behind) = if is_first { (destination, None) } else { (None, destination) };
        before.into_iter().chain(others).chain(behind)
    }

    fn evenly(first: usize, count: usize, step: usize) -> KeyPositions {
        KeyPositions { next: first, remaining: count, step, destination: None }
    }

    fn and(self, destination: Option<usize>) -> KeyPositions {
        KeyPositions { destination, ..self }
    }
}

impl Iterator for KeyPositions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.remaining == 0 {
            return self.destination.take();
        }
        let position = self.next;
        self.remaining -= 1;
        self.next += self.step;
        Some(position)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.remaining + usize::from(self.destination.is_some());
        (count, Some(count))
    }
}

impl ExactSizeIterator for KeyPositions {}

fn range(request: &Request<'_>, first: usize, last: isize, step: usize) -> Result<KeyPositions, KeysUnknown> {
    let last = if last < 0 { request.len().checked_add_signed(last) } else { usize::try_from(last).ok() };
    match last {
        Some(last) if first <= last && last < request.len() && step > 0 => {
            Ok(KeyPositions::evenly(first, (last - first) / step + 1, step))
        }
        _ => Err(KeysUnknown),
    }
}

fn counted(request: &Request<'_>, at: usize, step: usize) -> Result<KeyPositions, KeysUnknown> {
    let count = number(request.arg(at)).ok_or(KeysUnknown)?;
    let following = request.len().saturating_sub(at + 1);
    match count.checked_mul(step) {
        Some(needed) if needed <= following => Ok(KeyPositions::evenly(at + 1, count, step)),
        _ => Err(KeysUnknown),
    }
}

/// A number of keys as the server reads it when it looks for keys: C's `atoi`. Most commands are stricter
/// once they run, and so their error comes from the node that owns what looked like a key.
fn number(text: &[u8]) -> Option<usize> {
    let text = text.trim_ascii_start();
    let unsigned = text.strip_prefix(b"+").unwrap_or(text);
    let digits = unsigned.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&unsigned[..digits]).ok()?.parse().ok()
}

fn streams(request: &Request<'_>) -> Result<KeyPositions, KeysUnknown> {
    let at = stream_options(request).1.ok_or(KeysUnknown)?;
    let following = request.len() - at - 1;
    match following {
        0 => Err(KeysUnknown),
        odd if odd % 2 == 1 => Err(KeysUnknown),
        even => Ok(KeyPositions::evenly(at + 1, even / 2, 1)),
    }
}

/// The positions of the time after BLOCK and of STREAMS, among the options of XREAD or XREADGROUP.
pub(super) fn stream_options(request: &Request<'_>) -> (Option<usize>, Option<usize>) {
    let mut blocks = None;
    let mut at = 1;
    while at < request.len() {
        let option = request.arg(at);
        at += if option.eq_ignore_ascii_case(b"streams") {
            return (blocks, Some(at));
        } else if option.eq_ignore_ascii_case(b"block") {
            blocks = Some(at + 1);
            2
        } else if option.eq_ignore_ascii_case(b"count") || option.eq_ignore_ascii_case(b"claim") {
            2
        } else if option.eq_ignore_ascii_case(b"group") {
            3
        } else if option.eq_ignore_ascii_case(b"noack") {
            1
        } else {
            break;
        };
    }
    (blocks, None)
}

/// The last STORE counts, as in Redis.
fn sort_destination(request: &Request<'_>) -> Option<usize> {
    let mut destination = None;
    let mut at = 2;
    while at < request.len() {
        let option = request.arg(at);
        at += if option.eq_ignore_ascii_case(b"limit") {
            3
        } else if option.eq_ignore_ascii_case(b"get") || option.eq_ignore_ascii_case(b"by") {
            2
        } else if option.eq_ignore_ascii_case(b"store") && at + 1 < request.len() {
            destination = Some(at + 1);
            2
        } else {
            1
        };
    }
    destination
}

fn geo_destination(request: &Request<'_>) -> Option<usize> {
    let mut destination = None;
    let mut at = 5;
    while at + 1 < request.len() {
        let option = request.arg(at);
        if option.eq_ignore_ascii_case(b"store") || option.eq_ignore_ascii_case(b"storedist") {
            destination = Some(at + 1);
            at += 1;
        }
        at += 1;
    }
    destination
}

fn migrate(request: &Request<'_>) -> Result<KeyPositions, KeysUnknown> {
    if !request.arg(3).is_empty() {
        return Ok(KeyPositions::evenly(3, 1, 1));
    }
    let mut at = 6;
    while at < request.len() {
        let option = request.arg(at);
        at += if option.eq_ignore_ascii_case(b"keys") {
            return range(request, at + 1, -1, 1);
        } else if option.eq_ignore_ascii_case(b"auth2") {
            3
        } else if option.eq_ignore_ascii_case(b"auth") {
            2
        } else {
            1
        };
    }
    Err(KeysUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::resp::request::OwnedRequest;

    fn positions(keys: Keys, request: &str) -> Result<Vec<usize>, KeysUnknown> {
        let request = OwnedRequest::from_args(request.split(' '));
        keys.positions(&request.as_request()).map(Iterator::collect)
    }

    #[test]
    fn ranges_count_from_either_end() {
        let one = Keys::Range { first: 1, last: 1, step: 1 };
        assert_eq!(positions(one, "GET k"), Ok(vec![1]));
        assert_eq!(positions(one, "GET"), Err(KeysUnknown));
        let all_but_one = Keys::Range { first: 1, last: -2, step: 1 };
        assert_eq!(positions(all_but_one, "BLPOP a b 0"), Ok(vec![1, 2]));
        assert_eq!(positions(all_but_one, "BLPOP a"), Err(KeysUnknown));
        assert_eq!(positions(Keys::Range { first: 1, last: -1, step: 2 }, "MSET a 1 b 2"), Ok(vec![1, 3]));
        assert_eq!(positions(Keys::None, "PING"), Ok(vec![]));
        assert_eq!(positions(Keys::Movable, "MODULE.X a b"), Err(KeysUnknown));
    }

    #[test]
    fn counted_keys_must_all_be_there() {
        let eval = Keys::Count { at: 2, step: 1 };
        assert_eq!(positions(eval, "EVAL s 2 a b c"), Ok(vec![3, 4]));
        assert_eq!(positions(eval, "EVAL s 0 a"), Ok(vec![]));
        for lax in ["EVAL s +1 a", "EVAL s 01 a", "EVAL s 1.5 a", "EVAL s 1e308 a"] {
            assert_eq!(positions(eval, lax), Ok(vec![3]), "{lax}");
        }
        for broken in ["EVAL s 3 a b", "EVAL s -1 a", "EVAL s x a", "EVAL s", "EVAL s  a"] {
            assert_eq!(positions(eval, broken), Err(KeysUnknown), "{broken}");
        }
        assert_eq!(positions(eval, "EVAL s 18446744073709551616 a"), Err(KeysUnknown));
        let msetex = Keys::Count { at: 1, step: 2 };
        assert_eq!(positions(msetex, "MSETEX 2 a 1 b 2 EX 5"), Ok(vec![2, 4]));
        assert_eq!(positions(msetex, "MSETEX 2 a 1 b"), Err(KeysUnknown));
        assert_eq!(positions(msetex, &format!("MSETEX {} a 1", usize::MAX)), Err(KeysUnknown));
        let store = Keys::DestCount { dest: 1, at: 2 };
        assert_eq!(positions(store, "ZUNIONSTORE d 2 a b WEIGHTS 1 2"), Ok(vec![3, 4, 1]));
    }

    #[test]
    fn streams_are_half_of_what_follows_the_keyword() {
        assert_eq!(positions(Keys::Streams, "XREAD COUNT 2 STREAMS a b 0 0"), Ok(vec![4, 5]));
        let group = "XREADGROUP GROUP g streams NOACK BLOCK 0 STREAMS a >";
        assert_eq!(positions(Keys::Streams, group), Ok(vec![8]));
        assert_eq!(positions(Keys::Streams, "XREAD STREAMS a b 0"), Err(KeysUnknown));
        assert_eq!(positions(Keys::Streams, "XREAD STREAMS"), Err(KeysUnknown));
        assert_eq!(positions(Keys::Streams, "XREAD COUNT STREAMS a 0"), Err(KeysUnknown));
        assert_eq!(positions(Keys::Streams, "XREAD what STREAMS a 0"), Err(KeysUnknown));
    }

    #[test]
    fn destinations_behind_keywords_are_keys() {
        assert_eq!(positions(Keys::SortStore, "SORT k BY store GET store STORE d"), Ok(vec![1, 7]));
        assert_eq!(positions(Keys::SortStore, "SORT k STORE"), Ok(vec![1]));
        assert_eq!(positions(Keys::SortDestination, "SORT k STORE d"), Ok(vec![3]));
        assert_eq!(positions(Keys::SortDestination, "SORT k"), Ok(vec![]));
        assert_eq!(positions(Keys::GeoDestination, "GEORADIUS k 1 2 3 km STORE d"), Ok(vec![7]));
        assert_eq!(positions(Keys::GeoStore, "GEORADIUS k 1 2 3 km STOREDIST d"), Ok(vec![1, 7]));
        assert_eq!(positions(Keys::GeoStore, "GEORADIUSBYMEMBER k store 3 km STORE d"), Ok(vec![1, 6]));
        assert_eq!(positions(Keys::Migrate, "MIGRATE h 1 k 0 9 REPLACE"), Ok(vec![3]));
        assert_eq!(positions(Keys::Migrate, "MIGRATE h 1  0 9 AUTH keys KEYS a b"), Ok(vec![9, 10]));
        assert_eq!(positions(Keys::Migrate, "MIGRATE h 1  0 9 KEYS"), Err(KeysUnknown));
    }
}
