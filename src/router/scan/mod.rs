//! SCAN and KEYS: a walk over the keys of all primaries that misses none.
//!
//! Must never know: L1, which plays no part in a walk.
//!
//! Begin with `walk.rs` (the passes of a walk) and `cursors.rs` (the state behind a cursor).
//!
//! A walk goes over one node after the other, in passes. A pass asks the node for its slots, reads all its
//! keys, and asks for the slots again. A slot that the node owned both times, and was not giving away, is
//! done. The rest of a slot that is being given away is read at its new owner. A pass begins again when the
//! `run_id` of its node has changed, because the cursor of a server means nothing to another process.
//!
//! It does not go by slot: before Redis 7.4 one hash table holds all slots of a node, so each slot would
//! cost a pass over the whole node. A walk over one slot alone (a pinned namespace) asks its node for the
//! names in that slot, if they are few.
//!
//! The cursor of a client is the cursor of the server and the number of a state, which never changes once it
//! was given out: older cursors of a walk stay valid.

pub(super) mod cursors;
pub(super) mod names;
pub(super) mod page;
mod slot_set;
mod small_slot;
pub(super) mod walk;
