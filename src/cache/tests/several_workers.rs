//! Replies that came over several connections, whose order is unknown.

use super::*;

/// Two fills of two workers, both under way at once: the tickets of the one and of the other.
fn two_fills(one: &Cache, other: &Cache, asked: &Asked) -> (Ticket, Ticket) {
    let (first, second) = (miss(one, asked), miss(other, asked));
    (one.ticket(&first, live()), other.ticket(&second, live()))
}

#[test]
fn an_older_reply_of_another_worker_is_not_kept_over_a_newer_one() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let (later, earlier) = two_fills(&one, &other, &key);
    commit(&one, &key, &later, "new");
    assert_eq!(served(&one, &key).as_deref(), Some("new"));
    commit(&other, &key, &earlier, "old");
    // The push that kills the older one is still on its way: which of the two is newer, nobody can tell.
    assert_eq!(served(&other, &key), None);
    assert_eq!(served(&one, &key), None);
}

#[test]
fn a_newer_reply_of_another_worker_ends_an_older_entry_in_every_hot_set() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let (later, earlier) = two_fills(&one, &other, &key);
    commit(&other, &key, &earlier, "old");
    assert_eq!(served(&other, &key).as_deref(), Some("old"));
    assert_eq!(served(&other, &key).as_deref(), Some("old"), "from the store that both share");
    commit(&one, &key, &later, "new");
    assert_eq!(served(&other, &key), None);
}

#[test]
fn a_newer_reply_that_is_killed_leaves_no_older_fill_to_commit() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let missed = miss(&one, &key);
    let later = one.ticket(&missed, live());
    shared.invalidate_key(b"key", MissReason::Written);
    let missed = miss(&other, &key);
    let earlier = other.ticket(&missed, live());
    commit(&one, &key, &later, "new");
    commit(&other, &key, &earlier, "old");
    assert_eq!(served(&other, &key), None);
}

#[test]
fn a_reply_that_is_not_kept_leaves_no_older_one_behind() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let (_, earlier) = two_fills(&one, &other, &key);
    shared.invalidate_if_unordered(b"key");
    commit(&other, &key, &earlier, "old");
    assert_eq!(served(&other, &key), None);
}

/// A worker that reads over two connections: its view, and the epoch of each.
fn over_two_connections() -> (Cache, [Epoch; 2]) {
    let shared = shared(CacheLimits { several_workers: false, ..LIMITS });
    shared.note_multi_stream();
    (worker(&shared), [live(), live()])
}

#[test]
fn what_came_over_another_connection_is_not_served_after_an_answer_to_another_question() {
    let (cache, [main, side]) = over_two_connections();
    let (a, b) = (asked("hget", &["key", "a"]), asked("hget", &["key", "b"]));
    assert_eq!(fill(&cache, &a, "old", &main), Commit::Kept);
    assert_eq!(
        fill(&cache, &asked("hget", &["key", "c"]), "old", &main),
        Commit::Kept,
        "in the order of its connection"
    );
    // The key changed, and what tells of it is held up on the main connection.
    assert_eq!(fill(&cache, &b, "new", &side), Commit::Killed);
    assert_eq!(served(&cache, &a), None);
    assert_eq!(fill(&cache, &b, "new", &side), Commit::Kept);
    assert_eq!(fill(&cache, &a, "new", &side), Commit::Kept);
    assert_eq!((served(&cache, &a).as_deref(), served(&cache, &b).as_deref()), (Some("new"), Some("new")));
}

#[test]
fn a_fill_is_not_kept_beside_which_another_connection_brought_something_that_has_gone_again() {
    let (cache, [main, side]) = over_two_connections();
    let (a, b) = (asked("hget", &["key", "a"]), asked("hget", &["key", "b"]));
    let earlier = cache.ticket(&miss(&cache, &a), main.clone());
    assert_eq!(fill(&cache, &b, "new", &side), Commit::Kept);
    let (all, _) = cache.shared.store.dead(0, usize::MAX, |_| Some(MissReason::Evicted));
    assert!(cache.shared.store.remove(earlier.hash, all[0].1), "as if there had been no room for it");
    assert_eq!(commit(&cache, &a, &earlier, "old"), Commit::Killed);
    assert_eq!(served(&cache, &a), None);
    // One that began after it is newer.
    assert_eq!(fill(&cache, &a, "newer", &main), Commit::Kept);
    let beside = cache.ticket(&miss(&cache, &b), main.clone());
    assert_eq!(fill(&cache, &asked("hget", &["key", "c"]), "newer", &main), Commit::Kept);
    assert_eq!(commit(&cache, &b, &beside, "newer"), Commit::Kept, "in the order of its connection");
}

#[test]
fn equal_replies_of_two_workers_are_kept() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let (first, second) = two_fills(&one, &other, &key);
    commit(&one, &key, &first, "same");
    commit(&other, &key, &second, "same");
    assert_eq!(served(&one, &key).as_deref(), Some("same"));
    assert_eq!(served(&other, &key).as_deref(), Some("same"));
}

#[test]
fn what_is_kept_empty_lets_nothing_in_whatever_the_terms_and_is_filled_again() {
    let cache = one_worker();
    let terms = CacheTerms { admission: Some(AdmissionRule::Always), ..CacheTerms::default() };
    let key = get("key");
    assert!(cache.admits(&miss(&cache, &key), &terms));
    cache.shared().pause_inserts(true);
    assert!(!cache.admits(&miss(&cache, &key), &terms));
    assert!(MissReason::NoMemory.to_string().starts_with("memory_max"));
    cache.shared().pause_inserts(false);
    assert!(cache.admits(&miss(&cache, &key), &terms));
}
