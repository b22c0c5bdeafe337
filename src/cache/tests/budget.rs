//! What is kept within the budget, and what goes.

use super::*;
use crate::protocol::db::DbIndex;

#[test]
fn the_budget_of_bytes_holds() {
    let limits = CacheLimits { bytes_max: 256 << 10, ..LIMITS };
    let evictions: Arc<WorkerStats> = Arc::default();
    let shared = Arc::new(SharedCache::new(limits, evictions.clone()));
    let (cache, epoch, value) = (worker(&shared), live(), "v".repeat(1_000));
    for number in 0..5_000 {
        fill(&cache, &get(&format!("key:{number}")), &value, &epoch);
    }
    let (entries, bytes) = shared.size();
    assert!(bytes <= limits.bytes_max, "{bytes} of {}", limits.bytes_max);
    assert!(bytes > limits.bytes_max / 2, "the room is used: {bytes}");
    assert!(bytes >= entries * 1_000, "{entries} entries cannot take {bytes} bytes");
    assert!(evictions.l1_evictions.get() >= 5_000 - entries - cache.stats.l1_misses.get().min(1));
}

#[test]
fn an_entry_that_is_too_large_is_not_kept() {
    let limits = CacheLimits { entry_bytes_max: 4_096, several_workers: false, ..LIMITS };
    let (cache, epoch) = (worker(&shared(limits)), live());
    assert_eq!(fill(&cache, &get("large"), &"v".repeat(4_096), &epoch), Commit::NotKept);
    assert_eq!(served(&cache, &get("large")), None);
    assert_eq!(fill(&cache, &get("small"), &"v".repeat(1_024), &epoch), Commit::Kept);
}

#[test]
fn only_so_many_replies_are_kept_of_one_key_and_the_oldest_go_first() {
    let (cache, epoch) = (one_worker(), live());
    let fields: Vec<Asked> =
        (0..REPLIES_MAX + 50).map(|field| asked("hget", &["h", &field.to_string()])).collect();
    for field in &fields {
        assert_eq!(fill(&cache, field, "value", &epoch), Commit::Kept);
    }
    let kept: Vec<bool> = fields.iter().map(|field| served(&cache, field).is_some()).collect();
    assert!(kept[..50].iter().all(|kept| !kept), "the oldest went");
    assert!(kept[50..].iter().all(|kept| *kept), "the newest stay");
    change(&cache, &["h"]);
    assert!(fields.iter().all(|field| served(&cache, field).is_none()));
}

#[test]
fn of_one_key_only_as_many_large_replies_are_kept_as_its_lines_have_places() {
    let (cache, epoch) = (one_worker(), live());
    let fields: Vec<Asked> = (0..60).map(|field| asked("hget", &["h", &field.to_string()])).collect();
    for field in &fields {
        assert_eq!(fill(&cache, field, &"v".repeat(2_000), &epoch), Commit::Kept);
    }
    let kept = fields.iter().filter(|field| served(&cache, field).is_some()).count();
    assert!((14..=21).contains(&kept), "{kept}");
    assert_eq!(fill(&cache, &get("other"), "value", &epoch), Commit::Kept);
    assert_eq!(served(&cache, &get("other")).as_deref(), Some("value"));
    change(&cache, &["h"]);
    assert!(fields.iter().all(|field| served(&cache, field).is_none()));
}

#[tokio::test]
async fn a_sweep_gives_back_what_can_never_be_served_again() {
    let shared = shared(LIMITS);
    let (cache, lost, present) = (worker(&shared), live(), live());
    fill(&cache, &get("lost"), "value", &lost);
    fill(&cache, &get("{moved}"), "value", &present);
    fill(&cache, &get("stays"), "value", &present);
    lost.end();
    shared.invalidate(&Invalidation::Slots(vec![Slot::of(b"moved")]), &cache.stats);
    assert_eq!(shared.size().0, 3, "nothing was looked at yet");
    shared.sweep(&cache.stats).await;
    assert_eq!(shared.size().0, 1);
    assert_eq!(served(&cache, &get("stays")).as_deref(), Some("value"));
}

#[tokio::test]
async fn a_sweep_gives_back_the_memory_of_what_has_gone() {
    let shared = shared(LIMITS);
    let (cache, lost, present) = (worker(&shared), live(), live());
    for number in 0..2_000 {
        let epoch = if number % 10 == 0 { &present } else { &lost };
        assert_eq!(fill(&cache, &get(&format!("key:{number}")), &"v".repeat(300), epoch), Commit::Kept);
    }
    let before = shared.size().1;
    lost.end();
    shared.sweep(&cache.stats).await;
    assert_eq!(shared.size().0, 200);
    assert!(shared.size().1 < before / 3, "{} of {before}", shared.size().1);
    for number in (0..2_000).step_by(10) {
        assert!(served(&cache, &get(&format!("key:{number}"))).is_some());
    }
}

/// Others that nobody reads, more than there is room for.
fn push_through(cache: &Cache, round: usize) {
    let epoch = live();
    for number in 0..5_000 {
        fill(cache, &get(&format!("other:{round}:{number}")), &"v".repeat(300), &epoch);
    }
}

#[test]
fn a_key_that_stays_because_it_is_hit_is_worth_keeping_whatever_is_written() {
    let limits = CacheLimits { admission: AdmissionRule::Adaptive, ..LIMITS };
    let (cache, key) = (worker(&shared(limits)), get("key"));
    for round in 0..8 {
        assert!(cache.admits(&miss(&cache, &key), &CacheTerms::default()), "after {round} rounds");
        assert_eq!(fill(&cache, &key, "value", &live()), Commit::Kept);
        (0..3).for_each(|_| assert!(served(&cache, &key).is_some()));
        push_through(&cache, round);
        // It is written before its next hit.
        change(&cache, &["key"]);
    }
}

#[test]
fn what_was_over_when_room_was_made_went_because_it_was_over() {
    let cache = worker(&shared(CacheLimits { ttl: Duration::from_millis(30), ..LIMITS }));
    let keys: Vec<String> = (0..200).map(|number| format!("over:{number}")).collect();
    keys.iter().for_each(|key| _ = fill(&cache, &get(key), "value", &live()));
    thread::sleep(Duration::from_millis(35));
    push_through(&cache, 0);
    let noted = keys.iter().map(|key| {
        let slot = Slot::of(key.as_bytes());
        cache.explain(key.as_bytes(), slot, DbIndex::default(), clock::now()).noted
    });
    let (over, others): (Vec<_>, Vec<_>) = noted
        .filter(|noted| *noted != LastReason::Forgotten)
        .partition(|noted| matches!(noted, LastReason::Reason(MissReason::Expired, _)));
    assert!(over.len() > 20 && others.is_empty(), "{} and {others:?}", over.len());
}
