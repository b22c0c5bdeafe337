//! The atomics of the index. The test that tries all orders of steps of several threads (`tests/lines`)
//! compiles `line.rs` over its own ones.

pub(super) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Reads of a line during a write after which this thread yields the CPU: the writer may wait for it.
const LOOKS_PER_TURN: u32 = 64;

/// Waits before the next read of a line that is being written.
#[inline]
pub(super) fn pause(looks: u32) {
    if looks % LOOKS_PER_TURN == LOOKS_PER_TURN - 1 {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}
