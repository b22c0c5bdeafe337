//! What a lookup notes about a key before anything is sent: its generation, which a commit compares (I1, I2).

use crate::clock::Nanos;
use crate::protocol::key::Slot;

/// What a lookup noted before anything is sent: the generation of the key (I1).
#[derive(Clone, Copy, Debug)]
pub struct MissToken {
    pub(super) hash: u64,
    pub(super) generation: Generation,
    /// The time of the lookup.
    pub(super) at: Nanos,
    /// The least number of a fill that the read may join.
    pub(super) behind: u64,
}

/// What must be unchanged at a commit: how often the key, or one with the same line in the index, was
/// invalidated, and how often its slot moved. Only if a number of 32 bits wrapped around during one fill
/// would a change be missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) key: u32,
    pub(super) slot: Slot,
    pub(super) moves: u32,
}

// === impl MissToken ===

impl MissToken {
    /// The slot of the key.
    pub fn slot(&self) -> Slot {
        self.generation.slot
    }
}
