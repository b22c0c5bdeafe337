//! Why keys were not answered from L1, or left it: the last reason for each key, in a table of fixed size.
//!
//! It is written on misses, invalidations and evictions, never on a hit.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{self, Nanos};

/// Places of the table: 64 KiB. Two keys with one place take it from each other.
const REASONS_MAX: usize = 1 << 13;

/// Why a read of a key was not answered from L1, why its reply was not kept, or why its entry was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MissReason {
    /// It was read by a command whose replies are not kept.
    Command = 1,
    /// Its policy keeps it out.
    Policy,
    /// The key is invalidated more often than it is read.
    WriteHeavy,
    /// The connection to its node is not tracked.
    NotTracked,
    /// Its slot is on its way to another node.
    Moving,
    /// The session that read it has written it, and has no reply to that yet.
    OwnWrite,
    /// The session that read it wants nothing from L1.
    Fresh,
    /// No reply came from upstream.
    Failed,
    /// The server did not say how long the key will live.
    NoLifetime,
    /// The reply was an error.
    Error,
    /// The read was redirected, or sent again over another connection.
    Rerouted,
    /// The time to live does not fit the reply: the key expired or appeared in between.
    ChangedLifetime,
    /// An invalidation came while the reply was on its way.
    Changed,
    /// Another worker had brought in something else.
    Differed,
    /// The connection was lost or silent while the reply was on its way.
    EpochEnded,
    /// The time of the reply was over when it came.
    TooShort,
    /// The value, or all of the entry, is larger than what is kept.
    TooLarge,
    /// It was kept, and its time was over.
    Expired,
    /// It was kept, and the connection that it came over was lost or silent.
    Lost,
    /// It was kept, and the server said that it changed.
    Invalidated,
    /// It was kept, and a client of this daemon wrote it.
    Written,
    /// It was kept, and its slot moved.
    Moved,
    /// It was kept, or to be kept, and there was no room.
    Evicted,
    /// It was kept, and NEARSIDE FLUSH named a prefix of it.
    Flushed,
    /// It was kept, and found to be wrong.
    Mismatch,
    /// It was one of very many in an MGET, and there was no room upstream to ask for the times to live of
    /// all.
    Crowded,
    /// The daemon held nearly as much memory as it may.
    NoMemory,
    /// It was kept, and then read over a connection whose invalidations come in no common order with its own.
    ReadUnordered,
    /// Its request had other bytes than an end of line behind an argument, and more arguments than the key.
    UnusualRequest,
    /// It was kept, and the server said that all its keys changed.
    NodeFlushed,
    /// Nothing of its database is kept.
    Database,
}

/// What the table has of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastReason {
    /// Nothing, since the daemon started or L1 was emptied as a whole.
    Nothing,
    /// Another key took its place in the table, and it may have had a reason.
    Forgotten,
    /// The last reason, and when it was: up to a second before that.
    Reason(MissReason, Nanos),
}

/// Why there is no reason for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReason {
    /// L1 is off.
    Off,
    /// It was never looked for.
    NeverRead,
    /// L1 was emptied as a whole, and it was not looked for since.
    Emptied,
    /// Another key took its place in the table.
    Forgotten,
}

/// The table. A place is a part of the key's hash, a time in seconds and a reason, written as one.
#[derive(Debug)]
pub(super) struct Reasons {
    places: Box<[AtomicU64]>,
    began: Nanos,
}

const SECOND: Nanos = 1_000_000_000;
/// The time wraps around after half a year.
const SECONDS_MASK: u64 = (1 << 24) - 1;

// === impl MissReason ===

