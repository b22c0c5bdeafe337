//! How much memory the daemon may hold (`memory_max`), and what holds how much of it.
//!
//! Every part that holds much counts its bytes in relaxed counters, which change when a buffer grows or
//! shrinks and never on a hit. Memory that no part counts shows in the real size of the process, which is
//! read every few milliseconds; between two reads the counters say how much was added. So no memory escapes,
//! and a request or reply is judged by its announced length before it is there.
//!
//! A request that announces more than 64 KiB is checked before its bytes are kept. If it does not fit, its
//! bytes are skipped as they arrive, and the session answers with an error. A reply that does not fit is
//! skipped in the same way; a push never is. L1 is emptied by an ordinary flush, so I1 to I6 hold, and stays
//! empty while memory is scarce. The allocator returns unused memory to the system at the same checks,
//! because a static build has no thread for that.
//!
//! Knows only sizes, and for whom they are counted (clients, L1, the upstream). Must never know: what a
//! client, a key or a cache is; `daemon/memory.rs` makes room. Begin with `ceiling.rs`, then `held.rs` (how a
//! part counts what it holds) and `limit.rs` (the limit of the machine).

mod allocator;
mod ceiling;
mod held;
mod limit;
mod size;
mod usage;

pub use allocator::Allocator;
pub use ceiling::{CLIENT_BYTES, MemoryCeiling, Pressure, SMALL_BYTES};
pub use held::{HeldByClient, MemoryHold};
pub use limit::{Limit, memory_max_by_default};
pub use size::Meter;
pub use usage::{Counts, MemoryUse};
