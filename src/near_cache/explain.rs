//! What L1 knows of one key, for somebody who asks about it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Entry;
use super::why::{Noted, Why};
use super::{NearCache, SharedCache};
use crate::clock::Nanos;
use crate::key::Slot;

/// What L1 knows of one key.
#[derive(Debug)]
pub struct Explained {
    /// The replies that would be served now.
    pub replies: Vec<KeptReply>,
    /// The bytes of memory that keeping them takes; 0 when there are none.
    pub weight: u32,
    /// The numbers that an entry must carry to be served: of the key's group, and of its slot.
    pub generation: (u32, u32),
    /// Why it was last not answered from here.
    pub noted: Noted,
    /// When L1 was emptied as a whole last.
    pub emptied_at: Option<Nanos>,
}

/// A reply that would be served now.
#[derive(Debug)]
pub struct KeptReply {
    /// The command that it answers.
    pub command: &'static str,
    /// What follows that, the key among it.
    pub arguments: Vec<Vec<u8>>,
    /// Since when it has been kept.
    pub since: Nanos,
    /// When its time is over.
    pub deadline: Nanos,
    /// The number of the epoch that it carries.
    pub epoch: u64,
    /// Until when that may be trusted, as things are now.
    pub lease_until: Nanos,
    /// Bytes of the reply.
    pub bytes: usize,
}

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// What is known of `key`, as of `now`. Changes nothing. What other workers have in their hot sets, and the store not
    /// any more, is not seen.
    pub fn explain(&self, key: &[u8], slot: Slot, now: Nanos) -> Explained {
        let hash = self.shared.hashing.hash(key);
        let is_it = |entry: &Arc<Entry>| *entry.key() == *key;
        let stored = self.shared.store.get(hash).filter(is_it);
        let hot = self.hot.borrow().get(hash).cloned().filter(is_it);
        self.shared.explain(stored.as_deref(), hot.as_deref(), hash, slot, now)
    }
}

// === impl SharedCache ===

impl SharedCache {
    /// Remembers why a read of `key` is not answered from here.
    pub fn note(&self, key: &[u8], why: Why) {
        self.reasons.note(self.hashing.hash(key), why);
    }

    fn explain(
        &self,
        stored: Option<&Entry>,
        hot: Option<&Entry>,
        hash: u64,
        slot: Slot,
        now: Nanos,
    ) -> Explained {
        let entry = stored.or(hot);
        let replies = entry.filter(|entry| self.generations.is_current(&entry.generation));
        let replies = replies.map(|entry| entry.kept(now)).unwrap_or_default();
        let noted = match stored.filter(|_| replies.is_empty()) {
            // It is there, and not served: what it carries says why. Of one that only a hot set still has it was
            // remembered when it went.
            Some(entry) => Noted::Reason(self.why_dead(entry, now), now),
            None => self.reasons.of(hash),
        };
        let weight = if replies.is_empty() { 0 } else { entry.map_or(0, |entry| entry.weight()) };
        let emptied_at = Some(self.emptied_at.load(Ordering::Relaxed)).filter(|at| *at > 0);
        let generation = self.generations.of(hash, slot).numbers();
        Explained { replies, weight, generation, noted, emptied_at }
    }

    /// Drops the entries of all keys that begin with `prefix`; how many of those that went would have been served at `now`.
    /// What is being read meanwhile may be kept.
    pub fn flush(&self, prefix: &[u8], now: Nanos) -> u64 {
        let named = self.store.iter().filter(|(_, entry)| entry.key().starts_with(prefix));
        named
            .filter(|(_, entry)| {
                let is_live = self.is_live(entry, now);
                self.invalidate_key(entry.key(), Why::Flushed) && is_live
            })
            .count() as u64
    }

    /// How many entries would be served at `now`: looks at each.
    pub fn live(&self, now: Nanos) -> u64 {
        self.store.iter().filter(|(_, entry)| self.is_live(entry, now)).count() as u64
    }

    fn is_live(&self, entry: &Entry, now: Nanos) -> bool {
        self.generations.is_current(&entry.generation) && entry.remains(now).is_ok()
    }

