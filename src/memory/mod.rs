//! How much memory the daemon may hold (`memory_max`), and what holds how much of it.
//!
//! Whoever holds much counts it where it is held, in relaxed counters that move when a buffer grows or
//! shrinks and never on a hit. What nobody counts is in the real size of the process, which is looked at
//! every few milliseconds; between two looks the counters say how much has come since. So nothing escapes,
//! and what is announced is judged before it is there.
//!
//! A request that announces more than 64 KiB is checked before its bytes are kept. If it does not fit, its
//! bytes are skipped as they arrive, and the session answers with an error. A reply that does not fit is
//! skipped in the same way; a push never is. L1 is emptied by an ordinary flush, so I1 to I6 hold, and stays
//! empty while memory is scarce. The allocator returns unused memory to the system at the same checks,
//! because a static build has no thread for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

mod held;
mod limit;
mod size;

pub use held::{HeldByClient, MemoryHold};
pub use limit::{Limit, memory_max_by_default};
pub use size::Meter;

/// What memory is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUse {
    /// Requests that have arrived in part, or wait to be looked at.
    Input,
    /// Replies and pushes that clients have not taken.
    Output,
    /// Requests queued since MULTI, and prefixes that clients track by.
    Transactions,
    /// What clients are subscribed to.
    Subscriptions,
    /// Commands on their way upstream.
    InFlight,
    /// Replies of nodes that have arrived in part.
    Replies,
    /// Clients, for being connected.
    Clients,
}

/// Each kind with the name that INFO has for it.
const KINDS: [(MemoryUse, &str); 7] = [
    (MemoryUse::Input, "memory_input"),
    (MemoryUse::Output, "memory_output"),
    (MemoryUse::Transactions, "memory_transactions"),
    (MemoryUse::Subscriptions, "memory_subscriptions"),
    (MemoryUse::InFlight, "memory_in_flight"),
    (MemoryUse::Replies, "memory_replies"),
    (MemoryUse::Clients, "memory_clients"),
];

/// What is no larger is taken in without a question: commands of common size are served under any pressure.
pub const SMALL_BYTES: usize = 64 * 1024;

/// What a client takes for being connected: its session, and what the kernel has of its socket.
pub const CLIENT_BYTES: usize = 8 * 1024;

/// A client's socket holds this part of `memory_max` at most in each direction, and it is never narrowed to
/// less than the least, or to more than the kernel would let it have by itself.
const SOCKET_PART: usize = 256;
const SOCKET_MIN: usize = 64 * 1024;
const SOCKET_MAX: usize = 4 << 20;

/// How far `memory_max` is used up, in sixteenths: from here on L1 is emptied, and nothing is kept in it.
const EMPTYING: usize = 14;

/// From here on what is large is refused, and who holds the most is dropped.
const REFUSING: usize = 15;

/// L1 has this at least, however little is left.
const L1_MIN: usize = 1 << 20;

/// Below this L1 is filled again.
const FILLING: usize = 12;

/// The ceiling, and what is under it.
#[derive(Debug)]
pub struct MemoryCeiling {
    /// `memory_max`; none when there is no ceiling.
    max: Option<usize>,
    /// What is no larger is taken in without a question.
    small: usize,
    held: [AtomicUsize; KINDS.len()],
    /// The real size at the last look, less what was counted then.
    uncounted: AtomicIsize,
    /// The least real size so far: that of the daemon itself.
    bare: AtomicUsize,
    /// So much is in use until the next look, whatever is given back.
    floor: AtomicUsize,
    /// What L1 would give back, as of the last look.
    spare: AtomicUsize,
    /// L1 was emptied and is not filled.
    pressed: AtomicBool,
    /// Somebody got no room: whoever makes room looks at once.
    wanted: Notify,
    /// What became of those who asked for more than there is.
    pub counts: Counts,
}

/// How often it came to what.
#[derive(Debug, Default)]
pub struct Counts {
    /// L1 was emptied to make room.
    pub l1_emptied: AtomicU64,
    /// What clients read that cache was forgotten to make room.
    pub tracking_emptied: AtomicU64,
    /// Requests that were refused.
    pub requests_refused: AtomicU64,
    /// Replies of nodes that were passed over.
    pub replies_refused: AtomicU64,
    /// Clients that were not let in.
    pub clients_refused: AtomicU64,
    /// Clients that were dropped because they made the daemon hold the most.
    pub clients_dropped: AtomicU64,
}

/// What the ceiling asks of the allocator of the process.
#[derive(Clone, Copy, Debug)]
pub struct Allocator {
    /// Gives back what has lain unused for seconds.
    pub decay: fn(),
    /// Gives back all that lies unused.
    pub purge: fn(),
}

// === impl Allocator ===

impl Default for Allocator {
    /// An allocator that gives memory back by itself.
    fn default() -> Allocator {
        Allocator { decay: || {}, purge: || {} }
    }
}

// === impl Counts ===

impl Counts {
    /// Name and value of each, as INFO has them.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("memory_l1_emptied", &self.l1_emptied),
            ("memory_tracking_emptied", &self.tracking_emptied),
            ("memory_requests_refused", &self.requests_refused),
            ("memory_replies_refused", &self.replies_refused),
            ("memory_clients_refused", &self.clients_refused),
            ("memory_clients_dropped", &self.clients_dropped),
        ]
        .into_iter()
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

