//! What the routers of all workers share: scripts, how far walks over all keys have come, and CLIENT PAUSE.

use std::sync::Arc;

use super::scan::cursors::ScanCursors;
use super::scripting::namespaced::NamespacedScripts;
use super::scripting::script_cache::ScriptCache;
use crate::clients::pause::ClientPause;

/// What the routers of all workers share.
#[derive(Debug)]
pub struct RouterMemory {
    pub(super) scripts: Arc<ScriptCache>,
    pub(super) namespaced_scripts: Arc<NamespacedScripts>,
    pub(super) walks: Arc<ScanCursors>,
    pub(super) pause: Arc<ClientPause>,
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
    /// An empty memory; `pause` holds commands back.
    pub fn new(limits: MemoryLimits, pause: Arc<ClientPause>) -> RouterMemory {
        let scripts = Arc::new(ScriptCache::new(limits.script_bytes_max));
        let namespaced_scripts = NamespacedScripts::new(scripts.clone(), limits.script_bytes_max).into();
        let walks = Arc::new(ScanCursors::new(limits.scan_passes_max));
        RouterMemory { scripts, namespaced_scripts, walks, pause }
    }
}
