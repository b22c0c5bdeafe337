//! The owners of the slots: the slot table, and what keeps it true. The owners are asked on a timer, and
//! whenever a connection has reason to doubt the table.
//!
//! All of it is off the data path, over a connection of its own, and everything that comes on that has a
//! bound: its bytes, the time of each step, one shape that is accepted and no other. The topology must never
//! know which commands are sent. Begin with `slots.rs` (the table) and `refresher.rs` (what fills it).

pub(super) mod address_map;
mod cluster_identity;
pub(super) mod cluster_nodes;
mod control;
mod map;
pub(super) mod node_numbers;
mod options;
mod ordered_watch;
mod query;
mod refresher;
mod sentinel;
pub(super) mod slots;

pub use map::SlotMap;
pub use options::TopologyOptions;
pub use refresher::{keep, keep_by};
