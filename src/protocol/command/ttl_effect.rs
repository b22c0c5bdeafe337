//! Which keys a write may leave without a time to live: the vocabulary of the table's `ttl_effect` column.

use super::Keys;
use crate::protocol::resp::request::Request;

/// What a command does to the time to live of the keys that it writes: it decides whether `default_ttl`
/// applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlEffect {
    /// It writes nothing, removes something, or writes keys that it does not name.
    Nothing,
    /// It sets or keeps the time to live itself, so a default has no say.
    Explicit,
    /// It writes these keys, which may be left without a time to live.
    Keys(Keys),
    /// SET: it writes the key in argument 1, and may set a time to live by an option.
    Options,
}

/// Where the options of SET begin.
const OPTIONS_AT: usize = 3;

// === impl TtlEffect ===

impl TtlEffect {
    /// The positions of the keys that `request` may leave without a time to live and has no option to say so.
    pub fn positions(self, request: &Request<'_>) -> impl Iterator<Item = usize> + use<> {
        let positions = match self {
            TtlEffect::Keys(keys) => keys.positions(request).ok(),
            TtlEffect::Nothing | TtlEffect::Explicit | TtlEffect::Options => None,
        };
        positions.into_iter().flatten()
    }
}

/// Whether a SET has no option about the time to live, so that one may be added. A SET with an unknown option
/// is left to the server.
pub fn is_silent(request: &Request<'_>) -> bool {
    let mut options = request.args().skip(OPTIONS_AT);
    while let Some(option) = options.next() {
        let is = |name: &&str| option.eq_ignore_ascii_case(name.as_bytes());
        if ["IFEQ", "IFNE", "IFDEQ", "IFDNE"].iter().any(is) {
            if options.next().is_none() {
                return false;
            }
        } else if !["NX", "XX", "GET"].iter().any(is) {
            return false;
        }
    }
    request.len() >= OPTIONS_AT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::command::recognise;
    use crate::protocol::resp::request::OwnedRequest;

    #[test]
    fn a_set_is_silent_unless_it_says_for_how_long() {
        let silent =
            ["SET k v", "SET k v nx", "SET k v XX GET", "SET k EX", "SET k v ifeq EX", "SET k v GET IFNE 5"];
        let other = [
            "SET k v EX 5",
            "SET k v px 5",
            "SET k v NX EXAT 5",
            "SET k v PXAT 5 GET",
            "SET k v KEEPTTL",
            "SET k v get keepttl",
            "SET k v IFEQ",
            "SET k v NEWER 5",
            "SET k",
        ];
        let asked = |text: &&str| is_silent(&OwnedRequest::from_args(text.split(' ')).as_request());
        assert!(silent.iter().all(asked));
        assert!(!other.iter().any(asked));
    }

    #[test]
    fn only_what_is_put_into_a_key_leaves_it_without_an_end() {
        let cases: [(&str, &[&str]); 18] = [
            ("APPEND a v", &["a"]),
            ("MSET a 1 b 2", &["a", "b"]),
            ("COPY a b", &["b"]),
            ("RENAME a b", &["b"]),
            ("LMOVE a b LEFT LEFT", &["b"]),
            ("SUNIONSTORE a b c", &["a"]),
            ("ZUNIONSTORE a 2 b c", &["a"]),
            ("BITOP AND a b c", &["a"]),
            ("SORT a STORE b", &["b"]),
            ("SORT a", &[]),
            ("GEORADIUS a 1 2 3 km STORE b", &["b"]),
            ("XGROUP CREATE a g $ MKSTREAM", &["a"]),
            ("LPOP a", &[]),
            ("DEL a b", &[]),
            ("PERSIST a", &[]),
            ("GETEX a PERSIST", &[]),
            ("GET a", &[]),
            ("EVAL s 1 a", &[]),
        ];
        for (text, wanted) in cases {
            let request = OwnedRequest::from_args(text.split(' '));
            let request = request.as_request();
            let keys = recognise(&request).unwrap().ttl_effect.positions(&request).map(|at| request.arg(at));
            assert!(keys.eq(wanted.iter().map(|key| key.as_bytes())), "{text}");
        }
    }
}
