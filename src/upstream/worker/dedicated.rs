//! Dedicated connections for the sessions of this worker: an idle one, or a new one.

use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::upstream::Upstream;
use crate::node::NodeId;
use crate::protocol::db::DbIndex;
use crate::protocol::key::Slot;
use crate::stats::CountGuard;
use crate::upstream::call::{Outcome, UpstreamReply};
use crate::upstream::conn::handshake;
use crate::upstream::conn::identity::ExpectedNode;
use crate::upstream::conn::transport::Transport;
use crate::upstream::dedicated::{Dedicated, DedicatedLink};
use crate::upstream::error::UpstreamError;
use crate::upstream::redirects::redirect::Redirect;
use crate::upstream::topology::node_numbers::NodeIndex;

impl Upstream {
    /// A connection to the owner of `slot`, or to any primary.
    ///
    /// # Errors
    /// There is no such node, it cannot be reached, or too many are in use.
    pub async fn dedicated(self: &Rc<Upstream>, slot: Option<Slot>) -> Result<Dedicated, UpstreamError> {
        let node = match slot {
            Some(slot) => self.owner_node(slot).ok_or_else(|| self.no_owner(slot))?,
            None => self.node(self.any_node().ok_or_else(|| self.no_topology())?),
        };
        self.dedicated_to(&node).await
    }

    /// A connection to `node`: one that another session gave back, or a new one.
    ///
    /// # Errors
    /// The node cannot be reached, or too many are in use.
    pub async fn dedicated_to(self: &Rc<Upstream>, node: &NodeId) -> Result<Dedicated, UpstreamError> {
        let counts = &self.context.shared.dedicated;
        let Some(in_use) = CountGuard::below(&counts.in_use, self.context.options.dedicated_max) else {
            self.context.stats.dedicated_refusals.add(1);
            return Err(UpstreamError::NoDedicated { bound: "upstream_dedicated_max" });
        };
        let link = match self.context.idle.take(node) {
            Some(link) => {
                self.context.stats.dedicated_reused.add(1);
                link
            }
            None => self.open(node).await?,
        };
        Ok(Dedicated::new(self.context.clone(), link, in_use))
    }

    /// Asks a node on a dedicated connection: a node that runs a script reads nothing on the connection that
    /// sent it.
    ///
    /// # Errors
    /// The node cannot be reached or is silent, or too many of these connections are in use.
    pub async fn ask_dedicated(self: Rc<Upstream>, index: NodeIndex, request: Bytes) -> Outcome {
        let mut dedicated = self.dedicated_to(&self.node(index)).await?;
        let frame = dedicated.round_trip(&request, 1).await?.pop().unwrap_or_default();
        dedicated.give_back();
        Ok(UpstreamReply { frame, rerouted: false, tracked: false, by: None })
    }

    async fn open(&self, node: &NodeId) -> Result<DedicatedLink, UpstreamError> {
        match self.greeted(node).await {
            Ok((transport, id)) => {
                self.context.stats.dedicated_opened.add(1);
                let open = CountGuard::more(&self.context.shared.dedicated.open);
                Ok(DedicatedLink {
                    node: node.clone(),
                    id,
                    transport,
                    database: DbIndex::default(),
                    _open: open,
                })
            }
            Err(error) => {
                self.context.shared.attempt_failed();
                Err(UpstreamError::Unreachable { node: node.clone(), cause: error.to_string() })
            }
        }
    }

    async fn greeted(&self, node: &NodeId) -> io::Result<(Transport, u64)> {
        let mut transport = Transport::connect(node, &self.context.options, &self.context.shared).await?;
        let whom = ExpectedNode { node, shared: &self.context.shared };
        let id = handshake::greet_untracked(&mut transport, &self.context.options, whom).await?;
        Ok((transport, id))
    }

    /// Where `frame`, which `node` answered to a command on `slot` on a dedicated connection, sends it on to,
    /// if it is a redirect; `runs_user_code` says whether a script may have written it. All that follows from
    /// it for the slot has been done then.
    pub async fn redirected(
        self: &Rc<Upstream>,
        frame: &[u8],
        slot: Option<Slot>,
        node: &NodeId,
        runs_user_code: bool,
    ) -> Option<Redirect> {
        let redirect =
            self.confirmed(self.context.redirect_of(frame, slot, node)?, node, runs_user_code).await?;
        self.context.stats.upstream_redirects.add(1);
        self.context.note(&redirect);
        Some(redirect)
    }
}
