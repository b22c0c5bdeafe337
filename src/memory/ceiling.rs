//! The ceiling for the memory of the daemon, and how far it is used up.

use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::usage::{Counts, KINDS, MemoryUse};

/// Requests of at most this size, in bytes, are never refused: commands of common size are served under any
/// pressure.
pub const SMALL_BYTES: usize = 64 * 1024;

/// Bytes that a client takes for being connected: its session, and what the kernel has of its socket.
pub const CLIENT_BYTES: usize = 8 * 1024;

/// A client's socket holds this part of `memory_max` at most in each direction, and it is never narrowed to
/// less than the least, or to more than the kernel would let it have by itself.
const SOCKET_PART: usize = 256;
const SOCKET_MIN: usize = 64 * 1024;
const SOCKET_MAX: usize = 4 << 20;

/// How far `memory_max` is used up, in sixteenths: from here on L1 is emptied, and nothing is kept in it.
const EMPTYING: usize = 14;

/// From here on large requests are refused, and the client that holds the most is dropped.
const REFUSING: usize = 15;

/// Bytes that L1 has at least, however little is left.
const L1_MIN: usize = 1 << 20;

/// Below this L1 is filled again.
const FILLING: usize = 12;

/// The ceiling, and the memory in use.
#[derive(Debug)]
pub struct MemoryCeiling {
    /// `memory_max`; none when there is no ceiling.
    max: Option<usize>,
    /// Requests of at most this size are never refused.
    small: usize,
    held: [AtomicUsize; KINDS.len()],
    /// The real size at the last look, less what was counted then.
    uncounted: AtomicIsize,
    /// The least real size so far: that of the daemon itself.
    bare: AtomicUsize,
    /// Bytes that count as in use until the next look, whatever is given back.
    floor: AtomicUsize,
    /// What L1 would give back, as of the last look.
    spare: AtomicUsize,
    /// L1 was emptied and is not filled.
    pressed: AtomicBool,
    /// Notified when a request found no room, so that room is made at once.
    wanted: Notify,
    /// How often memory was refused or taken back.
    pub counts: Counts,
}

// === impl MemoryCeiling ===

impl Default for MemoryCeiling {
    fn default() -> MemoryCeiling {
        MemoryCeiling::new(None)
    }
}

impl MemoryCeiling {
    /// A ceiling of `max` bytes, or none.
    pub fn new(max: Option<usize>) -> MemoryCeiling {
        MemoryCeiling {
            max,
            small: SMALL_BYTES,
            held: Default::default(),
            uncounted: AtomicIsize::new(0),
            bare: AtomicUsize::new(usize::MAX),
            floor: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            pressed: AtomicBool::new(false),
            wanted: Notify::new(),
            counts: Counts::default(),
        }
    }

    /// Changes which sizes count as small: `bytes` and less, in place of [`SMALL_BYTES`].
    pub fn with_small(self, bytes: usize) -> MemoryCeiling {
        MemoryCeiling { small: bytes, ..self }
    }

    /// Whether a request of `bytes` is never refused.
    pub fn is_small(&self, bytes: usize) -> bool {
        bytes <= self.small
    }

    /// `memory_max`, in bytes.
    pub fn max(&self) -> Option<usize> {
        self.max
    }

