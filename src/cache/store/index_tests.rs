//! The index as one thread uses it. These tests do not stand in `index.rs`, because `tests/lines` compiles
//! that over atomics of another kind.

use std::sync::atomic::Ordering;

use super::index::{Index, LINES_BEHIND};
use super::line::{Line, OFFSET_MAX, PLACES, Place};
use super::shape::{HOMES_MIN, Shape};

/// Of one of 2^20 keys.
fn hash_of(number: u64) -> u64 {
    // Its spot is at hand in bits that nothing else looks at, where there are few lines.
    let hash = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) & !(0xf_ffff << 20) | number << 20
}

fn spot_of(hash: u64) -> u64 {
    hash >> 20 & 0xf_ffff
}

fn put(index: &Index, hash: u64) -> bool {
    index.lock_all(hash).put(Place::new(hash, spot_of(hash), 0))
}

fn take(index: &Index, hash: u64) {
    let mut lines = index.lock_all(hash);
    let is_it = |place: &Place| place.spot() == Some(spot_of(hash));
    let found = lines.iter().find_map(|locked| {
        Some((locked.choice(), locked.matching(hash).find(|at| is_it(&locked.place(*at)))?))
    });
    let (choice, at) = found.expect("it is there");
    lines.clear(choice, at);
    lines.bring_home();
}

fn has(index: &Index, hash: u64) -> bool {
    let is_it = |line: &Line<'_>| line.matching(hash).any(|at| line.place(at).spot() == Some(spot_of(hash)));
    let [home, others @ ..] = index.all(hash);
    is_it(&home) || (home.head().away() > 0 && others.iter().any(is_it))
}

/// Sees that what each line says of its entries that lie elsewhere is so, and how many there are.
fn away(index: &Index) -> usize {
    let homes = 0..index.lines() - LINES_BEHIND;
    let away = homes.map(|number| {
        let guests =
            (1..=OFFSET_MAX).map(|offset| index.line(number + offset).unwrap().guests_from(offset).count());
        let away = index.line(number).unwrap().head().away();
        assert_eq!(guests.sum::<usize>(), away, "{number}");
        away
    });
    away.sum()
}

#[test]
fn what_is_there_is_found_at_every_size_and_hardly_anything_has_no_room() {
    let index = Index::new(HOMES_MIN, 5_120).unwrap();
    let hash = |spot: u64| hash_of(spot);
    let mut count = 0;
    loop {
        assert!(put(&index, hash_of(count as u64)), "{count} in {}", index.lines());
        count += 1;
        let is_full = count * 5 > index.places() * 4;
        if !is_full && !index.is_between() {
            continue;
        }
        if !index.grow(hash, |place| panic!("{place:?}")) {
            break;
        }
        if !index.is_between() {
            assert!((0..count).all(|number| has(&index, hash_of(number as u64))), "{}", index.lines());
            let away = away(&index);
            assert!(away * 5 < count, "{away} of {count} are not at home");
        }
    }
    assert_eq!(index.lines(), 5_120 + LINES_BEHIND, "there may be no more");
    assert!((0..count).all(|number| has(&index, hash_of(number as u64))));
    while count < index.places() * 4 / 5 {
        assert!(put(&index, hash_of(count as u64)), "{count} in {}", index.lines());
        count += 1;
    }

    // What goes and comes leaves things as they are.
    let mut random = fastrand::Rng::with_seed(5);
    let mut there: Vec<u64> = (0..count as u64).collect();
    for new in 0..5 * count as u64 {
        let at = random.usize(..count);
        take(&index, hash_of(there[at]));
        there[at] = count as u64 + new;
        assert!(put(&index, hash_of(there[at])), "after {new}");
    }
    let elsewhere = away(&index);
    assert!(elsewhere * 8 < count, "{elsewhere} of {count} are not at home");
    assert!(there.iter().all(|number| has(&index, hash_of(*number))));

    let mut lost = Vec::new();
    while index.shrink(hash, |place| lost.extend(place.spot())) {}
    assert_eq!(index.lines(), HOMES_MIN + LINES_BEHIND);
    away(&index);
    let kept = there.iter().filter(|number| has(&index, hash_of(**number))).count();
    assert_eq!(kept + lost.len(), there.len());
    assert!(kept > HOMES_MIN * PLACES - 20, "{kept}");
    index.give_back();
    assert_eq!(there.iter().filter(|number| has(&index, hash_of(**number))).count(), kept);

    let mut gone = 0;
    index.empty(|_| gone += 1);
    assert_eq!(gone, kept);
    assert_eq!(away(&index), 0);
    assert!(there.iter().all(|number| !has(&index, hash_of(*number))));
}

#[test]
fn i2_the_generation_of_a_key_never_falls_and_is_the_same_only_if_nothing_happened() {
    let index = Index::new(HOMES_MIN, 3 * HOMES_MIN).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let hashes: Vec<u64> = (0..200).map(|_| random.u64(..)).collect();
    // Near the end, so that it wraps.
    for number in 0..HOMES_MIN {
        index.line(number).unwrap().lock().set_generation(u32::MAX - 20);
    }
    let mut noted: Vec<u32> = hashes.iter().map(|hash| index.generation(*hash)).collect();
    let mut shapes = std::collections::HashSet::new();
    for round in 0..40_000 {
        // It goes up and down for long enough to come to all shapes.
        let grows = random.u8(..8) < if round / 10_000 % 2 == 0 { 7 } else { 1 };
        match random.u8(..4) {
            0 => _ = index.shrink(hash_of, |_| ()) && grows,
            1 | 2 if grows => _ = index.grow(hash_of, |_| ()),
            3 if random.u16(..) < 20 => index.empty(|_| ()),
            _ => {
                let at = random.usize(..hashes.len());
                index.lock(hashes[at]).0.raise();
                assert_ne!(index.generation(hashes[at]), noted[at], "I2");
            }
        }
        shapes.insert(index.lines());
        for (hash, noted) in hashes.iter().zip(&mut noted) {
            let now = index.generation(*hash);
            assert!(now.wrapping_sub(*noted) < 1 << 31, "it fell from {noted} to {now}");
            *noted = now;
        }
    }
    assert_eq!(shapes.len(), 2 * HOMES_MIN + 1, "not all shapes were seen");
}

#[test]
fn a_line_that_comes_again_is_never_what_it_was() {
    let index = Index::new(HOMES_MIN, 2 * HOMES_MIN).unwrap();
    let before = index.shape();
    let last = index.line(HOMES_MIN).unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        assert!(index.grow(hash_of, |_| ()));
        assert!(
            seen.insert(format!("{:?}", last.head())),
            "a reader would take the new line for the old one"
        );
        assert!(index.shrink(hash_of, |_| ()));
        // As if its memory had been given back.
        index.words()[HOMES_MIN].iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
    assert_eq!(index.places(), HOMES_MIN * PLACES);
    assert_ne!(index.shape(), before);
    let last = Shape::of(HOMES_MIN, u64::MAX);
    assert_eq!(last.changed(HOMES_MIN - 1).changed(HOMES_MIN), Shape::of(HOMES_MIN, 0), "it wraps");
}
