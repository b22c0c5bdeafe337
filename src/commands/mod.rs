//! The commands that the daemon answers itself, because they are about the connection, about the daemon or
//! about its clients.
//!
//! A command gets its request, the [`ClientState`] of the client that asks and the [`SessionContext`] of its
//! worker. It must never know the session: neither its pipeline nor its modes (MULTI, subscriptions); a
//! command only learns whether it runs at once (`ExecContext`). Begin
//! with `dispatch.rs` (which function answers which command), `context.rs` (what a command may use) and one
//! family, such as `client/`.

mod acl;
mod auth_throttle;
mod client;
mod client_state;
mod command_stats;
mod config;
mod connection;
mod context;
mod dispatch;
mod hello;
mod info;
mod latency;
mod login;
mod lolwut;
pub(crate) mod monitor;
mod nearside;
mod password;
mod report;
mod server_state;
mod slowlog;

pub(crate) use client::{kill, tracking};
pub(crate) use client_state::ClientState;
pub use command_stats::CommandStats;
pub(crate) use config::get::is_said_by_server;
pub(crate) use config::set::is_set_by_server;
pub(crate) use context::ExecContext;
pub use context::{SessionContext, SessionLimits};
pub(crate) use dispatch::answer;
pub(crate) use login::wait_for_turn;
pub use password::Password;
pub use report::ServerReport;
pub(crate) use server_state::GlobalFlags;
pub use server_state::{PasswordIsFixed, ServerState};
pub(crate) use slowlog::LatencyTimer;
