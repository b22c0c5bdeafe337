//! The conversation with one client: requests in, replies out, in order.
//!
//! A hit goes from the bytes to the reply without leaving `Session::poll`. A request that cannot be answered
//! at once gets a place in the pipeline, and the session continues with the next one. Both sides are limited:
//! no request is taken while too many answers are outstanding, and a client is disconnected if too many bytes
//! wait for it, or if it reads nothing for too long. Until then its requests are taken even if it does not
//! read: it may write all of them before it reads.
//!
//! A session must never know what a command does, nor where data is: the rooms `commands` and `router` answer
//! a request, and the session keeps order. Begin with `turn.rs` (what a session does when it is woken),
//! `serve.rs` (from a request to its answer) and `modes.rs` (what makes a session more than a plain one).

mod bounds;
mod carried;
mod conclude;
mod conversation;
mod deadlines;
mod dispatch;
mod ending;
mod exclusive;
mod farewell;
mod gates;
mod known_command;
mod mode_commands;
mod modes;
mod module_commands;
mod namespaced;
mod naming;
mod pipeline;
mod replies;
mod requests;
mod serve;
mod state;
mod step;
mod subscriber;
mod tracked_read;
mod transaction;
mod turn;
mod unauthenticated;
mod waits;

pub use conversation::Session;
