//! Subscriptions to channels, on connections that do nothing else, for the whole process.
//!
//! However many clients want a channel, it is subscribed to once. A connection is opened when the first
//! subscription is wanted on its node and closed when none is left. What is lost with a connection is
//! subscribed to again, on the node that it belongs to by then. Nothing here may know which clients want a
//! message: a function gets it. Begin with `subscriptions.rs` (what others ask for), `plan/` (which node has
//! what, without a socket) and `link.rs` (one connection).

mod link;
mod message;
mod plan;
mod run;
mod subscriptions;
mod topic;

pub use link::OnMessage;
pub use subscriptions::{Readiness, SubscriptionGuard, Subscriptions};
pub use topic::{Topic, TopicKind};
