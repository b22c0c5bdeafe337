//! I1 and I2: what an invalidation ends, and that nothing of it comes back.

use super::*;

#[test]
fn i1_what_happens_between_the_lookup_and_the_ticket_kills_the_fill() {
    let (cache, key) = (one_worker(), get("key"));
    let missed = miss(&cache, &key);
    change(&cache, &["key"]);
    let ticket = cache.ticket(&missed, live());
    assert_eq!(commit(&cache, &key, &ticket, "old"), Commit::Killed);
    assert_eq!(served(&cache, &key), None);
}

#[test]
fn i2_an_invalidation_kills_the_running_fill_of_its_key() {
    let (cache, key) = (one_worker(), get("key"));
    for invalidation in [
        Invalidation::Keys(vec![Bytes::from_static(b"other"), Bytes::from_static(b"key")]),
        Invalidation::Slots(vec![key.slot()]),
        Invalidation::All,
    ] {
        let ticket = cache.ticket(&miss(&cache, &key), live());
        cache.shared().invalidate(&invalidation, &cache.stats);
        assert_eq!(commit(&cache, &key, &ticket, "old"), Commit::Killed, "{invalidation:?}");
        assert_eq!(served(&cache, &key), None, "{invalidation:?}");
    }
    assert_eq!(cache.stats.l1_fills_killed.get(), 3);
    assert_eq!(fill(&cache, &key, "new", &live()), Commit::Kept);
    assert_eq!(served(&cache, &key).as_deref(), Some("new"));
}

#[test]
fn i2_an_invalidation_in_the_hot_set_of_another_worker_is_a_miss() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    for invalidation in [
        Invalidation::Keys(vec![Bytes::from_static(b"key")]),
        Invalidation::Slots(vec![key.slot()]),
        Invalidation::All,
    ] {
        fill_hot(&one, &key, "old", &live());
        warm(&other, &key, "old");
        shared.invalidate(&invalidation, &one.stats);
        assert_eq!(served(&other, &key), None, "{invalidation:?}");
        assert_eq!(served(&one, &key), None, "{invalidation:?}");
    }
}

/// The interleaving that no call can make from outside: a commit has checked its ticket, an invalidation
/// comes, and only then the commit puts its entry into the store.
#[test]
fn i2_an_entry_that_comes_right_after_an_invalidation_is_not_put_into_the_store() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let ticket = one.ticket(&miss(&one, &key), live());
    assert!(shared.is_current(ticket.hash, &ticket.generation), "the commit's check");
    change(&other, &["key"]);
    let fill_of = |ticket: &Ticket| {
        shared.store.insert(&NewEntry {
            hash: ticket.hash,
            generation: ticket.generation.key,
            slot_generation: ticket.generation.moves,
            slot: key.slot(),
            epoch: &ticket.epoch,
            deadline: tick(clock::now() + SECOND),
            query: &key.query(),
            reply: &Bytes::from_static(b"old"),
            resp2: Resp2::Same,
        })
    };
    assert_eq!(fill_of(&ticket), Err(Refused::Changed));
    for cache in [&one, &other] {
        assert_eq!(served(cache, &key), None);
    }
    let ticket = one.ticket(&miss(&one, &key), live());
    assert_eq!(fill_of(&ticket), Ok(()));
    assert_eq!(served(&other, &key).as_deref(), Some("old"));
}

#[test]
fn i2_one_invalidation_drops_every_reply_about_its_key_and_none_comes_back() {
    let (cache, epoch) = (one_worker(), live());
    let queries = [asked("hget", &["h", "a"]), asked("hget", &["h", "b"]), asked("hlen", &["h"])];
    for query in &queries {
        fill_hot(&cache, query, "old", &epoch);
    }
    assert!(queries.iter().all(|query| served(&cache, query).as_deref() == Some("old")));
    change(&cache, &["h"]);
    assert!(queries.iter().all(|query| served(&cache, query).is_none()));
    // The entry that the next fill makes has nothing of the one before.
    fill_hot(&cache, &queries[0], "new", &epoch);
    assert_eq!(served(&cache, &queries[1]), None);
    assert_eq!(served(&cache, &queries[2]), None);
}

#[test]
fn i2_an_invalidation_of_one_key_leaves_the_others() {
    let (cache, epoch) = (one_worker(), live());
    let keys: Vec<Asked> = (0..100).map(|number| get(&format!("key:{number}"))).collect();
    for key in &keys {
        fill(&cache, key, &key.key, &epoch);
    }
    change(&cache, &["key:7"]);
    let gone = keys.iter().filter(|key| served(&cache, key).is_none()).count();
    assert_eq!(gone, 1);
    assert_eq!(served(&cache, &keys[7]), None);
}
