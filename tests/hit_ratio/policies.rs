//! The policies that `make hits` compares with, on traces that can be followed by hand.

use crate::policy::{Arc, Belady, Budget, Lru, Redis, S3Fifo, TinyLfu, hits};
use crate::request::{Key, Request};

const KEYS: usize = 1_000;
/// Room for ten entries.
const ROOM: Budget<'static> = Budget { bytes_max: 100, entries: &[10; KEYS] };

/// The hits of each policy but Belady's.
fn online(budget: Budget<'_>, requests: &[Request]) -> [(&'static str, usize); 5] {
    [
        ("LRU", hits(&mut Lru::new(budget), requests)),
        ("Redis", hits(&mut Redis::new(budget), requests)),
        ("S3-FIFO", hits(&mut S3Fifo::new(budget), requests)),
        ("W-TinyLFU", hits(&mut TinyLfu::new(budget), requests)),
        ("ARC", hits(&mut Arc::new(budget), requests)),
    ]
}

fn belady(budget: Budget<'_>, requests: &[Request]) -> usize {
    hits(&mut Belady::new(budget, requests), requests)
}

fn reads(keys: impl IntoIterator<Item = Key>) -> Vec<Request> {
    keys.into_iter().map(Request::Read).collect()
}

/// Each of `keys` keys in turn.
fn rounds(keys: Key, rounds: usize) -> impl Iterator<Item = Key> {
    (0..rounds).flat_map(move |_| 0..keys)
}

/// Keys drawn by chance, low ones more often.
fn skewed(seed: u64, count: usize, keys: usize) -> Vec<Key> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| (random.f64().powi(3) * keys as f64) as Key).collect()
}

#[test]
fn what_fits_misses_once() {
    let requests = reads(rounds(9, 20));
    for (name, hits) in online(ROOM, &requests) {
        assert_eq!(hits, 19 * 9, "{name}");
    }
    assert_eq!(belady(ROOM, &requests), 19 * 9);
}

#[test]
fn what_is_larger_than_all_room_is_not_kept() {
    let budget = Budget { bytes_max: 9, entries: &[10; 4] };
    let requests = reads(rounds(2, 5));
    assert!(online(budget, &requests).iter().all(|(_, hits)| *hits == 0));
    assert_eq!(belady(budget, &requests), 0);
}

#[test]
fn the_bytes_of_entries_decide_how_many_there_are() {
    // Two of these fit, or ten of those.
    let budget = Budget { bytes_max: 100, entries: &[50, 50, 50, 10, 10, 10, 10, 10] };
    let large = reads([0, 1, 2, 0, 1, 2, 0, 1, 2]);
    let small = reads([3, 4, 5, 6, 7, 3, 4, 5, 6, 7]);
    assert_eq!(hits(&mut Lru::new(budget), &large), 0);
    assert_eq!(hits(&mut Lru::new(budget), &small), 5);
}

#[test]
fn lru_hits_nothing_of_a_loop_that_is_a_little_too_large() {
    let requests = reads(rounds(11, 50));
    assert_eq!(hits(&mut Lru::new(ROOM), &requests), 0);
    // Of eleven keys all but one can be kept: ten turns of eleven hit, but for the first round.
    let best = belady(ROOM, &requests);
    assert!((49 * 9..=49 * 10).contains(&best), "{best}");
    // What keeps what it has hits most of it.
    assert!(hits(&mut TinyLfu::new(ROOM), &requests) > 49 * 5);
}

#[test]
fn lru_lets_the_oldest_go() {
    // 0 is read again before the eleventh key comes, so that 1 goes.
    let requests = reads([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 10, 0, 1]);
    assert_eq!(hits(&mut Lru::new(ROOM), &requests), 2);
}

#[test]
fn a_scan_empties_lru_and_spares_the_others() {
    // Six keys that are read all the time, then a hundred that come once, then the six again.
    let hot = || rounds(6, 20);
    let before = reads(hot());
    let all = reads(hot().chain(100..200).chain(0..6));
    let after = |name: &str| {
        let of = |requests: &[Request]| {
            online(ROOM, requests).into_iter().find_map(|(other, hits)| (other == name).then_some(hits))
        };
        of(&all).unwrap_or(0) - of(&before).unwrap_or(0)
    };
    assert_eq!(after("LRU"), 0);
    for name in ["S3-FIFO", "W-TinyLFU", "ARC"] {
        assert!(after(name) >= 5, "{name} has kept {} of 6", after(name));
    }
}

#[test]
fn nothing_hits_more_than_belady() {
    for seed in 0..20 {
        let mut requests = reads(skewed(seed, 2_000, 60));
        for request in requests.iter_mut().skip(7).step_by(11) {
            *request = Request::Write(request.key());
        }
        let best = belady(ROOM, &requests);
        for (name, hits) in online(ROOM, &requests) {
            assert!(hits <= best, "seed {seed}: {name} has {hits}, Belady {best}");
            assert!(hits > best / 4, "seed {seed}: {name} has {hits}, Belady {best}");
        }
    }
}

#[test]
fn redis_is_close_to_lru() {
    let requests = reads(skewed(1, 50_000, KEYS));
    let budget = Budget { bytes_max: 2_000, ..ROOM };
    let (lru, redis) = (hits(&mut Lru::new(budget), &requests), hits(&mut Redis::new(budget), &requests));
    assert!(lru.abs_diff(redis) * 20 < lru, "LRU {lru}, Redis {redis}");
}

#[test]
fn what_is_written_misses_once_more() {
    let mut requests = reads(rounds(5, 2));
    requests.push(Request::Write(3));
    requests.push(Request::Write(3));
    requests.extend(reads(rounds(5, 1)));
    for (name, hits) in online(ROOM, &requests) {
        assert_eq!(hits, 5 + 4, "{name}");
    }
    assert_eq!(belady(ROOM, &requests), 5 + 4);
}
