//! The reads that L1 answers most often, for the warm file.

use std::collections::HashSet;

use bytes::Bytes;

use super::shared::SharedCache;
use super::store::Stored;
use crate::protocol::db::DbIndex;
use crate::protocol::resp::cursor;

/// Lines of the index looked at before others may lock them.
const LINES_AT_ONCE: usize = 64;

// === impl SharedCache ===

impl SharedCache {
    /// The reads that were answered most often, the most frequent first: of `keys_max` keys at most, of each
    /// key `per_key_max` at most, and each of `bytes_max` at most; the database, and the command with its
    /// arguments. What was counted so far counts half from here on, so that what was hot once is forgotten in
    /// the end. Whether an entry may be served at this moment does not matter: a name is no less hot while
    /// its node is away.
    pub fn hottest(
        &self,
        keys_max: usize,
        per_key_max: usize,
        bytes_max: usize,
    ) -> Vec<(DbIndex, Vec<Bytes>)> {
        let mut keys: Vec<Bytes> = Vec::new();
        let mut known = HashSet::new();
        for key in self.counted.take_and_halve().into_iter().chain(self.most_hit(keys_max)) {
            if keys.len() < keys_max && known.insert(key.clone()) {
                keys.push(key);
            }
        }
        let reads = keys.iter().flat_map(|key| {
            let replies = self.store.replies(self.store.hash(key), key);
            replies.into_iter().rev().take(per_key_max).map(|stored| {
                let arguments = cursor::strings(&stored.arguments).map(Bytes::copy_from_slice);
                let command = stored.head.command();
                let name = std::iter::once(Bytes::from_static(command.name().as_bytes()));
                (command.database(), name.chain(arguments).collect::<Vec<_>>())
            })
        });
        reads.filter(|(_, read)| read.iter().map(Bytes::len).sum::<usize>() <= bytes_max).collect()
    }

    /// The keys whose places say that they were hit most, up to `count`.
    fn most_hit(&self, count: usize) -> Vec<Bytes> {
        let mut by_hits: [Vec<Bytes>; 4] = Default::default();
        self.each_key(|replies, hits| {
            let keys = &mut by_hits[usize::from(hits) & 3];
            if keys.len() < count
                && let Some(stored) = replies.first()
            {
                keys.push(Bytes::copy_from_slice(&stored.key));
            }
        });
        by_hits.into_iter().rev().flatten().take(count).collect()
    }

    /// Calls `each` with the replies of each key, and how often their place was hit, a few lines at a time.
    fn each_key(&self, mut each: impl FnMut(&[Stored], u8)) {
        let mut from = Some(0);
        while let Some(line) = from {
            from = self.store.look_through(line, LINES_AT_ONCE, &mut each);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cache::CacheLimits;
    use crate::cache::Commit;
    use crate::cache::tests::{LIMITS, fill, get, live, one_worker, served, shared, worker};

    #[test]
    fn the_most_frequent_reads_come_first_and_not_more_than_are_wanted() {
        let limits = CacheLimits { bytes_max: 16 << 20, ..LIMITS };
        let (cache, epoch) = (worker(&shared(limits)), live());
        for number in 0..100_u32 {
            let asked = get(&format!("key:{number}"));
            assert_eq!(fill(&cache, &asked, "value", &epoch), Commit::Kept);
            // One hit of so many is counted by name.
            for _ in 0..3_200 * (number % 10) {
                assert!(served(&cache, &asked).is_some());
            }
        }
        let hottest = cache.shared().hottest(20, 8, 512);
        assert_eq!(hottest.len(), 20);
        for (_, read) in &hottest {
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

    #[test]
    fn what_was_hit_comes_before_what_was_not() {
        let (cache, epoch) = (one_worker(), live());
        for number in 0..50_u32 {
            let asked = get(&format!("key:{number}"));
            assert_eq!(fill(&cache, &asked, "value", &epoch), Commit::Kept);
            if number >= 40 {
                assert!(served(&cache, &asked).is_some());
            }
        }
        let hottest = cache.shared().hottest(10, 8, 512);
        assert_eq!(hottest.len(), 10);
        assert!(
            hottest.iter().all(|(_, read)| read[1].starts_with(b"key:4") && read[1].len() == 6),
            "{hottest:?}"
        );
        assert_eq!(cache.shared().hottest(100, 8, 512).len(), 50);
    }
}
