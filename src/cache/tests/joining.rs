//! I3: which running fill a read may join.

use super::*;

#[test]
fn i3_who_asks_after_an_invalidation_does_not_join_an_older_fill() {
    let (cache, key) = (one_worker(), get("key"));
    let before = miss(&cache, &key);
    let ticket = cache.ticket(&before, live());
    let lead = cache.begin_fill(&key.query(), Bytes::copy_from_slice(key.query().args), ticket.clone());
    let (mut joined, _) = cache.join(&before, &key.query(), clock::now()).expect("nothing happened yet");
    change(&cache, &["key"]);

    let after = miss(&cache, &key);
    assert!(cache.join(&after, &key.query(), clock::now()).is_none());
    let newer = cache.begin_fill(
        &key.query(),
        Bytes::copy_from_slice(key.query().args),
        cache.ticket(&after, live()),
    );
    let (mut joined_newer, _) = cache.join(&after, &key.query(), clock::now()).expect("this fill is as new");

    assert_eq!(commit(&cache, &key, &ticket, "old"), Commit::Killed);
    cache.finish_fill(lead, &reply("old"));
    assert_eq!(joined.try_recv().unwrap().resp3, "old", "who asked before may have the older value");
    assert!(joined_newer.try_recv().is_err(), "the older fill's end is not the newer one's");
    // The older fill's end does not hide the newer one.
    assert!(cache.join(&after, &key.query(), clock::now()).is_some());
    cache.finish_fill(newer, &reply("new"));
    assert_eq!(joined_newer.try_recv().unwrap().resp3, "new");
    assert!(cache.join(&after, &key.query(), clock::now()).is_none(), "it has ended");
}

#[test]
fn i3_a_fill_of_a_lost_connection_is_not_joined() {
    let (cache, key, epoch) = (one_worker(), get("key"), live());
    let missed = miss(&cache, &key);
    let lead = cache.begin_fill(
        &key.query(),
        Bytes::copy_from_slice(key.query().args),
        cache.ticket(&missed, epoch.clone()),
    );
    epoch.end();
    assert!(cache.join(&missed, &key.query(), clock::now()).is_none());
    drop(lead);
}

#[test]
fn i6_a_read_behind_another_one_joins_no_fill_that_was_sent_before_that() {
    let (cache, key) = (one_worker(), get("key"));
    let missed = miss(&cache, &key);
    let sent = cache.next_number();
    let lead = cache.begin_fill(
        &key.query(),
        Bytes::copy_from_slice(key.query().args),
        cache.ticket(&missed, live()),
    );
    let (name, now) = (key.key.as_bytes(), clock::now());
    let behind = |number| cache.miss_without_lookup(name, now, Slot::of(name), number);
    let joined = cache.join(&behind(sent), &key.query(), clock::now());
    assert_eq!(joined.map(|(_, number)| number), Some(sent));
    let later = cache.next_number();
    assert!(cache.join(&behind(later), &key.query(), clock::now()).is_none());
    drop(lead);
}

#[test]
fn i5_a_fill_that_runs_for_long_is_not_joined_any_more() {
    let (cache, key) = (one_worker(), get("key"));
    let missed = miss(&cache, &key);
    let lead = cache.begin_fill(
        &key.query(),
        Bytes::copy_from_slice(key.query().args),
        cache.ticket(&missed, live()),
    );
    let (soon, late) =
        (missed.at + clock::nanos(COALESCE_WINDOW) - 1, missed.at + clock::nanos(COALESCE_WINDOW));
    assert!(cache.join(&missed, &key.query(), soon).is_some());
    assert!(cache.join(&missed, &key.query(), late).is_none());
    drop(lead);
}

#[test]
fn i3_a_fill_that_began_before_another_worker_brought_something_in_is_not_joined() {
    let (shared, asked, epoch) = (shared(LIMITS), get("key"), live());
    let (one, other) = (worker(&shared), worker(&shared));
    let missed = miss(&one, &asked);
    let _lead = one.begin_fill(
        &asked.query(),
        Bytes::copy_from_slice(asked.query().args),
        one.ticket(&missed, epoch.clone()),
    );
    assert!(one.join(&missed, &asked.query(), clock::now()).is_some());
    assert_eq!(fill(&other, &asked, "newer", &epoch), Commit::Kept);
    // What its session asked for before keeps it from being answered from L1.
    let behind = one.miss_without_lookup(b"key", clock::now(), asked.slot(), 0);
    assert!(one.join(&behind, &asked.query(), clock::now()).is_none());
}

#[test]
fn i3_only_the_same_question_is_joined() {
    let (cache, key) = (one_worker(), asked("getrange", &["key", "0", "1"]));
    let missed = miss(&cache, &key);
    let lead = cache.begin_fill(
        &key.query(),
        Bytes::copy_from_slice(key.query().args),
        cache.ticket(&missed, live()),
    );
    for other in [asked("getrange", &["key", "0", "2"]), asked("substr", &["key", "0", "1"]), get("key")] {
        assert!(cache.join(&missed, &other.query(), clock::now()).is_none());
    }
    let (mut joined, _) = cache.join(&missed, &key.query(), clock::now()).unwrap();
    drop(lead);
    assert!(joined.try_recv().is_err(), "a lead that is gone leaves nobody waiting");
    assert!(cache.join(&missed, &key.query(), clock::now()).is_none());
}
