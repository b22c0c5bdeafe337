//! Hashes of keys and queries, which no client can predict.
//!
//! All random numbers of the daemon come from `fastrand`, so that the simulator, which seeds it, can repeat a
//! run.

use std::fmt;
use std::hash::{Hash, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// What the hashes of one cache depend on.
pub(super) struct Hashing {
    own: u64,
    shared: SharedSeed,
}

// === impl Hashing ===

impl Hashing {
    pub(super) fn new() -> Hashing {
        Hashing { own: fastrand::u64(..), shared: SharedSeed::from_u64(fastrand::u64(..)) }
    }

    #[inline]
    pub(super) fn hash(&self, value: impl Hash) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.own, &self.shared);
        value.hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashing")
    }
}
