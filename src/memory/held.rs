//! A share of the memory in use: what one buffer, queue or client holds, counted until it is dropped.

use std::sync::Arc;

use super::ceiling::MemoryCeiling;
use super::usage::MemoryUse;

/// So much may be held more or less than was counted where a small change is not worth one of the counters.
const GRAIN_BYTES: usize = 64 * 1024;

/// What one holder holds.
#[derive(Debug)]
pub struct MemoryHold {
    ceiling: Arc<MemoryCeiling>,
    kind: MemoryUse,
    bytes: usize,
}

/// What one client makes the daemon hold.
#[derive(Debug)]
pub struct HeldByClient {
    ceiling: Arc<MemoryCeiling>,
    input: usize,
    output: usize,
    transaction: usize,
}

// === impl MemoryCeiling ===

impl MemoryCeiling {
    /// Something that holds memory of this kind, and nothing yet.
    pub fn hold(self: &Arc<MemoryCeiling>, kind: MemoryUse) -> MemoryHold {
        MemoryHold { ceiling: self.clone(), kind, bytes: 0 }
    }

    /// What a new client holds: nothing yet.
    pub fn hold_for_client(self: &Arc<MemoryCeiling>) -> HeldByClient {
        HeldByClient { ceiling: self.clone(), input: 0, output: 0, transaction: 0 }
    }
}

// === impl MemoryHold ===

impl MemoryHold {
    /// Counts `bytes` in place of what was counted. Most of the time there is no difference.
    #[inline]
    pub fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.ceiling.change(self.kind, self.bytes, bytes);
            self.bytes = bytes;
        }
    }

    /// Sets the number of bytes if it differs by much: for what changes with every command.
    #[inline]
    pub fn set_roughly(&mut self, bytes: usize) {
        if bytes.abs_diff(self.bytes) >= GRAIN_BYTES {
            self.set(bytes);
        }
    }

    /// The bytes that are counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The ceiling that it counts against.
    pub fn ceiling(&self) -> &Arc<MemoryCeiling> {
        &self.ceiling
    }
}

// === impl HeldByClient ===

impl HeldByClient {
    /// Counts this in place of what was counted; the sum if that is another one than before.
    #[inline]
    pub fn set(&mut self, input: usize, output: usize, transaction: usize) -> Option<usize> {
        if (input, output, transaction) == (self.input, self.output, self.transaction) {
            return None;
        }
        let changes = [
            (MemoryUse::Input, &mut self.input, input),
            (MemoryUse::Output, &mut self.output, output),
            (MemoryUse::Transactions, &mut self.transaction, transaction),
        ];
        for (kind, held, now) in changes {
            if *held != now {
                self.ceiling.change(kind, *held, now);
                *held = now;
            }
        }
        Some(input + output + transaction)
    }
}

impl Drop for HeldByClient {
    fn drop(&mut self) {
        self.set(0, 0, 0);
    }
}

impl Drop for MemoryHold {
    fn drop(&mut self) {
        self.set(0);
    }
}
