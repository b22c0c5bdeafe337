//! NEARSIDE EXPLAIN: what L1 knows of one key.

use std::sync::atomic::Ordering;

use super::generation::Generation;
use super::miss_reason::{LastReason, MissReason};
use super::near_cache::NearCache;
use super::shared::SharedCache;
use super::store::Stored;
use crate::clock::Nanos;
use crate::protocol::db::DbIndex;
use crate::protocol::key::Slot;
use crate::protocol::resp::cursor;

/// What L1 knows of one key.
#[derive(Debug)]
pub struct Explained {
    /// The replies that L1 would serve now.
    pub replies: Vec<KeptReply>,
    /// The bytes of memory that keeping them takes; 0 when there are none.
    pub weight: u64,
    /// The numbers that an entry must carry to be served: of the key's line in the index, and of its slot.
    pub generation: (u32, u32),
    /// The reason of the last miss.
    pub noted: LastReason,
    /// The time when all of L1 was last emptied.
    pub emptied_at: Option<Nanos>,
}

/// A reply that L1 would serve now.
#[derive(Debug)]
pub struct KeptReply {
    /// The command that it answers.
    pub command: &'static str,
    /// Its arguments, the key first.
    pub arguments: Vec<Vec<u8>>,
    /// Its deadline.
    pub deadline: Nanos,
    /// The number of the epoch that it carries.
    pub epoch: u64,
    /// The end of the lease of this epoch.
    pub lease_until: Nanos,
    /// Bytes of the reply.
    pub bytes: usize,
}

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Explains `key` of `database` as of `now`. Changes nothing.
    pub fn explain(&self, key: &[u8], slot: Slot, database: DbIndex, now: Nanos) -> Explained {
        self.shared.explain(key, slot, database, now)
    }
}

// === impl SharedCache ===

impl SharedCache {
    /// Remembers why a read of `key` is a miss.
    pub fn note(&self, key: &[u8], why: MissReason) {
        self.reasons.note(self.store.hash(key), why);
    }

    fn explain(&self, key: &[u8], slot: Slot, database: DbIndex, now: Nanos) -> Explained {
        let hash = self.store.hash(key);
        let stored = self.store.replies(hash, key);
        let stored = stored.into_iter().filter(|stored| stored.head.command().database() == database);
        let (live, dead): (Vec<_>, Vec<_>) =
            stored.partition(|stored| self.why_dead(stored.head, now).is_none());
        let noted = match dead.first().filter(|_| live.is_empty()) {
            // There is an entry, which is not served: its head says why.
            Some(stored) => self
                .why_dead(stored.head, now)
                .map_or(LastReason::Nothing, |why| LastReason::Reason(why, now)),
            None => self.reasons.of(hash),
        };
        let weight = live.iter().map(|stored| stored.weight as u64).sum();
        let replies = live.iter().filter_map(|stored| self.kept(stored, now)).collect();
        let emptied_at = Some(self.emptied_at.load(Ordering::Relaxed)).filter(|at| *at > 0);
        let Generation { key, moves, .. } = self.generation(hash, slot);
        Explained { replies, weight, generation: (key, moves), noted, emptied_at }
    }