    /// Why nothing of an entry may be served.
    pub(super) fn why_dead(&self, entry: &Entry, now: Nanos) -> Why {
        match self.generations.changed(&entry.generation) {
            Some(why) => why,
            None if entry.is_over(now) => Why::Expired,
            None => Why::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::invalidation::Invalidation;
    use crate::near_cache::tests::{
        Asked, Cache, LIMITS, change, fill, get, live, miss, one_worker, reply, served,
    };
    use crate::near_cache::tests::{commit, shared, worker};
    use crate::near_cache::{CacheLimits, Commit, Lifetime};
    use crate::node::Epoch;

    fn explained(cache: &Cache, asked: &Asked) -> Explained {
        cache.explain(asked.key(), asked.slot(), clock::now())
    }

    #[track_caller]
    fn assert_why(cache: &Cache, asked: &Asked, wanted: Why) {
        let explained = explained(cache, asked);
        assert!(explained.replies.is_empty());
        assert!(matches!(explained.noted, Noted::Reason(why, _) if why == wanted), "{:?}", explained.noted);
    }

    #[test]
    fn what_is_kept_has_all_that_its_life_depends_on() {
        let (cache, asked, epoch) = (one_worker(), get("key"), live());
        let before = clock::now();
        assert_eq!(fill(&cache, &asked, "value", &epoch), Commit::Kept);
        let explained = explained(&cache, &asked);
        assert_eq!(explained.noted, Noted::Nothing);
        assert!(explained.weight > 0);
        let [kept] = &explained.replies[..] else { panic!("{explained:?}") };
        assert_eq!((kept.command, &kept.arguments[..]), ("get", &[b"key".to_vec()][..]));
        assert_eq!((kept.epoch, kept.lease_until), (epoch.number(), epoch.lease_until()));
        assert!(kept.since >= before && kept.deadline > kept.since);
        assert!(served(&cache, &asked).is_some());
    }

    #[test]
    fn why_a_reply_is_not_kept() {
        let (cache, asked) = (one_worker(), get("key"));
        let ticket = cache.ticket(&miss(&cache, &asked), live());
        change(&cache, &["key"]);
        assert_eq!(commit(&cache, &asked, &ticket, "value"), Commit::Killed);
        assert_why(&cache, &asked, Why::Changed);

        let epoch = live();
        let ticket = cache.ticket(&miss(&cache, &asked), epoch.clone());
        epoch.end();
        assert_eq!(commit(&cache, &asked, &ticket, "value"), Commit::Killed);
        assert_why(&cache, &asked, Why::EpochEnded);

        let ticket = cache.ticket(&miss(&cache, &asked), live());
        let over = Lifetime::Bounded(Duration::ZERO);
        let commit = cache.commit(&ticket, &asked.question(), &reply("value"), over, clock::now());
        assert_eq!(commit, Commit::NotKept);
        assert_why(&cache, &asked, Why::TooShort);

        assert_eq!(fill(&cache, &asked, &"x".repeat(1 << 18), &live()), Commit::NotKept);
        assert_why(&cache, &asked, Why::TooLarge);
    }

    #[test]
    fn why_a_reply_is_not_kept_beside_that_of_another_worker() {
        let (shared, asked, epoch) = (shared(LIMITS), get("key"), live());
        let (one, other) = (worker(&shared), worker(&shared));
        let ticket = one.ticket(&miss(&one, &asked), epoch.clone());
        assert_eq!(fill(&other, &asked, "newer", &epoch), Commit::Kept);
        assert_eq!(commit(&one, &asked, &ticket, "older"), Commit::Killed);
        assert_why(&one, &asked, Why::Differed);
    }

    #[test]
    fn why_what_is_there_is_not_served() {
        let limits = CacheLimits { ttl: Duration::from_millis(1), ..LIMITS };
        let cache = worker(&shared(limits));
        assert_eq!(fill(&cache, &get("brief"), "value", &live()), Commit::Kept);
        std::thread::sleep(Duration::from_millis(2));
        assert_why(&cache, &get("brief"), Why::Expired);
        assert!(served(&cache, &get("brief")).is_none());
        assert_why(&cache, &get("brief"), Why::Expired);

        let (cache, epoch) = (one_worker(), live());
        let (moved, lost) = (get("moved"), get("lost"));
        assert_eq!(fill(&cache, &moved, "value", &live()), Commit::Kept);
        assert_eq!(fill(&cache, &lost, "value", &epoch), Commit::Kept);
        let slots = Invalidation::Slots(vec![moved.slot()]);
        cache.shared().invalidate(&slots, &cache.stats);
        epoch.end();
        for _ in 0..2 {
            assert_why(&cache, &moved, Why::Moved);
            assert_why(&cache, &lost, Why::Lost);
            // A lookup remembers the same.
            assert!(served(&cache, &moved).is_none() && served(&cache, &lost).is_none());
        }
    }

    #[test]
    fn a_key_that_another_of_its_group_took_along_says_so() {
        let (cache, epoch) = (one_worker(), live());
        let key = get("key");
        assert_eq!(fill(&cache, &key, "value", &epoch), Commit::Kept);
        // Until one is met that shares its group.
        let mut others = 0..10_000_000_u64;
        let met = others.any(|number| {
            change(&cache, &[&format!("other:{number}")]);
            explained(&cache, &key).replies.is_empty()
        });
        assert!(met);
        assert_why(&cache, &key, Why::Neighbour);
    }

    #[test]
    fn explaining_changes_nothing() {
        let (cache, asked) = (one_worker(), get("key"));
        let ticket = cache.ticket(&miss(&cache, &asked), Epoch::begin(u64::MAX));
        for _ in 0..3 {
            assert_eq!(explained(&cache, &asked).noted, Noted::Nothing);
        }
        assert_eq!(commit(&cache, &asked, &ticket, "value"), Commit::Kept);
    }
}
