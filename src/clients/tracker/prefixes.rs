//! The prefixes that clients in BCAST mode and L1 want invalidations for, and the fewest that cover them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

/// Prefixes of keys, none of which begins with another one.
pub type ClientPrefixes = Arc<[Bytes]>;

/// Prefixes that the upstream is asked for at most; beyond that, for all keys.
const PREFIXES_MAX: usize = 1024;

/// Bytes of all prefixes that the upstream is asked for at most; beyond it, for all keys. Each BCAST
/// connection sends all of them whenever they change.
const PREFIX_BYTES_MAX: usize = 64 * 1024;

/// The prefixes, and which client wants each.
#[derive(Debug, Default)]
pub(super) struct PrefixReaders {
    prefixes: BTreeMap<Bytes, BTreeSet<u64>>,
    /// Those of L1, in order.
    of_l1: BTreeSet<Bytes>,
}

// === impl PrefixReaders ===

impl PrefixReaders {
    /// L1 wants these, and no others any more.
    pub(super) fn for_l1(&mut self, prefixes: BTreeSet<Bytes>) {
        self.of_l1 = prefixes;
    }

    /// How many prefixes clients want.
    pub(super) fn len(&self) -> usize {
        self.prefixes.len()
    }

    pub(super) fn add(&mut self, id: u64, prefixes: &[Bytes]) {
        for prefix in prefixes {
            self.prefixes.entry(prefix.clone()).or_default().insert(id);
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.prefixes.retain(|_, ids| {
            ids.remove(&id);
            !ids.is_empty()
        });
    }

    /// The fewest prefixes that cover all.
    pub(super) fn prefixes(&self) -> ClientPrefixes {
        let mut fewest: Vec<Bytes> = Vec::new();
        // In their order a prefix comes right before what begins with it.
        let all: BTreeSet<&Bytes> = self.prefixes.keys().chain(&self.of_l1).collect();
        for prefix in all {
            if fewest.last().is_none_or(|last| !prefix.starts_with(last)) {
                fewest.push(prefix.clone());
            }
        }
        let bytes: usize = fewest.iter().map(Bytes::len).sum();
        if fewest.len() > PREFIXES_MAX || bytes > PREFIX_BYTES_MAX {
            fewest = vec![Bytes::new()];
        }
        fewest.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(prefixes: &[&'static str]) -> Vec<Bytes> {
        prefixes.iter().map(|prefix| Bytes::from_static(prefix.as_bytes())).collect()
    }

    #[test]
    fn the_fewest_prefixes_cover_all() {
        let mut wanted = PrefixReaders::default();
        assert!(wanted.prefixes().is_empty());
        wanted.add(1, &of(&["user:1", "user:2", "order"]));
        assert_eq!(*wanted.prefixes(), of(&["order", "user:1", "user:2"]));
        wanted.for_l1(of(&["ord", "user:10", "x"]).into_iter().collect());
        assert_eq!(*wanted.prefixes(), of(&["ord", "user:1", "user:2", "x"]));
        assert_eq!(wanted.len(), 3, "clients want no more than before");
        wanted.for_l1(BTreeSet::new());
        wanted.add(2, &of(&["user:", "order"]));
        assert_eq!(*wanted.prefixes(), of(&["order", "user:"]));
        wanted.add(3, &of(&[""]));
        assert_eq!(*wanted.prefixes(), of(&[""]));
        wanted.remove(3);
        wanted.remove(2);
        assert_eq!(*wanted.prefixes(), of(&["order", "user:1", "user:2"]));
    }

    #[test]
    fn too_many_prefixes_become_all_keys() {
        let mut wanted = PrefixReaders::default();
        let prefixes: Vec<Bytes> = (0..=PREFIXES_MAX).map(|number| format!("{number:05}").into()).collect();
        wanted.add(1, &prefixes[1..]);
        assert_eq!(wanted.prefixes().len(), PREFIXES_MAX);
        let mut long = PrefixReaders::default();
        long.add(1, &[vec![b'l'; PREFIX_BYTES_MAX].into()]);
        assert_eq!(long.prefixes()[0].len(), PREFIX_BYTES_MAX);
        long.add(1, &["m".into()]);
        assert_eq!(*long.prefixes(), [Bytes::new()], "too much to say");
        wanted.add(1, &prefixes);
        assert_eq!(*wanted.prefixes(), of(&[""]));
    }
}
