//! Lines that come and go while others look for a key, invalidate it, or keep a reply to it. One thread makes
//! the index grow, empties it or moves an entry, as only the holder of the lock of all writers does in the
//! store.
//!
//! `find`, `invalidate` and `commit` do here what `store/look.rs`, `store/mod.rs` and `link` of
//! `store/insert.rs` do.
//!
//! | taken out | which test fails |
//! |---|---|
//! | the second look at the shape in `Index::lock` | `i2_what_is_invalidated_while_lines_come_is_gone`, `i2_no_old_reply_is_kept_...` |
//! | that one in `Index::lock_all` | `i2_nothing_is_left_behind_in_a_line_that_is_not_home_any_more` |
//! | that `divide_anew`, or `empty`, sets the generation | `i2_no_old_reply_is_kept_...`, `i2_what_was_asked_before_...` |

use loom::sync::Arc;
use loom::thread;

use super::atomics::{AtomicU64, Ordering};
use super::index::{Index, LINE_BYTES};
use super::line::{Line, PLACES, Place, others};
use super::model;
use super::shape::HOMES_MIN;

/// Two groups of four: fewer than the store ever has, so no entry may lie elsewhere while lines come and go.
const HOMES: usize = 8;

/// A key whose home is the last line of the first group, of four as of five lines. The other choices are far
/// behind.
const HASH: u64 = 0xfff << 52 | 0xef << 44;

/// An index, and which value is at the server.
struct World {
    index: Index,
    server: AtomicU64,
}

// === impl World ===

impl World {
    fn new() -> Arc<World> {
        let index = Index::new(HOMES, HOMES + 1).unwrap();
        Arc::new(World { index, server: AtomicU64::new(1) })
    }

    /// The key's, and as if its value were its spot.
    fn place(value: u64) -> Place {
        Place::new(HASH, value, 0)
    }

    fn put(&self, value: u64) {
        assert!(self.index.lock_all(HASH).put(World::place(value)));
    }

    fn shrink(&self) {
        assert!(self.index.shrink(|_| HASH, |place| panic!("{place:?} has no room")));
    }

    fn grow(&self) {
        assert!(self.index.grow(|_| HASH, |place| panic!("{place:?} has no room")));
    }

    fn find(&self) -> Option<u64> {
        loop {
            let lines = self.index.all(HASH);
            let of_home = lines[0].head();
            let found = lines.into_iter().find_map(|line: Line<'_>| {
                let head = line.head();
                let spot = line.matching(HASH).find_map(|at| line.place(at).spot());
                spot.filter(|_| line.is_still(head))
            });
            if found.is_some() || lines[0].is_still(of_home) {
                return found;
            }
        }
    }

    /// The server has a new value, and the old one is dropped.
    fn change(&self) {
        self.server.fetch_add(1, Ordering::Relaxed);
        let (mut home, others) = self.index.lock(HASH);
        home.raise();
        home.matching(HASH).for_each(|at| home.set(at, Place::EMPTY));
        if home.away() > 0 {
            for other in others {
                let mut other = other.lock();
                for at in other.matching(HASH) {
                    other.set(at, Place::EMPTY);
                    home.note_back();
                }
            }
        }
    }

    /// Asks the server, and keeps what it said.
    fn fill(&self) {
        let generation = self.index.generation(HASH);
        self.commit(generation, self.server.load(Ordering::Relaxed));
    }

    fn commit(&self, generation: u32, value: u64) {
        let mut lines = self.index.lock_all(HASH);
        if lines.generation() == generation {
            assert!(lines.put(World::place(value)));
        }
    }

    /// Takes seven entries of other keys in that are at home where the key is.
    fn crowd(&self) {
        for number in 0..PLACES as u64 {
            let hash = HASH ^ (1 << (52 + number));
            assert!(self.index.lock_all(hash).put(Place::new(hash, 1_000 + number, 0)));
        }
    }
}

