//! I4: entries of an epoch that has ended, or of a slot that moved, are misses.

use super::*;

#[test]
fn i4_an_ended_epoch_is_a_miss_everywhere_and_kills_its_fills() {
    let shared = shared(LIMITS);
    let (one, other, key, epoch) = (worker(&shared), worker(&shared), get("key"), live());
    fill_hot(&one, &key, "old", &epoch);
    warm(&other, &key, "old");
    let unfilled = get("unfilled");
    let ticket = one.ticket(&miss(&one, &unfilled), epoch.clone());
    epoch.end();
    assert_eq!(served(&one, &key), None);
    assert_eq!(served(&other, &key), None);
    assert_eq!(commit(&one, &unfilled, &ticket, "old"), Commit::Killed);
    epoch.renew(u64::MAX);
    assert_eq!(served(&one, &key), None, "an epoch that has ended stays so");
}

#[test]
fn i4_a_lapsed_lease_is_a_miss_until_it_is_renewed() {
    let (cache, key) = (one_worker(), get("key"));
    let lease_until = clock::now() + 10 * SECOND;
    let epoch = Epoch::begin(lease_until);
    fill_hot(&cache, &key, "value", &epoch);
    assert_eq!(served_at(&cache, &key, lease_until - 1).as_deref(), Some("value"));
    assert_eq!(served_at(&cache, &key, lease_until), None);
    // Everything that was pushed meanwhile has been received when a lease is renewed.
    epoch.renew(lease_until + 10 * SECOND);
    assert_eq!(served_at(&cache, &key, lease_until).as_deref(), Some("value"));
    change(&cache, &["key"]);
    assert_eq!(served_at(&cache, &key, lease_until), None);
}

#[test]
fn i4_a_fill_over_a_lapsed_lease_is_not_kept() {
    let (cache, key) = (one_worker(), get("key"));
    let epoch = Epoch::begin(clock::now() - 1);
    assert_eq!(fill(&cache, &key, "value", &epoch), Commit::Killed);
}

#[test]
fn i4_a_slot_that_moved_takes_its_entries_along_and_no_others() {
    let shared = shared(LIMITS);
    let (one, other, epoch) = (worker(&shared), worker(&shared), live());
    let (moved, stayed) = (get("{moved}key"), get("{stayed}key"));
    fill_hot(&one, &moved, "old", &epoch);
    fill_hot(&other, &stayed, "value", &epoch);
    shared.invalidate(&Invalidation::Slots(vec![Slot::of(b"moved")]), &one.stats);
    assert_eq!(served(&one, &moved), None);
    assert_eq!(served(&other, &moved), None);
    assert_eq!(served(&other, &stayed).as_deref(), Some("value"));
}

#[test]
fn i4_replies_of_one_key_depend_each_on_its_own_epoch() {
    let (cache, lost, present) = (one_worker(), live(), live());
    let (first, second) = (get("key"), asked("strlen", &["key"]));
    fill_hot(&cache, &first, "old", &lost);
    fill_hot(&cache, &second, "3", &present);
    lost.end();
    assert_eq!(served(&cache, &first), None);
    assert_eq!(served(&cache, &second).as_deref(), Some("3"));
}