    /// What is held of each kind, with the name that INFO has for it.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        KINDS.iter().map(|(kind, name)| (*name, self.held[*kind as usize].load(Ordering::Relaxed)))
    }

    /// What is in use now, in bytes, as far as is known.
    pub fn used(&self) -> usize {
        let known = self.counted().saturating_add_signed(self.uncounted.load(Ordering::Relaxed));
        known.max(self.floor.load(Ordering::Relaxed))
    }

    /// Whether `bytes` more fit. When they do not, or only once L1 is emptied, the memory keeper is notified.
    pub fn fits(&self, bytes: usize) -> bool {
        let Some(max) = self.max else { return true };
        let wanted = self.used().saturating_add(bytes);
        if wanted <= part(max, EMPTYING) {
            return true;
        }
        self.wanted.notify_one();
        wanted.saturating_sub(self.spare.load(Ordering::Relaxed)) <= part(max, REFUSING)
    }

    /// How much the kernel may hold for the socket of a client in each direction, if that is to be bounded.
    pub fn socket_bytes(&self) -> Option<usize> {
        self.max.map(|max| (max / SOCKET_PART).max(SOCKET_MIN)).filter(|bytes| *bytes < SOCKET_MAX)
    }

    /// How many of the `wanted` bytes L1 may take before it would have to be emptied.
    pub fn room_for_l1(&self, wanted: usize) -> usize {
        let room = self.max.map(|max| part(max, FILLING).saturating_sub(self.used()));
        room.map_or(wanted, |room| wanted.min(room.max(L1_MIN)))
    }

    /// Whether `bytes` are a considerable part of all.
    pub fn is_large_share(&self, bytes: usize) -> bool {
        bytes > self.large_share()
    }

    /// How many bytes are a considerable part of all.
    pub fn large_share(&self) -> usize {
        self.max.map_or(usize::MAX, |max| part(max, 1))
    }

    /// A client that holds no more bytes than this is never dropped.
    pub fn exempt_bytes(&self) -> usize {
        self.small / 8
    }

    /// Whether memory is scarce: L1 stays empty, and a client that does not take its replies is not read.
    pub fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Whether memory is scarce at this very moment: [`MemoryCeiling::is_pressed`] says how it was at the
    /// last check, and much can come in since.
    pub fn is_scarce(&self) -> bool {
        self.is_pressed() || self.max.is_some_and(|max| self.used() > part(max, EMPTYING))
    }

    /// The error of a request of `bytes` that does not fit; `undone` says what was not done.
    pub fn refusal(&self, what: &str, bytes: usize, undone: &str) -> String {
        let max = self.max.unwrap_or(usize::MAX);
        format!(
            "OOM nearside: {what} of {bytes} bytes does not fit: {} of {max} are in use (memory_max); {undone}",
            self.used()
        )
    }

    /// Notes the real size of the process as `read` finds it, and what of that L1 would give back.
    pub fn note_size(&self, read: impl FnOnce() -> usize, spare: usize) {
        let before = self.counted();
        let real = read();
        // What came or went meanwhile may be in the real size or not: rather too much is taken for in use
        // than too little.
        let counted = before.min(self.counted());
        // A buffer that several clients share is counted for each of them. If more is counted than can be
        // there, a lower count does not mean that memory was given back: none counts as given back until the
        // next check.
        let bare = self.bare.fetch_min(real, Ordering::Relaxed).min(real);
        let shared = counted.saturating_add(bare).saturating_add(spare) > real;
        self.floor.store(if shared { real } else { 0 }, Ordering::Relaxed);
        // Both are far below the largest number there is.
        self.uncounted.store(real as isize - counted as isize, Ordering::Relaxed);
        self.spare.store(spare, Ordering::Relaxed);
    }

    /// Notes that a large client was disconnected. Its memory may be used again only when a check has seen it
    /// free: until then as much is in use as now.
    pub fn note_leaving(&self) {
        self.floor.fetch_max(self.used(), Ordering::Relaxed);
    }

    /// Whether L1 must be emptied, or stay so; `news` is whether that has just begun or just ended.
    pub fn update_pressure(&self) -> Pressure {
        let Some(max) = self.max else { return Pressure { on: false, news: false } };
        let (used, was) = (self.used(), self.is_pressed());
        let on = used > part(max, EMPTYING) || (was && used > part(max, FILLING));
        self.pressed.store(on, Ordering::Relaxed);
        Pressure { on, news: on != was }
    }

    /// Whether the client that holds the most must be dropped.
    pub fn is_over(&self) -> bool {
        self.max.is_some_and(|max| self.used() > part(max, REFUSING))
    }

    /// Waits until a request finds no room.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn counted(&self) -> usize {
        self.held.iter().map(|held| held.load(Ordering::Relaxed)).fold(0, usize::wrapping_add)
    }

    pub(super) fn change(&self, kind: MemoryUse, from: usize, to: usize) {
        // In one step, which may wrap around: another one's share may be looked at in between.
        self.held[kind as usize].fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
    }
}

/// Whether L1 must be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// L1 must be empty.
    pub on: bool,
    /// `on` has just changed.
    pub news: bool,
}

fn part(max: usize, sixteenths: usize) -> usize {
    max / 16 * sixteenths
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_counted_since_the_last_look_is_added_to_what_was_seen_then() {
        let ceiling = Arc::new(MemoryCeiling::new(Some(1600)));
        ceiling.note_size(|| 900, 0);
        let mut held = ceiling.hold(MemoryUse::Input);
        held.set(100);
        ceiling.note_size(|| 1000, 0);
        assert_eq!(ceiling.used(), 1000);
        held.set(300);
        assert_eq!(ceiling.used(), 1200);
        assert!(ceiling.fits(300) && !ceiling.fits(301), "1500 of 1600 is the most");
        drop(held);
        assert_eq!(ceiling.used(), 900);
    }

    #[test]
    fn what_was_counted_for_many_and_is_there_once_is_in_use_until_the_next_look() {
        let ceiling = Arc::new(MemoryCeiling::new(Some(1600)));
        ceiling.note_size(|| 200, 0);
        // Ten clients are sent the same.
        let mut all: Vec<_> = (0..10).map(|_| ceiling.hold(MemoryUse::Output)).collect();
        all.iter_mut().for_each(|held| held.set(300));
        ceiling.note_size(|| 500, 0);
        assert_eq!(ceiling.used(), 500);
        all.truncate(5);
        assert_eq!(ceiling.used(), 500);
        assert!(!ceiling.fits(1001));
        all.push(ceiling.hold(MemoryUse::Output));
        all[5].set(2_000);
        assert_eq!(ceiling.used(), 1000, "what comes is counted as ever");
        drop(all);
        assert_eq!(ceiling.used(), 500);
        ceiling.note_size(|| 200, 0);
        assert_eq!(ceiling.used(), 200);
    }

    #[test]
    fn l1_is_spare_room_until_it_is_emptied_and_filled_again_well_below_the_mark() {
        let ceiling = MemoryCeiling::new(Some(1600));
        ceiling.note_size(|| 1300, 600);
        assert!(ceiling.fits(800) && !ceiling.fits(801));
        assert_eq!(ceiling.update_pressure(), Pressure { on: false, news: false });
        ceiling.note_size(|| 1401, 0);
        assert_eq!(ceiling.update_pressure(), Pressure { on: true, news: true });
        ceiling.note_size(|| 1300, 0);
        assert_eq!(ceiling.update_pressure(), Pressure { on: true, news: false });
        ceiling.note_size(|| 1200, 0);
        assert_eq!(ceiling.update_pressure(), Pressure { on: false, news: true });
    }

    #[test]
    fn without_a_ceiling_everything_fits() {
        let ceiling = MemoryCeiling::new(None);
        ceiling.note_size(|| usize::MAX / 4, 0);
        assert!(ceiling.fits(usize::MAX) && !ceiling.update_pressure().on && !ceiling.is_over());
    }
}
