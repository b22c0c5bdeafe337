//! BCAST tracking: invalidations of all keys with some prefix, whoever read them, over one connection to each
//! primary, for as long as a client or a policy of L1 wants it.
//!
//! Tracking on the connections of commands names the keys that were read on them. A client in BCAST mode
//! wants others as well, and a policy may spare the server to remember what was read by whom. What clients
//! may have missed, before a connection was established or after it was lost, is reported as everything; what
//! L1 kept thanks to such a connection carries an epoch of that connection.
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
