//! What the workers remember together for their clients: scripts, and how far walks over all keys have come.

use super::scan_cursors::ScanCursors;
use super::scripts::Scripts;

/// The memory that all workers share.
#[derive(Debug)]
pub struct RouterMemory {
    pub(super) scripts: Scripts,
    pub(super) walks: ScanCursors,
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

impl RouterMemory {
    /// An empty memory.
    pub fn new(limits: MemoryLimits) -> RouterMemory {
        let scripts = Scripts::new(limits.script_bytes_max);
        RouterMemory { scripts, walks: ScanCursors::new(limits.scan_passes_max) }
    }
}
