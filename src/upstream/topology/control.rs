//! The connection for topology requests to one node or Sentinel: each step has a deadline, each answer a
//! length.
//!
//! A deadline is not extended by what trickles in. The connection carries no data of clients, so anything odd
//! ends it, and another node is asked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time;

use crate::node::NodeId;
use crate::protocol::resp::encode;
use crate::upstream::conn::expected::ExpectedReplies;
use crate::upstream::conn::handshake;
use crate::upstream::conn::proxy_chain::ProxyChain;
use crate::upstream::conn::transport::Transport;
use crate::upstream::options::UpstreamOptions;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::truncate;

/// A connection, greeted with the first question: a node that is far away would take a round trip for that
/// alone.
#[derive(Debug)]
pub(super) struct Control {
    node: NodeId,
    transport: Transport,
    expected: ExpectedReplies,
    proxy_chain: Arc<ProxyChain>,
    greeted: bool,
    /// Answers over it that were believed, since another node had its turn.
    pub(super) answers: u32,
}

// === impl Control ===

impl Control {
    /// Connects to `node`, which is expected to be such a server.
    ///
    /// # Errors The node is not reached in time; the text says why.
    pub(super) async fn open(
        node: &NodeId,
        expected: ExpectedReplies,
        options: &UpstreamOptions,
        shared: &SharedUpstream,
    ) -> Result<Control, String> {
        let transport = Transport::connect(node, options, shared).await.map_err(in_words)?;
        let (node, proxy_chain) = (node.clone(), shared.proxy_chain.clone());
        Ok(Control { node, transport, expected, proxy_chain, greeted: false, answers: 0 })
    }

    /// The node at the other end.
    pub(super) fn node(&self) -> &NodeId {
        &self.node
    }

    /// Whether it can be asked: nothing came that was not asked for, not even its end.
    pub(super) fn is_quiet(&self) -> bool {
        self.transport.is_quiet()
    }

    /// The replies to `requests`, one each. Sends HELLO first, if that was not sent yet.
    ///
    /// # Errors The replies did not come in time, or were too long, or malformed; the node refused us, or is
    /// not the kind of server that is expected; the text says which.
    pub(super) async fn ask<const N: usize>(
        &mut self,
        requests: [&[&str]; N],
        options: &UpstreamOptions,
    ) -> Result<[Bytes; N], String> {
        let asked: Vec<u8> = requests.iter().flat_map(|request| encode::request(request)).collect();
        let in_time = (options.request_timeout, "upstream_request_timeout");
        let replies = if self.greeted {
            self.round_trip(&asked.into(), N, in_time, options).await?
        } else {
            let bytes = [&handshake::hello(options.login.present().as_ref())[..], &asked].concat();
            let soon = (options.connect_timeout, "upstream_connect_timeout");
            let mut replies = self.round_trip(&bytes.into(), 1, soon, options).await?;
            if let Some(error) = replies.first().and_then(|hello| truncate::error_text(hello)) {
                options.login.note(&error);
                return Err(handshake::refusal(&error).to_string());
            }
            if let Some(hello) = replies.first() {
                self.proxy_chain.meet(hello)?;
                self.expected.compare(hello, self.node.address())?;
            }
            self.greeted = true;
            if let Some(more) = (1 + N).checked_sub(replies.len()).filter(|more| *more > 0) {
                replies.extend(self.round_trip(&Bytes::new(), more, in_time, options).await?);
            }
            replies.split_off(1)
        };
        replies.try_into().map_err(|_| "it answers more than it was asked".to_owned())
    }

    async fn round_trip(
        &mut self,
        bytes: &Bytes,
        replies: usize,
        (timeout, setting): (Duration, &str),
        options: &UpstreamOptions,
    ) -> Result<Vec<Bytes>, String> {
        let exchange = self.transport.round_trip(bytes, replies, |_| Ok(()));
        match time::timeout(timeout, exchange).await {
            Ok(replies) if Transport::is_about_length(&replies) => {
                let bound = options.reply_bytes_max;
                Err(format!("its answer is longer than topology_reply_bytes_max = {bound}"))
            }
            Ok(replies) => replies.map_err(in_words),
            Err(_) => Err(format!("no answer within {} ms, as {setting} says", timeout.as_millis())),
        }
    }
}

/// What went wrong, which may be what the node said.
fn in_words(error: io::Error) -> String {
    truncate::cut(error.to_string().as_bytes())
}