#[test]
fn the_lines_of_these_tests_are_few_and_those_of_the_store_are_not() {
    model(0, || {
        let index = Index::new(HOMES, HOMES).unwrap();
        let lines = index.bytes() / LINE_BYTES;
        assert!(index.line(lines - 1).is_some() && index.line(lines).is_none());
        assert!(HOMES < HOMES_MIN && others(HASH)[0] > HOMES);
    });
}

#[test]
fn what_is_there_is_found_and_is_what_it_is_while_lines_come() {
    model(2, || {
        let world = World::new();
        world.put(7);
        let growing = world.clone();
        let grower = thread::spawn(move || growing.grow());
        let found = world.find();
        assert!(found.is_none_or(|found| found == 7), "{found:?}");
        grower.join().unwrap();
        assert_eq!(world.find(), Some(7));
        assert_eq!((world.index.places(), world.index.is_between()), ((HOMES + 1) * PLACES, true));
    });
}

#[test]
fn i2_what_is_invalidated_while_lines_come_is_gone() {
    model(2, || {
        let world = World::new();
        world.put(1);
        let growing = world.clone();
        let grower = thread::spawn(move || growing.grow());
        world.change();
        assert_eq!(world.find(), None, "I2");
        grower.join().unwrap();
        assert_eq!(world.find(), None, "I2");
    });
}

#[test]
fn i2_no_old_reply_is_kept_while_lines_come_and_go() {
    let write: [fn(&World); 3] = [World::grow, World::shrink, |world| world.index.empty(|_| ())];
    for (number, write) in write.into_iter().enumerate() {
        model(1, move || {
            let world = World::new();
            if number > 0 {
                world.grow();
            }
            let (changing, writing) = (world.clone(), world.clone());
            let writer = thread::spawn(move || write(&writing));
            let changer = thread::spawn(move || changing.change());
            world.fill();
            writer.join().unwrap();
            changer.join().unwrap();
            assert!(world.find().is_none_or(|found| found == 2), "I2");
            // Nobody holds a line.
            world.change();
            world.fill();
            assert_eq!(world.find(), Some(3));
        });
    }
}

#[test]
fn i2_what_was_asked_before_an_invalidation_is_not_kept_whatever_becomes_of_the_lines() {
    let write: [fn(&World); 3] = [
        |world| {
            world.grow();
            // Of a key whose home stays what the home of ours was.
            world.index.lock(0xc8 << 56).0.raise();
        },
        World::shrink,
        |world| world.index.empty(|_| ()),
    ];
    for (number, write) in write.into_iter().enumerate() {
        model(1, move || {
            let world = World::new();
            if number > 0 {
                world.grow();
            }
            let writing = world.clone();
            let writer = thread::spawn(move || write(&writing));
            world.change();
            let (generation, value) = (world.index.generation(HASH), world.server.load(Ordering::Relaxed));
            world.change();
            writer.join().unwrap();
            world.commit(generation, value);
            assert_eq!(world.find(), None, "I2");
        });
    }
}

#[test]
fn i2_nothing_is_left_behind_in_a_line_that_is_not_home_any_more() {
    model(2, || {
        let world = World::new();
        let growing = world.clone();
        let grower = thread::spawn(move || growing.grow());
        world.fill();
        grower.join().unwrap();
        world.change();
        world.shrink();
        assert_eq!(world.find(), None, "I2");
    });
}

#[test]
fn i2_what_moves_home_while_it_is_invalidated_is_gone() {
    model(2, || {
        let world = World::new();
        world.crowd();
        world.put(1);
        let [_, second, third] = world.index.all(HASH);
        assert_eq!([second, third].map(|line| line.matching(HASH).count()).iter().sum::<usize>(), 1);
        let moving = world.clone();
        let mover = thread::spawn(move || {
            let mut lines = moving.index.lock_all(HASH);
            let (at, _) = lines.coldest().unwrap();
            lines.clear(0, at);
            lines.bring_home();
        });
        world.change();
        assert_eq!(world.find(), None, "I2");
        mover.join().unwrap();
        assert_eq!(world.find(), None, "I2");
        assert_eq!(world.index.home(HASH).head().away(), 0);
    });
}
