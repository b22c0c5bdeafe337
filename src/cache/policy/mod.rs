//! Policies: rules for the keys with one prefix, where these differ from the settings for all keys.
//!
//! The longest prefix of a key decides alone: policies do not add up. A miss asks for the policy of its key,
//! a hit never does, and a write does only if some policy has a default time to live. When policies change,
//! the daemon drops what L1 has kept under them (`daemon/reload.rs`).
//!
//! Must never know: connections, clients, or the text of the configuration, which `config/policy.rs` reads.
//! Begin with `mod.rs` (what a policy says), then `current.rs` (the policies that hold now).

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

mod current;
mod scopes;

pub use current::CurrentPolicies;
pub use scopes::KeyScopes;

/// Policies at most.
pub const POLICIES_MAX: usize = 256;

/// Prefixes at most that the servers are asked for because of policies with `tracking = "broadcast"`.
pub const BROADCAST_PREFIXES_MAX: usize = 1024;

/// Bytes of a prefix at most.
pub const PREFIX_BYTES_MAX: usize = 512;

/// The rules for the keys of one prefix, as clients know them ([`KeyScopes`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The keys that begin with this; empty for the policy of all keys that have no other.
    pub prefix: Box<[u8]>,
    /// Whether their replies may be kept in L1.
    pub cache: bool,
    /// On which terms they are kept.
    pub terms: CacheTerms,
    /// How long a key lives that a write would leave without a time to live.
    pub default_ttl: Option<Duration>,
}

/// On which terms a reply is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheTerms {
    /// How long at most, in place of `l1_ttl`.
    pub ttl: Option<Duration>,
    /// How much of that time is taken off at most, at random, in thousandths.
    pub ttl_jitter: u16,
    /// How long the absence of a key is remembered at most, in place of `negative_ttl`.
    pub negative_ttl: Option<Duration>,
    /// What else ends it.
    pub mode: TtlMode,
    /// How invalidations are asked for.
    pub tracking: TrackingMode,
    /// The largest value that is kept, in bytes.
    pub value_max: Option<usize>,
    /// Whether keys are kept that are changed more often than read, if that differs from the setting for all
    /// keys.
    pub admission: Option<AdmissionRule>,
}

/// Whether a key is kept that is invalidated more often than it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdmissionRule {
    /// Not kept until that changes.
    #[default]
    Adaptive,
    /// Kept like any other.
    Always,
}

/// Whether the server is asked for the TTL of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TtlMode {
    /// The server is asked, and no reply is kept longer than its key lives.
    #[default]
    Exact,
    /// The server is not asked: a reply may be served after its key expired, until the server removes the key
    /// and pushes an invalidation.
    Capped,
}

/// How the server knows that nearside wants the invalidations of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackingMode {
    /// The server remembers each read of the key.
    #[default]
    ByKey,
    /// The server pushes every change below the prefix, read or not, and remembers nothing.
    Broadcast,
}

/// Why the replies about a key are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncached {
    /// Its policy says so.
    Policy,
}

/// All policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// In the order of their prefixes.
    sorted: Box<[Policy]>,
    /// For each, the policy of the longest other prefix that it begins with.
    parents: Box<[Option<usize>]>,
    /// The policy of keys that have no other.
    fallback: Policy,
    /// What is no part of the names that the prefixes are compared with.
    scopes: KeyScopes,
}

// === impl Policy ===

impl Policy {
    /// The policy of the keys that begin with `prefix`, which says nothing yet.
    pub fn new(prefix: &[u8]) -> Policy {
        Policy { prefix: prefix.into(), cache: true, terms: CacheTerms::default(), default_ttl: None }
    }

    /// Whether the servers are asked for all changes below its prefix.
    pub fn is_broadcast(&self) -> bool {
        self.cache && self.terms.tracking == TrackingMode::Broadcast
    }

    /// Why the replies about its keys are not kept, if they are not.
    pub fn uncached(&self) -> Option<Uncached> {
        (!self.cache).then_some(Uncached::Policy)
    }
}

impl fmt::Display for Uncached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Uncached::Policy => "its policy says cache = false",
        })
    }
}

// === impl Policies ===

impl Policies {
    /// All of `policies`, whose prefixes differ.
    pub fn new(mut policies: Vec<Policy>) -> Policies {
        policies.sort_by(|one, other| one.prefix.cmp(&other.prefix));
        let mut parents = Vec::with_capacity(policies.len());
        for (at, policy) in policies.iter().enumerate() {
            parents.push(longest(&policies, &parents, at.checked_sub(1), &policy.prefix));
        }
        let (sorted, parents, fallback) = (policies.into(), parents.into(), Policy::new(b""));
        Policies { sorted, parents, fallback, scopes: KeyScopes::default() }
    }

