//! Lines as one thread uses them. They do not stand in `line.rs`, because `tests/lines` compiles that over atomics of another kind.

use std::sync::atomic::{AtomicU64, Ordering};

use super::line::{LINE_WORDS, Line, Place};

const SEQUENCE_MASK: u64 = u32::MAX as u64;

fn words() -> [AtomicU64; LINE_WORDS] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

#[test]
fn a_place_says_what_it_was_made_of() {
    let hash = 0xfeed_f00d_dead_beef;
    let place = Place::new(hash, 0, 3);
    assert_eq!((place.spot(), place.hits(), place.is_of(hash)), (Some(0), 3, true));
    assert!(!place.is_of(hash ^ 1 << 42) && place.is_of(hash ^ 1 << 41), "22 bits");
    let elsewhere = place.with((1 << 40) - 2, 1);
    assert_eq!((elsewhere.spot(), elsewhere.hits(), elsewhere.is_of(hash)), (Some((1 << 40) - 2), 1, true));
    assert_eq!(Place::EMPTY.spot(), None);
    assert!(!Place::EMPTY.is_of(0));
}

#[test]
fn hits_are_counted_up_to_three_and_not_of_what_was_replaced() {
    let words = words();
    let line = Line::new(&words);
    let place = Place::new(7 << 60, 5, 0);
    line.lock().set(3, place);
    for wanted in [1, 2, 3, 3] {
        line.note_hit(3, line.place(3));
        assert_eq!((line.place(3).hits(), line.place(3).spot()), (wanted, Some(5)));
    }
    let seen = line.place(3);
    line.lock().set(3, place.with(6, 0));
    line.note_hit(3, seen);
    assert_eq!((line.place(3).hits(), line.place(3).spot()), (0, Some(6)));
}

#[test]
fn sequence_and_generation_wrap_and_leave_each_other_alone() {
    let words = words();
    let line = Line::new(&words);
    words[0].store(u64::MAX - 1, Ordering::Relaxed);
    let before = line.head();
    drop(line.lock());
    assert_eq!((line.head().generation(), line.is_still(before)), (u32::MAX, false));
    assert_eq!(words[0].load(Ordering::Relaxed) & SEQUENCE_MASK, 2, "it wrapped, and is not 0");
    line.lock().raise();
    assert_eq!(line.head().generation(), 0, "it wrapped");
    assert_eq!(words[0].load(Ordering::Relaxed) & SEQUENCE_MASK, 4);
}

#[test]
fn who_gives_up_a_line_that_was_given_back_meanwhile_does_not_unlock_it_for_another() {
    let words = words();
    let line = Line::new(&words);
    drop(line.lock());
    let stale = line.lock();
    words[0].store(0, Ordering::Relaxed);
    let mut owner = line.lock();
    owner.set_generation(9);
    stale.give_up();
    assert_eq!(words[0].load(Ordering::Relaxed) & 1, 1, "the owner still has it");
    drop(owner);
    assert_eq!(line.head().generation(), 9);
    line.lock().give_up();
    assert_eq!(line.head().generation(), 9, "it is free again");
}
