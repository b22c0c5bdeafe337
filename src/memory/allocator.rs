//! What the memory keeper asks of the allocator of the process.

/// What the memory keeper asks of the allocator of the process.
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
