//! One question on a connection of its own: a node that runs a script hears nothing on the connection that sent it.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::time;

use super::Upstream;
use super::call::{Outcome, UpstreamReply};
use super::error::Failure;
use super::handshake::hello;
use super::slots::NodeIndex;
use super::wire::Wire;

/// So many such connections of one worker may be open; whoever comes later waits for one of them to end.
const CONNECTIONS_MAX: usize = 16;

// === impl Upstream ===

impl Upstream {
    /// Asks a node on a new connection, which ends with the reply.
    pub async fn ask_apart(self: Rc<Upstream>, index: NodeIndex, request: Bytes) -> Outcome {
        let node = self.node(index);
        let patience = self.options.request_timeout;
        let unreachable = |cause: String| Failure::Unreachable { node: node.clone(), cause };
        let asked = async {
            // Nobody closes it.
            let _permit = self.apart.acquire().await;
            let mut wire =
                Wire::connect(&node, patience).await.map_err(|error| unreachable(error.to_string()))?;
            let mut bytes = BytesMut::from(&hello(self.options.credentials.as_ref())[..]);
            bytes.extend_from_slice(&request);
            let replies = wire.converse(&bytes.freeze(), 2).await;
            let lost = |cause: String| Failure::Lost { node: node.clone(), cause };
            let frame = replies.map_err(|error| lost(error.to_string()))?.pop().unwrap_or_default();
            Ok(UpstreamReply { frame, rerouted: false, tracked: false })
        };
        let in_time = time::timeout(patience, asked).await;
        in_time.unwrap_or_else(|_| Err(Failure::TimedOut { node: node.clone(), after: patience }))
    }
}

/// The permits for such connections.
pub(super) fn permits() -> tokio::sync::Semaphore {
    tokio::sync::Semaphore::new(CONNECTIONS_MAX)
}
