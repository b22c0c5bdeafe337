//! What a lookup notes about a key before anything is sent: its generation, which a commit compares (I1, I2).

use crate::clock::Nanos;
use crate::protocol::key::Slot;

/// What a lookup noted before anything is sent: the generation of the key (I1).
#[derive(Clone, Copy, Debug)]
pub struct MissToken {
    pub(super) hash: u64,
    pub(super) generation: Generation,
    /// When it was looked for.
    pub(super) at: Nanos,
    /// A fill that was sent before this is none to join.
    pub(super) behind: u64,
}

/// What must still be so when a reply is kept: how often its key, or one beside it in the index, was
/// invalidated, and how often its slot moved. Numbers of 32 bits would have to wrap around while a fill runs
/// to deceive.
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
