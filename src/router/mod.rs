//! Where L1 meets L2: what is done with a command that is about data.
//!
//! A hit is answered on the spot. Any other request is handed to the upstream on the spot as well, in the
//! order in which the session asked, and answered later.
//!
//! Must never know: a socket, or what a session is beside the version of its protocol and its commands in
//! flight.
//!
//! Begin with `dispatch.rs` (the router and the table's classes), `reads/` (what L1 may answer) and
//! `forward/` (one command to the node of its keys). Each family of commands has a folder.

mod answer;
mod blocking;
mod caller;
pub mod coherence;
mod command_info;
mod context;
mod control_queries;
mod coverage;
mod database;
mod dispatch;
mod forward;
mod memory;
mod messages;
mod multi_key;
mod namespace_keys;
mod node_instance;
mod policy;
mod primaries;
mod reads;
mod replies;
mod reply_bound;
mod request_route;
mod scan;
mod scripting;
mod transactions;
mod turns;

pub use answer::{Answer, ExclusiveEnd};
pub use caller::Caller;
pub use coherence::inflight::{Hold, Inflight};
pub use command_info::very_many_names::names_very_many;
pub use context::{FillResult, RouterCache, RouterSettings};
pub use control_queries::QueryReply;
pub use coverage::Coverage;
pub use database::is_of_missing_database;
pub use dispatch::Router;
pub use memory::{MemoryLimits, RouterMemory};
pub use reply_bound::ReplyBound;
pub use scripting::namespaced::NamespacedScripts;
pub use scripting::script_cache::Sha;
pub use transactions::part::{ExecElement, NotAPart, TransactionPart};
pub use transactions::slots::QueuedSlots;
pub use transactions::watch::Watched;
