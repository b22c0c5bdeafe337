//! The near cache (L1): hot replies in memory, and the promise that none of them is stale.
//!
//! It knows keys, replies, epochs and time. It must never know connections, nodes or clients. Begin with
//! `lookup.rs` (a hit), `miss.rs` and `commit.rs` (a fill), and `store/` (where entries lie and what goes).
//!
//! - **I1** A fill is registered before its command is sent.
//! - **I2** An invalidation first kills the running fills of that key, then removes the entry; commit and
//!   invalidation of one key exclude each other.
//! - **I3** A read that begins after an invalidation never joins a fill that began before it.
//! - **I4** A lost or silent upstream connection, a slot that moved, a failover, lag anywhere in our own
//!   queues: the epoch of what may be stale ends, and entries of it are misses. They are misses as well while
//!   bytes of their node wait unread: after the process was stopped, or a thread was held up.
//! - **I5** An entry never outlives its key: the server's TTL may only shorten ours, deadlines are monotonic,
//!   the round trip is subtracted. Where a policy is `capped`, the server is not asked for the TTL: such an
//!   entry ends with the push about the removal of its key, and at our own limit.
//! - **I6** Read your writes: once a session has its write's reply, no session of this daemon reads the older
//!   value; within one session's pipeline a read sees the writes before it and not the writes after it.
//!
//! How: the line of the index that a key belongs to has a generation ([`store`]). A ticket carries the one
//! from before the command was sent. An invalidation locks the line, raises it and takes the key's entries
//! out of the line, which is the only way to find them; a commit compares it under the same lock. For slots
//! and connections, each entry carries its slot, the number of moves of that slot, and the epoch that it was
//! read in; every lookup compares them.
//!
//! A deadline ends an entry as well: the least of `l1_ttl` or the `ttl` of its policy, the TTL of its key at
//! the server, and `negative_ttl` for an absent key, counted from the instant when the command was sent.
//!
//! With one worker and without BCAST, all replies and pushes of a node come in one order. With several
//! workers, with side connections or with BCAST, the older of two replies may arrive last, before the push
//! that would have stopped it. So a commit is compared then: if the reply differs from what is kept, or
//! cannot be kept, the key is invalidated before the reply leaves. No fill is joined that began before the
//! latest commit.

mod admission;
mod commit;
mod commit_order;
mod entry;
mod explain;
mod fill;
mod flush;
mod generation;
mod hashing;
mod hit;
mod hot_keys;
mod hottest_reads;
mod lookup;
mod miss;
mod miss_reason;
mod near_cache;
pub mod policy;
mod prefetch;
mod samples;
mod shared;
mod store;
mod sweep;
pub mod warm;

pub use commit::{Commit, Lifetime};
pub use entry::{COMMANDS_MAX, CacheQuery, CommandId, DATABASES_MAX, Resp2, VersionedReply};
pub use explain::{Explained, KeptReply};
pub use fill::{Lead, Ticket};
pub use flush::Flush;
pub use generation::MissToken;
pub use hit::Hit;
pub use lookup::Lookup;
pub use miss::COALESCE_WINDOW;
pub use miss_reason::{LastReason, MissReason, NoReason};
pub use near_cache::NearCache;
pub use samples::{SAMPLES_MAX, Sample};
pub use shared::{CacheLimits, SharedCache};

#[cfg(test)]
mod tests;
