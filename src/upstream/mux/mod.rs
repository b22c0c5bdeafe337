//! The multiplexed connections of one worker: each node has one that all sessions share, and side connections
//! while something large is on that.
//!
//! ```text
//! Connecting --greeted--> Up --lost--> Connecting --failed--> Down --delay--> Connecting
//! ```
//! While `Connecting` commands wait for their deadline; while `Down` they fail at once. A failure of one node
//! touches no other node. When the connection is lost its epoch ends before anything else is done (I4).
//!
//! A connection must never know which node owns a slot or which sessions exist: a redirected command is
//! handed back. Begin with `connection.rs` (its state), `serve.rs` (its loop) and `queue/` (its commands).
//!
//! Small commands never wait behind large ones. A connection is busy while a request of `upstream_large_min`
//! bytes or more has not left, while a reply or push of that size comes in or may come in, and while anything
//! has been coming in for more than 20 ms. A large request takes a side connection. So does a command on a
//! slot that had something large within `upstream_dedicated_idle_timeout`. All other commands take the first
//! connection that is not busy.
//!
//! A command stays on the connection that has unanswered commands on its slot, so none overtakes another.
//! While a command that may touch any key is unanswered (FLUSHALL, a script without keys), all commands stay
//! on its connection. While there are side connections, commands without keys are exclusive in their session.
//!
//! Replies of several connections have no common order. From the first side connection on, commits to L1 are
//! compared as with several workers.
//!
//! After a loss, commands that were never written go out on the next connection. A command that was written
//! is sent again only if it reads, and if no write to its keys was written after it. All others fail with an
//! error that says whether they may have been executed.
//!
//! All databases of one server share a connection: SELECT goes before a command of another database, in the
//! same write. The first SELECT of a database on a connection is awaited (`queue/databases.rs`).

pub(super) mod connection;
mod driver;
mod loss;
pub(super) mod node_connections;
pub(super) mod quarantine;
mod queue;
mod receive;
mod send;
mod serve;
pub(super) mod slot_routes;
