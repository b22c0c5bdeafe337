//! The owners of the slots: the slot table, and what keeps it true. The owners are asked on a timer, and
//! whenever a connection has reason to doubt the table.
//!
//! All of it is off the data path, over a connection of its own, and everything that comes on that has a
//! bound: its bytes, the time of each step, one shape that is accepted and no other. The topology must never
//! know which commands are sent. Begin with `slots.rs` (the table) and `refresher.rs` (what fills it).
//!
//! Two things make an answer suspicious. Addresses are given to other machines now and then, but a node keeps
//! its id for life: a map that names no known node belongs to another cluster, and is believed only if a
//! configured name gives it as well. And each connection asks the node for its id (CLUSTER MYID): if the map
//! names another node at that address, no command goes out, and the topology is asked.
//!
//! All addresses that nodes announce (CLUSTER SLOTS, CLUSTER NODES, MOVED, ASK, Sentinels) go through one
//! function, which refuses sockets of this machine and impossible names, and applies `address_map`.

pub(super) mod address_map;
mod cluster_identity;
pub(super) mod cluster_nodes;
mod control;
mod map;
pub(super) mod node_numbers;
mod ordered_watch;
mod query;
mod refresher;
mod sentinel;
pub(super) mod slots;

pub use map::SlotMap;
pub use refresher::{keep, keep_by};
