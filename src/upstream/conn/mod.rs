//! A connection to one server: dial, greet, read frames, heartbeat, and try again after a loss.
//!
//! Everything here knows a socket and the server behind it. It must never know which commands sessions send,
//! which node owns a slot (it may only ask for the topology to be read again), or what a reply is kept for.
//! Begin with `transport/` (the socket),
//! `handshake.rs` (the first requests on it) and `supervisor.rs` (how a connection is kept up).
//!
//! A connection is made in steps, and each step has a deadline of its own: the look-up of the name on a
//! thread, each address (the next one is tried beside the first after 250 ms), and the greeting. The greeting
//! is HELLO 3, CLIENT TRACKING ON, INFO server and the first heartbeat, in one write, before any read. A mux
//! connection asks in the same write to be exempt from `maxmemory-clients`, and for the limits beyond which
//! the node would close it: a command beyond them is refused before it is sent.
//!
//! L1 may serve what was read on a connection only in the state `tracked`:
//!
//! ```text
//! catching up --healthy heartbeat--> tracked
//!      ^                                |
//!      +-- unhealthy, another cluster epoch, or silent for longer than the lease
//! ```

pub(super) mod backoff;
mod connect;
pub(super) mod connect_limiter;
pub(super) mod dns;
pub(super) mod expected;
pub(super) mod handshake;
pub(super) mod heartbeat;
pub(super) mod identity;
pub(super) mod inbox;
pub(super) mod limits;
pub(super) mod login;
mod non_redis;
pub(super) mod proxy_chain;
pub(super) mod push;
pub(super) mod supervisor;
pub(super) mod tracking;
pub(super) mod transfer;
pub(super) mod transport;
pub(super) mod turn;
