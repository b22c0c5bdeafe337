//! Publish and subscribe for all clients of the daemon: which client gets which messages.
//!
//! Upstream each channel or pattern is subscribed to once, whatever the number of clients. A message is one
//! piece of memory for all clients that get it. A client is among the subscribers as soon as it asks to be,
//! so that it misses nothing; what comes before the confirmation is kept behind it by its session. A client
//! that ends a subscription is removed first and gets the confirmation after that, so that no message comes
//! behind it.
//!
//! Must never know: sessions and sockets (a message goes into a client's mailbox), and which node a
//! subscription is on.
//!
//! Begin with `hub.rs`, then `registry.rs` (the subscribers of each topic).

mod hub;
mod registry;

pub use hub::{Hub, Search, SubscriptionCounts};
