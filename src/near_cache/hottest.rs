//! Which reads L1 answers most, as far as that is known without counting every hit.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;

use super::SharedCache;
use super::entry::Entry;

// === impl SharedCache ===

impl SharedCache {
    /// The reads that were answered most often, the most frequent first: of `keys_max` keys at most, of each key
    /// `per_key_max` at most, and each of `bytes_max` at most; the command and its arguments. What was counted so far
    /// counts half from here on, so that what was hot once is forgotten in the end. Whether an entry may be served at
    /// this moment does not matter: a name is no less hot while its node is away.
    pub fn hottest(&self, keys_max: usize, per_key_max: usize, bytes_max: usize) -> Vec<Vec<Bytes>> {
        let mut hottest: Vec<(u32, Arc<Entry>)> = Vec::new();
        for (_, entry) in self.store.iter() {
            hottest.push((entry.cool(), entry));
            if hottest.len() >= 2 * keys_max.max(1) {
                keep(&mut hottest, keys_max);
            }
        }
        keep(&mut hottest, keys_max);
        let kept = hottest.iter().flat_map(|(_, entry)| entry.all().into_iter().rev().take(per_key_max));
        let reads = kept.map(|kept| {
            let arguments = kept.arguments.into_iter().map(Bytes::from);
            std::iter::once(Bytes::from_static(kept.command.as_bytes())).chain(arguments).collect::<Vec<_>>()
        });
        reads.filter(|read| read.iter().map(Bytes::len).sum::<usize>() <= bytes_max).collect()
    }
}

/// Leaves the `count` with the most hits, the most frequent first.
fn keep(hottest: &mut Vec<(u32, Arc<Entry>)>, count: usize) {
    hottest.sort_by_key(|(hits, _)| Reverse(*hits));
    hottest.truncate(count);
}

#[cfg(test)]
mod tests {
    use crate::near_cache::Commit;
    use crate::near_cache::tests::{fill, get, live, one_worker, served};

    #[test]
    fn the_most_frequent_reads_come_first_and_not_more_than_are_wanted() {
        let (cache, epoch) = (one_worker(), live());
        for number in 0..100_u32 {
            let asked = get(&format!("key:{number}"));
            assert_eq!(fill(&cache, &asked, "value", &epoch), Commit::Kept);
            // Hits of the hot set count by the batch.
            for _ in 0..200 * (number % 10) {
                assert!(served(&cache, &asked).is_some());
            }
        }
        let hottest = cache.shared().hottest(20, 8, 512);
        assert_eq!(hottest.len(), 20);
        for read in &hottest {
            assert_eq!(read[0], "get");
            let name = std::str::from_utf8(&read[1]).unwrap();
            assert!(name.ends_with('9') || name.ends_with('8'), "{name}");
        }
        assert!(cache.shared().hottest(20, 8, 4).is_empty(), "all are longer");
        epoch.end();
        assert_eq!(
            cache.shared().hottest(20, 8, 512).len(),
            20,
            "none is served now, and their names are as hot"
        );
    }
}