impl MissReason {
    /// All of them, by number.
    pub const ALL: [MissReason; 31] = [
        MissReason::Command,
        MissReason::Policy,
        MissReason::WriteHeavy,
        MissReason::NotTracked,
        MissReason::Moving,
        MissReason::OwnWrite,
        MissReason::Fresh,
        MissReason::Failed,
        MissReason::NoLifetime,
        MissReason::Error,
        MissReason::Rerouted,
        MissReason::ChangedLifetime,
        MissReason::Changed,
        MissReason::Differed,
        MissReason::EpochEnded,
        MissReason::TooShort,
        MissReason::TooLarge,
        MissReason::Expired,
        MissReason::Lost,
        MissReason::Invalidated,
        MissReason::Written,
        MissReason::Moved,
        MissReason::Evicted,
        MissReason::Flushed,
        MissReason::Mismatch,
        MissReason::Crowded,
        MissReason::NoMemory,
        MissReason::ReadUnordered,
        MissReason::UnusualRequest,
        MissReason::NodeFlushed,
        MissReason::Database,
    ];
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MissReason::Command => "it was read by a command whose replies are not kept",
            MissReason::Policy => "its policy keeps it out",
            MissReason::WriteHeavy => "it is changed more often than it is read",
            MissReason::NotTracked => "the connection to its node was not tracked",
            MissReason::Moving => "its slot was on its way to another node",
            MissReason::OwnWrite => "the session that read it was waiting for the reply to its own write",
            MissReason::Fresh => "the session that read it wants fresh replies (NEARSIDE FRESH ON)",
            MissReason::Failed => "no reply came from upstream",
            MissReason::NoLifetime => "the server did not say how long it will live",
            MissReason::Error => "the reply was an error",
            MissReason::Rerouted => "the read was redirected, or sent again over another connection",
            MissReason::ChangedLifetime => "it expired, or appeared, while it was read",
            MissReason::Changed => "it was invalidated while the reply was on its way",
            MissReason::Differed => "another worker had read something else",
            MissReason::EpochEnded => "the connection was lost or silent while the reply was on its way",
            MissReason::TooShort => "the time of the reply was over when it came",
            MissReason::TooLarge => "it is larger than what is kept",
            MissReason::Expired => "the time of the entry was over",
            MissReason::Lost => "the connection that the entry came over was lost or silent",
            MissReason::Invalidated => "the server said that the key changed",
            MissReason::Written => "a client of this daemon wrote the key",
            MissReason::Moved => "its slot moved",
            MissReason::Evicted => "there was no room",
            MissReason::Mismatch => "shadow verification found that the server had something else",
            MissReason::Flushed => "NEARSIDE FLUSH",
            MissReason::Crowded => "there was no room upstream to ask for its time to live",
            MissReason::NoMemory => "memory_max was nearly used up",
            MissReason::ReadUnordered => {
                "it was read over another connection, which may have had something newer"
            }
            MissReason::UnusualRequest => "its request had something else than \\r\\n behind an argument",
            MissReason::NodeFlushed => "the server said that all keys changed",
            MissReason::Database => "replies are kept of databases 0 to 15 alone",
        })
    }
}

// === impl NoReason ===

impl NoReason {
    /// All of them.
    pub const ALL: [NoReason; 4] =
        [NoReason::Off, NoReason::NeverRead, NoReason::Emptied, NoReason::Forgotten];
}

impl fmt::Display for NoReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoReason::Off => f.write_str("L1 is off (l1_size is 0)"),
            NoReason::NeverRead => f.write_str("no command that L1 could answer has read it"),
            NoReason::Emptied => f.write_str("it was not read since L1 was emptied"),
            NoReason::Forgotten => {
                write!(f, "forgotten: reasons of at most {REASONS_MAX} keys are remembered")
            }
        }
    }
}

// === impl Reasons ===

impl Reasons {
    pub(super) fn new() -> Reasons {
        let places = std::iter::repeat_with(AtomicU64::default).take(REASONS_MAX).collect();
        Reasons { places, began: clock::now() }
    }

    /// Notes the reason for the key with this hash.
    pub(super) fn note(&self, hash: u64, why: MissReason) {
        let seconds = (clock::now().saturating_sub(self.began) / SECOND) & SECONDS_MASK;
        let packed = tag(hash) | seconds << 8 | u64::from(why as u8);
        self.places[place(hash)].store(packed, Ordering::Relaxed);
    }

    /// Forgets all reasons: L1 was emptied.
    pub(super) fn clear(&self) {
        self.places.iter().for_each(|place| place.store(0, Ordering::Relaxed));
    }

    /// The last reason of the key with this hash.
    pub(super) fn of(&self, hash: u64) -> LastReason {
        let packed = self.places[place(hash)].load(Ordering::Relaxed);
        let why = (packed & 0xff).checked_sub(1).and_then(|number| MissReason::ALL.get(number as usize));
        match why {
            None => LastReason::Nothing,
            Some(_) if tag(packed) != tag(hash) => LastReason::Forgotten,
            Some(why) => LastReason::Reason(*why, self.began + (packed >> 8 & SECONDS_MASK) * SECOND),
        }
    }
}

/// The place of a hash: the lower bits choose it, and the upper ones distinguish hashes that share it.
fn place(hash: u64) -> usize {
    hash as usize % REASONS_MAX
}

fn tag(hash: u64) -> u64 {
    hash & !0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reason_of_a_key_is_remembered_and_never_taken_for_anothers() {
        let reasons = Reasons::new();
        let key = 0x1234_5678_9abc_def0;
        assert_eq!(reasons.of(key), LastReason::Nothing);
        for (number, why) in MissReason::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, number + 1);
            reasons.note(key, why);
            assert!(matches!(reasons.of(key), LastReason::Reason(noted, _) if noted == why), "{why}");
        }
        let same_place = key ^ 1 << 40;
        assert_eq!(reasons.of(same_place), LastReason::Forgotten);
        reasons.note(same_place, MissReason::Evicted);
        assert_eq!(reasons.of(key), LastReason::Forgotten);
        reasons.clear();
        assert_eq!((reasons.of(key), reasons.of(same_place)), (LastReason::Nothing, LastReason::Nothing));
    }
}
