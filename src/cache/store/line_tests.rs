//! Lines as one thread uses them. They do not stand in `line.rs`, because `tests/lines` compiles that over
//! atomics of another kind.

use std::sync::atomic::{AtomicU64, Ordering};

use super::line::{LINE_WORDS, Line, OFFSET_MAX, Place, others};

const SEQUENCE_MASK: u64 = (1 << 28) - 1;

fn words() -> [AtomicU64; LINE_WORDS] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

#[test]
fn a_place_says_what_it_was_made_of() {
    let hash = 0xfeed_f00d_dead_beef;
    let place = Place::new(hash, 0, 3);
    assert_eq!((place.spot(), place.hits(), place.offset()), (Some(0), 3, 0));
    assert_eq!(place.tag(), hash >> 44 << 44, "20 bits");
    let elsewhere = place.with((1 << 40) - 2, 1).chosen(2);
    assert_eq!((elsewhere.spot(), elsewhere.hits()), (Some((1 << 40) - 2), 1));
    assert_eq!((elsewhere.offset(), elsewhere.tag()), (others(hash)[1], place.tag()));
    assert_eq!(elsewhere.chosen(1).offset(), others(hash)[0]);
    assert_eq!(Place::EMPTY.spot(), None);
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
    assert_eq!((line.head().generation(), line.head().away(), line.is_still(before)), (u32::MAX, 15, false));
    assert_eq!(words[0].load(Ordering::Relaxed) & SEQUENCE_MASK, 2, "it wrapped, and is not 0");
    line.lock().raise();
    assert_eq!((line.head().generation(), line.head().away()), (0, 15), "it wrapped");
    assert_eq!(words[0].load(Ordering::Relaxed) & SEQUENCE_MASK, 4);
    assert!(!line.lock().may_send_away());
    line.lock().note_back();
    assert_eq!((line.head().generation(), line.head().away()), (0, 14));
    assert!(line.lock().may_send_away());
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

#[test]
fn an_entry_is_looked_for_where_it_lies_behind_its_home() {
    let (words, hash) = (words(), 0xfeed_f00d_dead_beef);
    let line = Line::new(&words);
    line.lock().set(2, Place::new(hash, 5, 0).chosen(1));
    let at = |choice: usize| line.chosen(choice).matching(hash).collect::<Vec<usize>>();
    assert_eq!((at(0), at(1), at(2)), (vec![], vec![2], vec![]));
    assert_eq!(line.guests_from(others(hash)[0]).map(|(at, _)| at).collect::<Vec<usize>>(), [2]);
    assert_eq!((line.guests_from(0).count(), line.lock().at_home().count()), (0, 0));
}

#[test]
fn the_others_of_a_key_are_two_lines_not_far_behind() {
    let mut seen = std::collections::HashSet::new();
    for tag in 0..1 << 20 {
        let [one, other] = others(tag << 44);
        assert!(0 < one && one < other && other <= OFFSET_MAX, "{one} {other}");
        seen.insert((one, other));
    }
    assert_eq!(seen.len(), 16 * 15);
}
