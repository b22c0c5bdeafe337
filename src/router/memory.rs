//! What the workers remember together for their clients: scripts, and how far walks over all keys have come.

use std::sync::Arc;

use super::scan::cursors::ScanCursors;
use super::scripting::script_cache::ScriptCache;

/// The memory that all workers share.
#[derive(Debug)]
pub struct RouterMemory {
    pub(super) scripts: Arc<ScriptCache>,
    pub(super) walks: Arc<ScanCursors>,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// Bytes of scripts.
    pub script_bytes_max: usize,
    /// Passes of unfinished walks.
    pub scan_passes_max: usize,
}

// === impl RouterMemory ===

impl RouterMemory {
    /// An empty memory.
    pub fn new(limits: MemoryLimits) -> RouterMemory {
        let scripts = Arc::new(ScriptCache::new(limits.script_bytes_max));
        RouterMemory { scripts, walks: Arc::new(ScanCursors::new(limits.scan_passes_max)) }
    }
}
