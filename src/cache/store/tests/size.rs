//! The budget, and an index that grows and shrinks with what is kept.

use super::*;

#[test]
fn a_budget_for_nothing_keeps_nothing() {
    for bytes in [0, 1, 1_000, 2_000] {
        let (store, _) = store(bytes);
        assert_eq!(put(&store, &[b"key"], b"value", &live()), Err(Refused::NoRoom), "{bytes}");
        assert_eq!(found(&store, &[b"key"]), None);
        assert_eq!(store.invalidate(store.hash(b"key")), None);
    }
    let (store, _) = store(1 << 20);
    let long = vec![b'k'; 300_000];
    assert_eq!(put(&store, &[&long], b"value", &live()), Ok(()));
    assert_eq!(
        found(&store, &[&long]),
        Some(b"value".to_vec()),
        "a key that is longer than the log has room for"
    );
}

#[test]
fn while_there_is_room_nothing_goes_for_want_of_a_place() {
    let (store, evicted) = store(64 << 20);
    let epoch = live();
    for number in 0..60_000 {
        put(&store, &[&key_of(number)], b"value", &epoch).unwrap();
    }
    // By chance one may be at home where all is full of what can go nowhere else.
    assert!(evicted.load(Ordering::Relaxed) <= 3, "{evicted:?}");
    assert!(store.index.places() < 60_000 * 10 / 6, "{}", store.index.places());
}

#[test]
fn the_index_becomes_smaller_while_it_runs_when_fewer_and_larger_replies_are_kept() {
    let (store, evicted) = store(2 << 20);
    let epoch = live();
    let mut latest = 0;
    let mut fill = |count: usize, value: &[u8]| {
        for _ in 0..count {
            latest += 1;
            put(&store, &[&key_of(latest)], value, &epoch).unwrap();
            // As often as it is counted, so that what is large stays too.
            for _ in 0..3 {
                assert_eq!(found(&store, &[&key_of(latest)]).as_deref(), Some(value));
            }
            assert!(store.bytes() <= 2 << 20);
        }
        let kept = (1..=latest).filter(|number| found(&store, &[&key_of(*number)]).is_some()).count();
        assert_eq!(kept as u64, store.size().0);
        assert_eq!(kept as u64 + evicted.load(Ordering::Relaxed), latest as u64);
        store.index.bytes()
    };
    let small = fill(40_000, b"small");
    assert!(small > 200 << 10, "{small}");
    let large = fill(20_000, &[b'v'; 1_000]);
    assert!(large < 40 << 10, "{large}");
    let small_again = fill(40_000, b"small");
    assert!(small_again > 200 << 10, "{small_again}");
}

#[test]
fn an_index_that_cannot_grow_keeps_what_it_has_places_for() {
    let (store, evicted) = store_of(Sizes::of(8 << 20).without_growth());
    let (epoch, places) = (live(), store.index.places());
    let mut kept = 0;
    for number in 0..4 * places {
        let key = key_of(number);
        if put(&store, &[&key], b"value", &epoch).is_ok() {
            kept += 1;
            assert_eq!(found(&store, &[&key]).as_deref(), Some(b"value".as_slice()), "{number}");
        }
    }
    let entries = store.size().0;
    assert_eq!(store.index.places(), places, "it has grown");
    assert!(kept > 4 * places as u64 * 99 / 100, "{kept}");
    let all = (places + index::LINES_BEHIND * line::PLACES) as u64;
    assert!((all * 9 / 10..=all).contains(&entries), "{entries} of {all}");
    assert_eq!(evicted.load(Ordering::Relaxed), kept - entries, "each that went says why");
}

#[test]
fn large_replies_that_are_invalidated_all_the_time_leave_nothing_behind() {
    let (store, _) = store(4 << 20);
    let (epoch, value) = (live(), vec![b'v'; 140_000]);
    put(&store, &[b"stays"], &value, &epoch).unwrap();
    for _ in 0..2_000 {
        put(&store, &[b"key"], &value, &epoch).unwrap();
        store.invalidate(store.hash(b"key"));
    }
    let large = store.writer.lock().queues.of(QueueKind::Small).large();
    assert!(large <= 130, "{large}");
    assert!(found(&store, &[b"stays"]).is_some());
}
