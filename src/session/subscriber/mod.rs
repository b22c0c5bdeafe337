//! Subscribing and unsubscribing: what one client is subscribed to, and what it may do meanwhile.
//!
//! The session must never know which clients get a message (that is `pubsub`), nor which node a channel is
//! subscribed to at (that is `upstream`).
//! Begin with `command.rs` and `subscribe.rs`.

mod command;
mod confirmation;
mod state;
mod subscribe;
mod subscribed;
mod unsubscribe;

pub(super) use command::{intercept, is_large, leave, subscribe, unsubscribe};
pub(super) use state::Subscriber;