    fn kept(&self, stored: &Stored, now: Nanos) -> Option<KeptReply> {
        let epoch = self.store.epoch(stored.head.epoch_index())?;
        Some(KeptReply {
            command: stored.head.command().name(),
            arguments: cursor::strings(&stored.arguments).map(<[u8]>::to_vec).collect(),
            deadline: stored.head.deadline_after(now),
            epoch: epoch.number(),
            lease_until: epoch.lease_until(),
            bytes: stored.reply_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::tests::{
        Asked, Cache, LIMITS, change, fill, get, live, miss, odd_hget, one_worker, reply, served,
    };
    use crate::cache::tests::{commit, shared, worker};
    use crate::cache::{CacheLimits, Commit, Lifetime};
    use crate::clock;
    use crate::invalidation::Invalidation;
    use crate::node::Epoch;

    fn explained(cache: &Cache, asked: &Asked) -> Explained {
        cache.explain(asked.key(), asked.slot(), DbIndex::default(), clock::now())
    }

    #[track_caller]
    fn assert_why(cache: &Cache, asked: &Asked, wanted: MissReason) {
        let explained = explained(cache, asked);
        assert!(explained.replies.is_empty());
        assert!(
            matches!(explained.noted, LastReason::Reason(why, _) if why == wanted),
            "{:?}",
            explained.noted
        );
    }

    #[test]
    fn what_is_kept_has_all_that_its_life_depends_on() {
        let (cache, asked, epoch) = (one_worker(), get("key"), live());
        assert_eq!(fill(&cache, &asked, "value", &epoch), Commit::Kept);
        let explained = explained(&cache, &asked);
        assert_eq!(explained.noted, LastReason::Nothing);
        assert!(explained.weight > 0);
        let [kept] = &explained.replies[..] else { panic!("{explained:?}") };
        assert_eq!((kept.command, &kept.arguments[..]), ("get", &[b"key".to_vec()][..]));
        assert_eq!((kept.epoch, kept.lease_until), (epoch.number(), epoch.lease_until()));
        assert!(kept.deadline > clock::now());
        assert!(served(&cache, &asked).is_some());
    }

    #[test]
    fn why_a_reply_is_not_kept() {
        let (cache, asked) = (one_worker(), get("key"));
        let ticket = cache.ticket(&miss(&cache, &asked), live());
        change(&cache, &["key"]);
        assert_eq!(commit(&cache, &asked, &ticket, "value"), Commit::Killed);
        assert_why(&cache, &asked, MissReason::Changed);

        let epoch = live();
        let ticket = cache.ticket(&miss(&cache, &asked), epoch.clone());
        epoch.end();
        assert_eq!(commit(&cache, &asked, &ticket, "value"), Commit::Killed);
        assert_why(&cache, &asked, MissReason::EpochEnded);

        let ticket = cache.ticket(&miss(&cache, &asked), live());
        let over = Lifetime::Bounded(Duration::ZERO);
        let commit = cache.commit(&ticket, &asked.query(), &reply("value"), over, clock::now());
        assert_eq!(commit, Commit::NotKept);
        assert_why(&cache, &asked, MissReason::TooShort);

        assert_eq!(fill(&cache, &asked, &"x".repeat(1 << 18), &live()), Commit::NotKept);
        assert_why(&cache, &asked, MissReason::TooLarge);

        for tail in ["$3\r\nkeyXX$1\r\nf\r\n", "$3\rXkey\r\n$1\r\nf\r\n"] {
            let odd = odd_hget("key", tail);
            assert_eq!(fill(&cache, &odd, "value", &live()), Commit::NotKept);
            assert_why(&cache, &odd, MissReason::UnusualRequest);
        }
        // Nobody has to find these again by another argument, or they are those of the others.
        for tail in ["$3\r\nkeyXX", "$3\r\nkey\r\n$1\r\nfXX"] {
            assert_eq!(fill(&cache, &odd_hget("key", tail), "value", &live()), Commit::Kept);
            change(&cache, &["key"]);
            assert!(served(&cache, &odd_hget("key", tail)).is_none());
        }
    }

    #[test]
    fn why_a_reply_is_not_kept_beside_that_of_another_worker() {
        let (shared, asked, epoch) = (shared(LIMITS), get("key"), live());
        let (one, other) = (worker(&shared), worker(&shared));
        let ticket = one.ticket(&miss(&one, &asked), epoch.clone());
        assert_eq!(fill(&other, &asked, "newer", &epoch), Commit::Kept);
        assert_eq!(commit(&one, &asked, &ticket, "older"), Commit::Killed);
        assert_why(&one, &asked, MissReason::Differed);
    }

    #[test]
    fn why_what_is_there_is_not_served() {
        let limits = CacheLimits { ttl: Duration::from_millis(40), ..LIMITS };
        let cache = worker(&shared(limits));
        assert_eq!(fill(&cache, &get("brief"), "value", &live()), Commit::Kept);
        std::thread::sleep(Duration::from_millis(42));
        assert_why(&cache, &get("brief"), MissReason::Expired);
        assert!(served(&cache, &get("brief")).is_none());
        assert_why(&cache, &get("brief"), MissReason::Expired);

        let (cache, epoch) = (one_worker(), live());
        let (moved, lost) = (get("moved"), get("lost"));
        assert_eq!(fill(&cache, &moved, "value", &live()), Commit::Kept);
        assert_eq!(fill(&cache, &lost, "value", &epoch), Commit::Kept);
        let slots = Invalidation::Slots(vec![moved.slot()]);
        cache.shared().invalidate(&slots, &cache.stats);
        epoch.end();
        for _ in 0..2 {
            assert_why(&cache, &moved, MissReason::Moved);
            assert_why(&cache, &lost, MissReason::Lost);
            // A lookup remembers the same.
            assert!(served(&cache, &moved).is_none() && served(&cache, &lost).is_none());
        }
    }

    #[test]
    fn explaining_changes_nothing() {
        let (cache, asked) = (one_worker(), get("key"));
        let ticket = cache.ticket(&miss(&cache, &asked), Epoch::begin(u64::MAX));
        for _ in 0..3 {
            assert_eq!(explained(&cache, &asked).noted, LastReason::Nothing);
        }
        assert_eq!(commit(&cache, &asked, &ticket, "value"), Commit::Kept);
    }
}
