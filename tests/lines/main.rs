//! The lines of L1's index under the orders that the steps of several threads may take, and under all that a
//! weak memory may show them (loom). `line.rs`, `index.rs`, `shape.rs` and `resize.rs` are compiled as they
//! are, over loom's atomics. All orders with so many preemptions are tried. This file is about one line,
//! `shapes.rs` about lines that come and go.
//!
//! What stands around a line in the store is done here as it is done there: `evict` as in `store/evict.rs`,
//! `write_anew` as in `open` of `store/insert.rs`, `commit` as in `link` there, `find` as in `store/look.rs`,
//! `invalidate` as in `store/mod.rs`.
//!
//! | taken out | which test fails |
//! |---|---|
//! | the fence in `Line::lock`, or that in `Line::is_still`; that `head` acquires | `what_is_written_anew_is_never_seen_in_part` |
//! | the fence of who writes anew | `who_was_handed_what_is_free_shows_no_part_of_what_it_writes_there` |
//! | the acquiring half of `Line::lock` | `who_holds_a_line_holds_it_alone`, and the one of I2 |
//! | the releasing half of letting it go | all but those of one look and of giving up |
//! | that an invalidation raises the generation, or a commit compares it | `i2_what_an_invalidation_came_before_is_not_kept` |
//! | that `give_up` compares | `who_gives_up_a_line_that_is_not_there_leaves_the_new_one_alone` |

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

#[path = "../../src/cache/store/index.rs"]
mod index;
#[path = "../../src/cache/store/line.rs"]
mod line;
#[path = "../../src/cache/store/resize.rs"]
mod resize;
#[path = "../../src/cache/store/shape.rs"]
mod shape;
mod shapes;

mod pages {
    use std::ops::Range;

    use super::atomics::{AtomicU64, Ordering};

    /// Words of zeros.
    #[derive(Debug)]
    pub(super) struct Pages(Vec<AtomicU64>);

    impl Pages {
        pub(super) fn new(words: usize) -> std::io::Result<Pages> {
            Ok(Pages((0..words).map(|_| AtomicU64::new(0)).collect()))
        }

        pub(super) fn words(&self) -> &[AtomicU64] {
            &self.0
        }

        /// The kernel makes them zeros, whoever looks.
        pub(super) fn give_back(&self, words: Range<usize>) {
            self.0[words].iter().for_each(|word| _ = word.swap(0, Ordering::Relaxed));
        }
    }
}

mod atomics {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering, fence};

    /// Others go on: loom knows then that this one waits.
    pub(super) fn pause(_looks: u32) {
        loom::thread::yield_now();
    }
}

use atomics::{AtomicU64, Ordering, fence};
use line::{LINE_WORDS, Line, Place};

/// More steps than these of a test are an endless wait.
const STEPS_MAX: usize = 20_000;

/// The hash of the only key.
const HASH: u64 = 0xfeed_f00d_dead_beef;

/// An entry in the log. Both words of what was written together are the same.
const ENTRY_WORDS: usize = 2;

/// A line, and a log with room for two entries.
struct Memory {
    line: [AtomicU64; LINE_WORDS],
    log: [[AtomicU64; ENTRY_WORDS]; 2],
    /// What only the holder of the line changes.
    guarded: AtomicU64,
}

// === impl Memory ===

impl Memory {
    fn new() -> Arc<Memory> {
        let word = |_| AtomicU64::new(0);
        Arc::new(Memory {
            line: std::array::from_fn(word),
            log: std::array::from_fn(|_| std::array::from_fn(word)),
            guarded: word(0),
        })
    }

    fn line(&self) -> Line<'_> {
        Line::new(&self.line)
    }

    fn write(&self, spot: u64, value: u64) {
        self.log[spot as usize].iter().for_each(|word| word.store(value, Ordering::Relaxed));
    }

    fn put(&self, spot: u64) {
        let mut locked = self.line().lock();
        let at = locked.free().or_else(|| locked.coldest()).unwrap();
        locked.set(at, Place::new(HASH, spot, 0));
    }

    /// Takes what points to this spot out.
    fn evict(&self, spot: u64) {
        let locked = self.line().lock();
        for at in locked.line().matching(HASH) {
            let pointer = locked.word(at);
            if Place::from_word(pointer.load(Ordering::Relaxed)).spot() == Some(spot) {
                pointer.store(Place::EMPTY.word(), Ordering::Relaxed);
            }
        }
    }

    /// Writes where something lay that was taken out.
    fn write_anew(&self, spot: u64, value: u64) {
        fence(Ordering::Release);
        self.write(spot, value);
    }

    /// Copies the entry of the key, if that is there and stays there meanwhile.
    fn find(&self) -> Option<[u64; ENTRY_WORDS]> {
        let line = self.line();
        line.prefetch();
        let head = line.head();
        let spot = line.matching(HASH).find_map(|at| line.place(at).spot())?;
        let copied = self.log[spot as usize].each_ref().map(|word| word.load(Ordering::Relaxed));
        line.is_still(head).then_some(copied)
    }

    fn invalidate(&self) {
        let mut home = self.line().lock();
        home.raise();
        for at in home.matching(HASH) {
            home.set(at, Place::EMPTY);
        }
    }

    fn commit(&self, generation: u32, spot: u64) {
        let mut home = self.line().lock();
        if home.generation() == generation
            && let Some(at) = home.free()
        {
            home.set(at, Place::new(HASH, spot, 0));
        }
    }

    /// Adds one to what the holder of the line alone may change.
    fn count(&self) {
        let locked = self.line().lock();
        self.guarded.store(self.guarded.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        drop(locked);
    }
}

