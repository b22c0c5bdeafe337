//! BCAST tracking: invalidations of all keys with a prefix, read or not, over one connection to each primary,
//! for as long as a client or a policy of L1 wants it.
//!
//! Tracking on the connections of commands names the keys that were read on them. A client in BCAST mode
//! wants others as well, and a policy may spare the server the memory for each read key. When a connection is
//! established or lost, clients are notified that all keys may have changed, since they may have missed some;
//! entries that L1 keeps because of such a connection carry its epoch.
//!
//! The folder must never know which clients or policies want the prefixes. Begin with `keeper.rs` (which
//! nodes are subscribed to), `listener.rs` (one node) and `state.rs` (what the readers of L1 ask).

mod broadcast;
mod keeper;
mod listener;
mod state;

pub use broadcast::Broadcast;
pub use keeper::keep;
pub use listener::{BcastEvent, OnBcastEvent};
pub use state::BcastPrefixes;
