//! What goes and what stays, and what that leaves of the memory.

use std::time::Duration;

use super::tests::{found, key_of, live, put, put_until, store};
use super::*;

/// Reads keys, few of them often, and keeps what is missing.
fn read_skewed(store: &Store, reads: usize, seed: u64, value: impl Fn(usize) -> Vec<u8>) -> usize {
    let (mut random, epoch) = (fastrand::Rng::with_seed(seed), live());
    let mut hits = 0;
    for _ in 0..reads {
        let number = (random.f64().powi(3) * 40_000.0) as usize;
        let key = key_of(number);
        if found(store, &[&key]).is_some() {
            hits += 1;
        } else {
            put(store, &[&key], &value(number), &epoch).unwrap();
        }
    }
    hits
}

#[test]
fn what_moves_on_leaves_no_segment_half_written() {
    let (store, _) = store(1 << 20);
    read_skewed(&store, 200_000, 5, |_| vec![b'v'; 100]);
    let segments = store.writer.lock().queues.clear();
    let used: usize = segments.iter().map(|segment| segment.used).sum();
    let room = segments.len() * store.sizes.segment_words();
    assert!(segments.len() > 200, "{}", segments.len());
    assert!(used * 100 >= room * 95, "{used} of {room} words");
}

/// How many of the keys with these numbers are there. It counts as a hit.
fn there(store: &Store, numbers: std::ops::Range<usize>) -> usize {
    numbers.filter(|number| found(store, &[&key_of(*number)]).is_some()).count()
}

/// Keys that nobody reads, more than there is room for.
fn push_through(store: &Store, epoch: &Epoch) {
    for number in 100_000..110_000 {
        put(store, &[&key_of(number)], &[b'v'; 100], epoch).unwrap();
    }
}

#[test]
fn what_is_larger_needs_more_hits_to_stay() {
    let (store, _) = store(1 << 20);
    let epoch = live();
    (0..300).for_each(|number| put(&store, &[&key_of(number)], &[b'v'; 20], &epoch).unwrap());
    (300..900).for_each(|number| put(&store, &[&key_of(number)], &[b'v'; 400], &epoch).unwrap());
    assert_eq!(there(&store, 0..900), 900);
    (0..2).for_each(|_| assert_eq!(there(&store, 600..900), 300));
    push_through(&store, &epoch);
    let (small, large, large_and_hot) =
        (there(&store, 0..300), there(&store, 300..600), there(&store, 600..900));
    assert!(small > 270, "one hit pays for a small one: {small}");
    assert!(large < 200, "and for a third of a large one: {large}");
    assert!(large_and_hot > 270, "three hits do: {large_and_hot}");
}

#[tokio::test(start_paused = true)]
async fn what_is_about_to_end_goes_first() {
    let (store, _) = store(1 << 20);
    let (epoch, value) = (live(), [b'v'; 100]);
    let soon = tick(clock::now() + 82_000_000_000);
    (0..300).for_each(|number| put_until(&store, &key_of(number), &value, &epoch, soon).unwrap());
    (300..600).for_each(|number| put(&store, &[&key_of(number)], &value, &epoch).unwrap());
    (0..3).for_each(|_| assert_eq!(there(&store, 0..600), 600));
    // They come to the front after 80 seconds, and some have two to go.
    tokio::time::advance(Duration::from_secs(80)).await;
    push_through(&store, &epoch);
    let (ends, stays) = (there(&store, 0..300), there(&store, 300..600));
    assert!(ends < 60, "{ends} will lie there after they have ended");
    assert!(stays > 270, "{stays}");
}

#[tokio::test(start_paused = true)]
async fn large_replies_that_end_or_have_ended_go_first() {
    let (store, evicted) = store(4 << 20);
    let (epoch, value) = (live(), vec![b'v'; 100_000]);
    let at = |seconds: u64| tick(clock::now() + seconds * 1_000_000_000);
    let ends = [0..1, 1..11, 11..12].into_iter().zip([at(10), at(81), at(1_000_000)]);
    for (numbers, end) in ends {
        for number in numbers {
            put_until(&store, &key_of(number), &value, &epoch, end).unwrap();
            (0..3).for_each(|_| assert_eq!(there(&store, number..number + 1), 1));
        }
    }
    tokio::time::advance(Duration::from_secs(80)).await;
    (20..70).for_each(|number| put(&store, &[&key_of(number)], &value, &epoch).unwrap());
    assert_eq!((there(&store, 0..1), there(&store, 11..12)), (0, 1));
    let soon = there(&store, 1..11);
    assert!(soon <= 4, "each stays by a chance of one in 27: {soon}");
    let gone = 62 - store.size().0;
    assert_eq!(evicted.load(Ordering::Relaxed), gone - 1, "what had ended did not go for room");
}
