//! I2 and I4: readers beside a writer, slots that moved, epochs that ended.

use super::*;

#[test]
fn i4_a_slot_that_moved_very_often_brings_nothing_back() {
    let (store, _) = store(1 << 20);
    let (key, epoch) = (b"key", live());
    put(&store, &[key], b"old", &epoch).unwrap();
    let before = ticket(&store, key);
    for _ in 0..1 << 16 {
        store.raise_slot(Slot::of(key));
    }
    assert_eq!(found(&store, &[key]), None, "its number is the same as then");
    assert_eq!(put_on(&store, before, GET, &[key], b"old", &epoch), Err(Refused::Changed));
    put(&store, &[key], b"new", &epoch).unwrap();
    let before = ticket(&store, key);
    store.remove_all();
    assert_eq!(found(&store, &[key]), None);
    assert_eq!(put_on(&store, before, GET, &[key], b"old", &epoch), Err(Refused::Changed));
}

#[test]
fn i4_entries_of_very_many_epochs_are_told_apart() {
    let (store, _) = store(64 << 20);
    let (mut view, mut refused) = (EpochView::default(), 0);
    for round in 0..70_000_u64 {
        let (key, epoch) = (format!("key:{}", round % 80_000), live());
        // When all numbers are in use everything goes, the fill that found that out among it.
        let is_kept = put(&store, &[key.as_bytes()], b"value", &epoch).is_ok();
        refused += u32::from(!is_kept);
        if is_kept && round % 1_000 == 0 {
            let tail = tail(&[key.as_bytes()]);
            let query = CacheQuery { command: GET, key: key.as_bytes(), args: &tail };
            let lookup_key = LookupKey::new(&query);
            let found =
                store.find(store.hash(key.as_bytes()), &lookup_key, &mut WriteQueue::default()).unwrap();
            store.copy_epoch(&mut view, found.head.epoch_index());
            assert_eq!(view.epoch(found.head.epoch_index()).map(Epoch::number), Some(epoch.number()));
        }
        epoch.end();
    }
    assert_eq!(refused, 1);
    assert!(store.size().0 < 10_000, "all numbers were in use once, and everything went");
}

#[test]
fn i2_readers_beside_a_writer_see_what_was_written_whole_and_nothing_that_was_invalidated() {
    const KEYS: usize = 3_000;
    let (store, _) = store(512 << 10);
    let epoch = live();
    // The round that a key was invalidated in last.
    let dropped: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..2 {
            let (store, dropped, stop) = (&store, &dropped, &stop);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut hits = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let number = random.usize(..KEYS);
                    let before = dropped[number].load(Ordering::Acquire);
                    let Some(found) = found(store, &[&key_of(number)]) else { continue };
                    hits += 1;
                    let text = std::str::from_utf8(&found).expect("torn");
                    let mut parts = text.trim_end_matches('#').split(':');
                    let (whose, round) = (parts.next().unwrap(), parts.next().unwrap());
                    assert_eq!(whose.parse(), Ok(number), "torn: {text}");
                    let round: u64 = round.parse().expect("torn");
                    assert!(round >= before, "I2: {round} after {before}");
                    assert_eq!(found.len(), 100 + number % 200, "torn: {text}");
                }
                assert!(hits > 100, "{hits}");
            });
        }
        let mut random = fastrand::Rng::with_seed(9);
        for round in 1..150_000_u64 {
            let number = random.usize(..KEYS);
            let key = key_of(number);
            if round % 5 == 0 {
                store.invalidate(store.hash(&key));
                dropped[number].store(round, Ordering::Release);
            }
            if round % 40_000 == 0 {
                store.remove_all();
            }
            let mut reply = format!("{number}:{round}:").into_bytes();
            reply.resize(100 + number % 200, b'#');
            put(&store, &[&key], &reply, &epoch).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn nothing_is_locked_while_somebody_looks_through_the_replies() {
    let (store, _) = store(1 << 20);
    let epoch = live();
    (0..20).for_each(|number| put(&store, &[&key_of(number)], b"value", &epoch).unwrap());
    let mut looks = 0;
    thread::scope(|scope| {
        store.look_through(0, usize::MAX, |replies, _| {
            looks += 1;
            // A writer has the lock of all writers, and waits for lines. A reader asks for an
            // epoch, which takes that lock.
            let (done, is_done) = mpsc::channel();
            let (store, key) = (&store, replies[0].key.clone());
            scope.spawn(move || {
                store.invalidate(store.hash(&key));
                let _ = done.send(());
            });
            assert!(is_done.recv_timeout(Duration::from_secs(20)).is_ok(), "its line is locked");
        });
    });
    assert_eq!(looks, 20);
}
