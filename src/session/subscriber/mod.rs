//! Subscribing and unsubscribing: what one client is subscribed to, and what it may do meanwhile.
//!
//! Must never know: which other clients get a message (`pubsub/`), or at which node a channel is subscribed
//! to (`upstream/`). Begin with `command.rs` (which command is allowed) and `subscribe.rs` (one SUBSCRIBE).

mod command;
mod confirmation;
mod deliver;
mod state;
mod subscribe;
mod subscribed;
mod unsubscribe;

pub(super) use command::{is_large, is_plain_ping, leave, pong, refusal, subscribe, unsubscribe};
pub(super) use deliver::PushParts;
pub(super) use state::Subscriber;
