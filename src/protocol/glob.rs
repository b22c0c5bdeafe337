//! Patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a character that is taken
//! literally.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

/// A set of patterns. The patterns that match a name are found without trying each: only those are tried that
/// begin like the name, up to their first special character.
#[derive(Debug, Default)]
pub struct Patterns {
    by_beginning: BTreeMap<Bytes, BTreeSet<Bytes>>,
    /// How many beginnings there are of each length.
    lengths: BTreeMap<usize, usize>,
}

/// How far a search has come: what begins shorter was tried, and of what begins as long, all up to one
/// pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPosition {
    length: usize,
    after: Option<Bytes>,
}

/// Whether `text` as a whole matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    // Where to go on when what follows the last star does not match: the star takes one byte more.
    let mut retry: Option<(&[u8], usize)> = None;
    loop {
        if rest.first() == Some(&b'*') {
            rest = &rest[1..];
            retry = Some((rest, at));
            continue;
        }
        let step = match text.get(at) {
            None if rest.is_empty() => return true,
            None => return false,
            Some(byte) => take_one(rest, *byte),
        };
        (rest, at) = match (step, retry) {
            (Some(after), _) => (after, at + 1),
            (None, Some((after_star, from))) => {
                retry = Some((after_star, from + 1));
                (after_star, from + 1)
            }
            (None, None) => return false,
        };
    }
}

/// What everything begins with that matches `pattern`.
fn beginning(pattern: &Bytes) -> Bytes {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    let length = pattern.iter().position(special).unwrap_or(pattern.len());
    pattern.slice(..length)
}

// === impl Patterns ===

impl Patterns {
    /// Adds a pattern.
    pub fn insert(&mut self, pattern: Bytes) {
        let beginning = beginning(&pattern);
        let length = beginning.len();
        let alike = self.by_beginning.entry(beginning).or_default();
        if alike.is_empty() {
            *self.lengths.entry(length).or_default() += 1;
        }
        alike.insert(pattern);
    }

    /// Takes a pattern out.
    pub fn remove(&mut self, pattern: &Bytes) {
        let beginning = beginning(pattern);
        let Some(alike) = self.by_beginning.get_mut(&beginning) else { return };
        alike.remove(pattern);
        if alike.is_empty() {
            self.by_beginning.remove(&beginning);
            if let Some(count) = self.lengths.get_mut(&beginning.len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&beginning.len());
                }
            }
        }
    }

    /// Tries at most `tries_max` of the patterns that begin as `name` does, from `from` on: gives `found`
    /// each that matches. Where to go on if some are left.
    pub fn search(
        &self,
        name: &[u8],
        from: SearchPosition,
        tries_max: usize,
        mut found: impl FnMut(&Bytes),
    ) -> Option<SearchPosition> {
        let SearchPosition { length, mut after } = from;
        let mut tries = 0;
        for (&length, _) in self.lengths.range(length..=name.len().max(length)) {
            let after = after.take().map_or(Bound::Unbounded, Bound::Excluded);
            let alike = name.get(..length).and_then(|beginning| self.by_beginning.get(beginning));
            for pattern in alike.into_iter().flat_map(|alike| alike.range((after.clone(), Bound::Unbounded)))
            {
                if matches(pattern, name) {
                    found(pattern);
                }
                tries += 1;
                if tries == tries_max {
                    return Some(SearchPosition { length, after: Some(pattern.clone()) });
                }
            }
        }
        None
    }
}

/// Whether something that begins with `prefix` may match `pattern`. It may say so of a pattern that matches
/// nothing.
pub fn may_begin_with(pattern: &[u8], prefix: &[u8]) -> bool {
    let mut rest = pattern;
    for byte in prefix {
        if rest.first() == Some(&b'*') {
            return true;
        }
        match take_one(rest, *byte) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

/// What is left of `pattern`, which does not begin with a star, when its first element matches `byte`.
fn take_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => take_set(rest, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// Matches a byte against the set that follows `[`, and returns the rest of the pattern. A set that does not
/// end takes the rest of the pattern, as in Redis.
fn take_set(set: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut set) = match set {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    loop {
        set = match set {
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (found != negated).then_some(rest),
            [] => return (found != negated).then_some(set),
            [first, b'-', last, rest @ ..] => {
                found |= (*first.min(last)..=*first.max(last)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
        };
    }
}

/// Whether a pattern has no special character.
pub fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| b"*?[".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let cases: [(&str, &str, bool); 24] = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a*b*c", "aXbbYc", true),
            ("*a*b", "aab", true),
            ("?", "", false),
            ("h?llo", "hello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hbllo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("[ab", "b", true),
            ("news.*", "news.art", true),
            ("**", "a", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(50) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5_000).as_bytes()));
    }

    #[test]
    fn what_a_match_may_begin_with_is_known() {
        for (pattern, expected) in [
            ("*", true),
            ("__key*", true),
            ("__key*__:foo", true),
            ("__key?pace@0__:*", true),
            ("__key?ace@0__:*", false),
            ("__key??ace@0__:*", true),
            ("[_]_keyspace@*", true),
            ("[^_]*", false),
            ("__keyevent@*", false),
            ("__keyspace", false),
            ("news", false),
            ("", false),
        ] {
            assert_eq!(may_begin_with(pattern.as_bytes(), b"__keyspace@"), expected, "{pattern}");
        }
    }

    #[test]
    fn the_patterns_that_match_are_found_by_how_they_begin() {
        let all = ["*", "a*", "ab?", "abc", "a[bx]c", "\\*", "abd*", "b*", "abc*d", ""];
        let mut patterns = Patterns::default();
        for pattern in all {
            patterns.insert(Bytes::from(pattern));
            patterns.insert(Bytes::from(pattern));
        }
        for name in ["", "a", "ab", "abc", "abcd", "axc", "*", "b", "zz"] {
            let wanted = all.iter().filter(|pattern| matches(pattern.as_bytes(), name.as_bytes()));
            let wanted: BTreeSet<Bytes> = wanted.map(|pattern| Bytes::from(*pattern)).collect();
            for tries_max in [1, 2, 100] {
                let (mut found, mut place) = (Vec::new(), Some(SearchPosition::default()));
                while let Some(from) = place {
                    let before = found.len();
                    place = patterns
                        .search(name.as_bytes(), from, tries_max, |pattern| found.push(pattern.clone()));
                    assert!(found.len() - before <= tries_max);
                }
                assert_eq!(found.len(), wanted.len(), "{name}: each once");
                assert_eq!(found.into_iter().collect::<BTreeSet<Bytes>>(), wanted, "{name}");
            }
        }
        for pattern in all {
            patterns.remove(&Bytes::from(pattern));
            patterns.remove(&Bytes::from("never there"));
        }
        assert!(patterns.by_beginning.is_empty() && patterns.lengths.is_empty());
    }
}