// === impl Ceiling ===

impl Default for MemoryCeiling {
    fn default() -> MemoryCeiling {
        MemoryCeiling::new(None)
    }
}

impl MemoryCeiling {
    /// A ceiling of so many bytes, or none.
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

    /// Changes which sizes count as small: so many bytes and less, in place of [`SMALL_BYTES`].
    pub fn with_small(self, bytes: usize) -> MemoryCeiling {
        MemoryCeiling { small: bytes, ..self }
    }

    /// Whether so many bytes are taken in without a question.
    pub fn is_small(&self, bytes: usize) -> bool {
        bytes <= self.small
    }

    /// `memory_max`, in bytes.
    pub fn max(&self) -> Option<usize> {
        self.max
    }

    /// Something that holds memory of this kind, and nothing yet.
    pub fn hold(self: &Arc<MemoryCeiling>, kind: MemoryUse) -> MemoryHold {
        MemoryHold::new(self.clone(), kind)
    }

    /// What a new client holds: nothing yet.
    pub fn hold_for_client(self: &Arc<MemoryCeiling>) -> HeldByClient {
        HeldByClient::new(self.clone())
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

    /// Whether so many bytes more fit. When they do not, or only once L1 is emptied, whoever makes room is
    /// told.
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

    /// How much L1 may have of the `wanted` bytes: what is left of it before it would have to be emptied.
    pub fn room_for_l1(&self, wanted: usize) -> usize {
        let room = self.max.map(|max| part(max, FILLING).saturating_sub(self.used()));
        room.map_or(wanted, |room| wanted.min(room.max(L1_MIN)))
    }

    /// Whether so many bytes are a considerable part of all.
    pub fn is_much(&self, bytes: usize) -> bool {
        bytes > self.much()
    }

    /// How many bytes are a considerable part of all.
    pub fn much(&self) -> usize {
        self.max.map_or(usize::MAX, |max| part(max, 1))
    }

    /// Nobody is dropped who holds no more than this.
    pub fn least(&self) -> usize {
        self.small / 8
    }

    /// Whether memory is scarce: L1 stays empty, and who does not take its replies is not listened to.
    pub fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Whether memory is scarce at this very moment: [`MemoryCeiling::is_pressed`] says how it was at the
    /// last check, and much can come in since.
    pub fn is_scarce(&self) -> bool {
        self.is_pressed() || self.max.is_some_and(|max| self.used() > part(max, EMPTYING))
    }

    /// What a client is told whose request of so many bytes does not fit; `undone` says what was not done.
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
        // What several clients share is counted for each of them. Where more is counted than there can be,
        // what is taken from it says nothing about what was given back: nothing was, until the next
        // look.
        let bare = self.bare.fetch_min(real, Ordering::Relaxed).min(real);
        let shared = counted.saturating_add(bare).saturating_add(spare) > real;
        self.floor.store(if shared { real } else { 0 }, Ordering::Relaxed);
        // Both are far below the largest number there is.
        self.uncounted.store(real as isize - counted as isize, Ordering::Relaxed);
        self.spare.store(spare, Ordering::Relaxed);
    }

    /// Somebody was told to give back a lot. Nobody else has that before its memory is seen to be free: until
    /// the next look no less is in use than now.
    pub fn note_leaving(&self) {
        self.floor.fetch_max(self.used(), Ordering::Relaxed);
    }

    /// Whether L1 must be emptied, or stay so; `news` is whether that has just begun or just ended.
    pub fn press(&self) -> Pressure {
        let Some(max) = self.max else { return Pressure { on: false, news: false } };
        let (used, was) = (self.used(), self.is_pressed());
        let on = used > part(max, EMPTYING) || (was && used > part(max, FILLING));
        self.pressed.store(on, Ordering::Relaxed);
        Pressure { on, news: on != was }
    }

    /// Whether so much is in use that who holds the most is to be dropped.
    pub fn is_over(&self) -> bool {
        self.max.is_some_and(|max| self.used() > part(max, REFUSING))
    }

    /// Waits until somebody wants room that there is not.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn counted(&self) -> usize {
        self.held.iter().map(|held| held.load(Ordering::Relaxed)).fold(0, usize::wrapping_add)
    }

    fn change(&self, kind: MemoryUse, from: usize, to: usize) {
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
        let mut all: Vec<MemoryHold> = (0..10).map(|_| ceiling.hold(MemoryUse::Output)).collect();
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
        assert_eq!(ceiling.press(), Pressure { on: false, news: false });
        ceiling.note_size(|| 1401, 0);
        assert_eq!(ceiling.press(), Pressure { on: true, news: true });
        ceiling.note_size(|| 1300, 0);
        assert_eq!(ceiling.press(), Pressure { on: true, news: false });
        ceiling.note_size(|| 1200, 0);
        assert_eq!(ceiling.press(), Pressure { on: false, news: true });
    }

    #[test]
    fn without_a_ceiling_everything_fits() {
        let ceiling = MemoryCeiling::new(None);
        ceiling.note_size(|| usize::MAX / 4, 0);
        assert!(ceiling.fits(usize::MAX) && !ceiling.press().on && !ceiling.is_over());
    }
}
