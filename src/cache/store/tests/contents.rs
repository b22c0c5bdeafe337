//! What is kept is what was put in, and an invalidation takes all of a key.

use super::*;

#[test]
fn what_is_kept_is_what_was_put_in_whatever_went_and_moved_meanwhile() {
    let (store, evicted) = store(1 << 20);
    let epoch = live();
    for number in 0..30_000 {
        let key = key_of(number);
        assert_eq!(put(&store, &[&key], &reply_of(number), &epoch), Ok(()));
        assert_eq!(found(&store, &[&key]), Some(reply_of(number)));
        if number % 3 == 0 {
            let before = ticket(&store, &key);
            assert!(store.invalidate(store.hash(&key)).is_some());
            assert_eq!(found(&store, &[&key]), None, "I2");
            assert_eq!(put_on(&store, before, GET, &[&key], b"old", &epoch), Err(Refused::Changed), "I2");
            assert_eq!(found(&store, &[&key]), None, "I2");
        }
        assert!(store.bytes() <= 1 << 20, "{} at {number}", store.bytes());
    }
    let kept = (0..30_000).filter(|number| {
        let found = found(&store, &[&key_of(*number)]);
        found.is_some_and(|found| {
            assert!(number % 3 != 0);
            assert_eq!(found, reply_of(*number));
            true
        })
    });
    let kept = kept.count() as u64;
    assert_eq!(kept, store.size().0, "what is counted is what is there");
    assert!(kept > 1_000, "{kept}");
    // An invalidation takes a key with it whose home and tag are the same: one in some 30,000.
    let known = evicted.load(Ordering::Relaxed) + kept;
    assert!((19_990..=20_000).contains(&known), "{known}");
    store.remove_all();
    assert_eq!(store.size().0, 0);
    assert!(store.bytes() < 20 << 10, "{}", store.bytes());
    assert!((0..30_000).all(|number| found(&store, &[&key_of(number)]).is_none()));
}

#[test]
fn what_is_read_stays_and_what_is_read_once_goes() {
    let (store, _) = store(256 << 10);
    let epoch = live();
    let hot: Vec<Vec<u8>> = (0..200).map(key_of).collect();
    for key in &hot {
        put(&store, &[key], b"hot", &epoch).unwrap();
    }
    for number in 1_000..50_000 {
        put(&store, &[&key_of(number)], b"a value that nobody reads", &epoch).unwrap();
        let key = &hot[number % hot.len()];
        let _ = found(&store, &[key]);
    }
    let stayed = hot.iter().filter(|key| found(&store, &[key]).is_some()).count();
    assert!(stayed > 190, "{stayed} of {}", hot.len());
}

#[test]
fn a_key_has_many_replies_which_an_invalidation_drops_together() {
    let (store, _) = store(4 << 20);
    let epoch = live();
    let field = |number: usize| format!("field:{number}").into_bytes();
    let hashes: Vec<Vec<u8>> = (0..50).map(key_of).collect();
    for round in 0..3 {
        for number in 0..REPLIES_MAX + 20 {
            for key in &hashes {
                let reply = format!("{round}:{number}");
                put(&store, &[key, &field(number)], reply.as_bytes(), &epoch).unwrap();
                put(&store, &[key], b"whole", &epoch).unwrap();
            }
        }
        for key in &hashes {
            let there: Vec<usize> = (0..REPLIES_MAX + 20)
                .filter(|number| found(&store, &[key, &field(*number)]).is_some())
                .collect();
            assert_eq!(there.len(), REPLIES_MAX - 1, "with the one about all of the key");
            assert_eq!(there.last(), Some(&(REPLIES_MAX + 19)), "the oldest went");
            assert!(there.iter().all(|number| {
                found(&store, &[key, &field(*number)]) == Some(format!("{round}:{number}").into_bytes())
            }));
        }
    }
    assert_eq!(store.size().0, hashes.len() as u64);
    store.invalidate(store.hash(&hashes[7]));
    assert!((0..REPLIES_MAX + 20).all(|number| found(&store, &[&hashes[7], &field(number)]).is_none()));
    assert!(found(&store, &[&hashes[8]]).is_some());
}

#[test]
fn replies_of_one_key_move_and_go_one_by_one() {
    let (store, _) = store(128 << 10);
    let epoch = live();
    let mut last: HashMap<(usize, usize), usize> = HashMap::new();
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..60_000 {
        let (key, field) = (random.usize(..40), random.usize(..60));
        let name = format!("{field}").into_bytes();
        let args: [&[u8]; 2] = [&key_of(key), &name];
        match random.u8(..10) {
            0 => {
                store.invalidate(store.hash(args[0]));
                last.retain(|(other, _), _| *other != key);
            }
            1..4 => {
                let reply = format!("{round}").repeat(if random.u8(..100) == 0 { 700 } else { 3 });
                put(&store, &args, reply.as_bytes(), &epoch).unwrap();
                last.insert((key, field), round);
            }
            _ => {
                if let Some(found) = found(&store, &args) {
                    let round = last.get(&(key, field)).expect("it was invalidated (I2)");
                    assert!(found.starts_with(format!("{round}").as_bytes()), "an older one");
                }
            }
        }
    }
}

#[test]
fn large_replies_are_shared_count_and_go() {
    let (store, evicted) = store(4 << 20);
    let epoch = live();
    let value = vec![b'v'; 300_000];
    for number in 0..100 {
        put(&store, &[&key_of(number)], &value, &epoch).unwrap();
        assert_eq!(found(&store, &[&key_of(number)]).map(|found| found.len()), Some(300_000));
        assert!(store.bytes() <= 4 << 20);
    }
    let (entries, bytes) = store.size();
    assert!((8..14).contains(&entries) && bytes > 2 << 20, "{entries} of {bytes}");
    assert_eq!(evicted.load(Ordering::Relaxed), 100 - entries);
    // One that is invalidated gives its memory back at once.
    store.invalidate(store.hash(&key_of(99)));
    assert!(store.bytes() < bytes - 300_000);
    // One that is larger than all that may be kept takes nothing else with it.
    let before = store.size();
    assert_eq!(put(&store, &[&key_of(1)], &vec![b'v'; 5 << 20], &epoch), Err(Refused::TooLarge));
    assert_eq!(store.size(), before);
    // A query has one answer, whatever its size.
    put(&store, &[&key_of(2)], &value, &epoch).unwrap();
    put(&store, &[&key_of(2)], b"small", &epoch).unwrap();
    assert_eq!(found(&store, &[&key_of(2)]), Some(b"small".to_vec()));
    put(&store, &[&key_of(2)], &value, &epoch).unwrap();
    assert_eq!(found(&store, &[&key_of(2)]).map(|found| found.len()), Some(300_000));
}