/// Tries all orders with so many preemptions.
fn model(preemptions: usize, orders: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = STEPS_MAX;
    builder.check(orders);
}

#[test]
fn what_is_written_anew_is_never_seen_in_part() {
    model(4, || {
        let memory = Memory::new();
        memory.write(0, 1);
        memory.put(0);
        let writing = memory.clone();
        let writer = thread::spawn(move || {
            writing.evict(0);
            writing.write_anew(0, 2);
            // The place is to the bit what it was before.
            writing.put(0);
        });
        let mut newest = 1;
        for _ in 0..2 {
            let Some([first, last]) = memory.find() else { continue };
            assert_eq!(first, last, "parts of two entries");
            assert!(first >= newest, "{first} after {newest}");
            newest = first;
        }
        writer.join().unwrap();
        assert_eq!(memory.find(), Some([2, 2]));
        let line = memory.line();
        line.note_hit(1, line.place(1));
        assert_eq!(line.place(1).hits(), 1);
    });
}

#[test]
fn who_was_handed_what_is_free_shows_no_part_of_what_it_writes_there() {
    model(2, || {
        let memory = Memory::new();
        memory.write(0, 1);
        memory.put(0);
        // The lock of all writers hands on what was done under it.
        let freed = Arc::new(AtomicU64::new(0));
        let (evicting, handing) = (memory.clone(), freed.clone());
        let evicter = thread::spawn(move || {
            evicting.evict(0);
            handing.store(1, Ordering::Release);
        });
        let writing = memory.clone();
        let writer = thread::spawn(move || {
            if freed.load(Ordering::Acquire) == 1 {
                writing.write_anew(0, 2);
            }
        });
        if let Some([first, last]) = memory.find() {
            assert_eq!(first, last, "parts of two entries");
        }
        evicter.join().unwrap();
        writer.join().unwrap();
    });
}

#[test]
fn who_sees_a_place_sees_what_was_written_before_it() {
    model(4, || {
        let memory = Memory::new();
        memory.write(0, 1);
        memory.put(0);
        let writing = memory.clone();
        let writer = thread::spawn(move || {
            writing.write(1, 2);
            let mut locked = writing.line().lock();
            locked.set(1, locked.place(1).with(1, 0));
        });
        if let Some([first, last]) = memory.find() {
            assert!((first, last) == (1, 1) || (first, last) == (2, 2), "{first} {last}");
        }
        writer.join().unwrap();
    });
}

#[test]
fn i2_what_an_invalidation_came_before_is_not_kept() {
    model(4, || {
        let memory = Memory::new();
        // What the server has.
        let server = Arc::new(AtomicU64::new(0));
        let (invalidating, changing) = (memory.clone(), server.clone());
        let writer = thread::spawn(move || {
            for _ in 0..2 {
                changing.fetch_add(1, Ordering::Relaxed);
                invalidating.invalidate();
            }
        });
        let generation = memory.line().head().generation();
        let value = server.load(Ordering::Relaxed);
        memory.write(0, value);
        memory.commit(generation, 0);
        writer.join().unwrap();
        if let Some(kept) = memory.find() {
            assert_eq!(kept, [2, 2], "I2");
        }
        assert_eq!(memory.line().head().generation(), 2);
    });
}

#[test]
fn who_holds_a_line_holds_it_alone() {
    model(4, || {
        let memory = Memory::new();
        let beside = memory.clone();
        let other = thread::spawn(move || {
            beside.count();
            beside.count();
        });
        memory.count();
        other.join().unwrap();
        assert_eq!(memory.guarded.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn who_gives_up_a_line_that_is_not_there_leaves_the_new_one_alone() {
    model(4, || {
        let memory = Memory::new();
        // A line that was in use.
        drop(memory.line().lock());
        let stale = memory.clone();
        let late = thread::spawn(move || stale.line().lock().give_up());
        // Its memory was given back, and is taken anew for another line.
        memory.line[0].swap(0, Ordering::Relaxed);
        memory.line().lock().set_generation(7);
        for _ in 0..2 {
            let locked = memory.line().lock();
            assert_eq!(memory.line[0].load(Ordering::Relaxed) & 1, 1, "it was given up for its owner");
            drop(locked);
        }
        late.join().unwrap();
        assert_eq!(memory.line().head().generation(), 7);
        memory.count();
    });
}
