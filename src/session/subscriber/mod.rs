//! Subscribing and unsubscribing: what one client is subscribed to, and what it may do meanwhile.
//!
//! Who gets a message is the room `pubsub`'s to say, and what is subscribed to upstream is the upstream's.
//! Begin with `command.rs` and `subscribe.rs`.

mod command;
mod confirmation;
mod state;
mod subscribe;
mod subscribed;
mod unsubscribe;

pub(super) use command::{intercept, is_large, leave, subscribe, unsubscribe};
pub(super) use state::Subscriber;
