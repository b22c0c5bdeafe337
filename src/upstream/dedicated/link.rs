//! An open dedicated connection, in the hands of a session or idle.

use crate::node::NodeId;
use crate::protocol::db::DbIndex;
use crate::stats::CountGuard;
use crate::upstream::conn::transport::Transport;

/// An open connection and what is known of it.
#[derive(Debug)]
pub(in crate::upstream) struct DedicatedLink {
    pub(in crate::upstream) node: NodeId,
    pub(in crate::upstream) id: u64,
    pub(in crate::upstream) transport: Transport,
    /// The database that it is in.
    pub(in crate::upstream) database: DbIndex,
    pub(in crate::upstream) _open: CountGuard,
}
