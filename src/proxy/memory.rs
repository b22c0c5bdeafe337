//! What the workers remember together for their clients: scripts, and how far walks over all keys have come.

use super::scripts::Scripts;
use super::walks::Walks;

/// The memory that all workers share.
#[derive(Debug)]
pub struct Memory {
    pub(super) scripts: Scripts,
    pub(super) walks: Walks,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// Bytes of scripts.
    pub script_bytes_max: usize,
    /// Passes of unfinished walks.
    pub scan_passes_max: usize,
}

// === impl Memory ===

impl Memory {
    /// An empty memory.
    pub fn new(limits: MemoryLimits) -> Memory {
        let scripts = Scripts::new(limits.script_bytes_max);
        Memory { scripts, walks: Walks::new(limits.scan_passes_max) }
    }
}