    /// The policies for keys in `scopes`, and for keys in none.
    pub fn within(self, scopes: KeyScopes) -> Policies {
        Policies { scopes, ..self }
    }

    /// What is no part of the names that the prefixes are compared with.
    pub fn scopes(&self) -> &KeyScopes {
        &self.scopes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The prefixes with `tracking = "broadcast"`, as the servers know them.
    pub fn broadcast(&self) -> impl Iterator<Item = Bytes> {
        let broadcast = self.sorted.iter().filter(|policy| policy.is_broadcast());
        broadcast.flat_map(|policy| self.scopes.all_with(&policy.prefix))
    }

    /// Whether there is such a prefix.
    pub fn broadcasts(&self) -> bool {
        self.broadcast().next().is_some()
    }

    /// Whether any has a default time to live.
    pub fn give_ttl(&self) -> bool {
        self.sorted.iter().any(|policy| policy.default_ttl.is_some())
    }

    /// The policy of `key`, which is as the servers know it: the one with the longest prefix that it begins
    /// with behind its scope.
    pub fn of(&self, key: &[u8]) -> &Policy {
        let key = self.scopes.bare(key);
        // What stands between a prefix of the key and the key in their order begins with that prefix as well.
        // So the longest one is the last that is not behind the key, or one that this begins with.
        let behind = self.sorted.partition_point(|policy| *policy.prefix <= *key);
        let found = longest(&self.sorted, &self.parents, behind.checked_sub(1), key);
        found.map_or(&self.fallback, |at| &self.sorted[at])
    }
}

/// The longest prefix that `key` begins with, of the one at `next` and those that it begins with itself.
fn longest(
    sorted: &[Policy],
    parents: &[Option<usize>],
    mut next: Option<usize>,
    key: &[u8],
) -> Option<usize> {
    while let Some(at) = next.filter(|at| !key.starts_with(&sorted[*at].prefix)) {
        next = parents[at];
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(prefixes: &[&str]) -> Policies {
        Policies::new(prefixes.iter().map(|prefix| Policy::new(prefix.as_bytes())).collect())
    }

    #[test]
    fn the_longest_prefix_of_a_key_decides() {
        let policies = policies(&["user:", "a", "user:1:", "user:10", "ab", "abcd", "\u{ff}"]);
        let cases = [
            ("user:", "user:"),
            ("user:2", "user:"),
            ("user:1", "user:"),
            ("user:1:name", "user:1:"),
            ("user:10", "user:10"),
            ("user:1/", "user:"),
            ("user;", ""),
            ("use", ""),
            ("", ""),
            ("abce", "ab"),
            ("abcd", "abcd"),
            ("az", "a"),
            ("\u{ff}x", "\u{ff}"),
            ("zzz", ""),
        ];
        for (key, wanted) in cases {
            assert_eq!(&*policies.of(key.as_bytes()).prefix, wanted.as_bytes(), "{key}");
        }
    }

    #[test]
    fn a_scope_is_no_part_of_what_is_matched() {
        let mut user = Policy::new(b"user:");
        user.terms.tracking = TrackingMode::Broadcast;
        let scopes = KeyScopes::new(vec![Bytes::from_static(b"app:"), Bytes::from_static(b"app@1:")]);
        let policies = Policies::new(vec![user, Policy::new(b"app:")]).within(scopes);
        for (key, wanted) in [
            ("app:user:1", "user:"),
            ("app@1:user:1", "user:"),
            ("user:1", "user:"),
            ("app@2:user:1", ""),
            ("app:app:x", "app:"),
            ("app:x", ""),
        ] {
            assert_eq!(&*policies.of(key.as_bytes()).prefix, wanted.as_bytes(), "{key}");
        }
        let broadcast: Vec<Bytes> = policies.broadcast().collect();
        assert_eq!(broadcast, ["user:", "app:user:", "app@1:user:"]);
    }

    #[test]
    fn it_is_found_as_by_looking_at_all() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut word = |length: std::ops::Range<usize>| -> Vec<u8> {
            let length = random.usize(length);
            (0..length).map(|_| random.u8(b'a'..=b'c')).collect()
        };
        for _ in 0..200 {
            let mut prefixes: Vec<Vec<u8>> = (0..12).map(|_| word(1..5)).collect();
            prefixes.sort();
            prefixes.dedup();
            let policies = Policies::new(prefixes.iter().map(|prefix| Policy::new(prefix)).collect());
            for _ in 0..50 {
                let key = word(0..7);
                let matching = prefixes.iter().filter(|prefix| key.starts_with(prefix));
                let wanted = matching.max_by_key(|prefix| prefix.len()).cloned().unwrap_or_default();
                assert_eq!(*policies.of(&key).prefix, *wanted, "{key:?} of {prefixes:?}");
            }
        }
    }
}
