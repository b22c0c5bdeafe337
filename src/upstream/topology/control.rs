//! The connection over which one node, or one Sentinel, is asked: each step has a deadline, each answer a length.
//!
//! A deadline is not extended by what trickles in. It carries questions of ours and nobody's data, so whatever is odd
//! about it ends it, and somebody else is asked.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::time;

use crate::node::NodeId;
use crate::resp::encode;
use crate::upstream::SharedUpstream;
use crate::upstream::handshake;
use crate::upstream::options::UpstreamOptions;
use crate::upstream::wire::Wire;
use crate::upstream::words;

/// A connection that was greeted.
#[derive(Debug)]
pub(super) struct Control {
    node: NodeId,
    wire: Wire,
}

// === impl Control ===

impl Control {
    /// Connects to `node` and says who we are there.
    ///
    /// # Errors
    /// It is not reached in time, or it refuses us; in words.
    pub(super) async fn open(
        node: &NodeId,
        options: &UpstreamOptions,
        shared: &SharedUpstream,
    ) -> Result<Control, String> {
        let wire = Wire::connect(node, options, shared).await.map_err(in_words)?;
        let mut control = Control { node: node.clone(), wire };
        let hello = handshake::hello(options.login.present().as_ref());
        let greeting = control
            .converse(&hello, 1, (options.connect_timeout, "upstream_connect_timeout"), options)
            .await?;
        match handshake::error_text(&greeting[0]) {
            Some(error) => {
                options.login.note(&error);
                Err(handshake::refusal(&error).to_string())
            }
            None => Ok(control),
        }
    }

    /// Who is at the other end.
    pub(super) fn node(&self) -> &NodeId {
        &self.node
    }

    /// Whether it can be asked: nothing came that was not asked for, not even its end.
    pub(super) fn is_quiet(&self) -> bool {
        self.wire.is_quiet()
    }

    /// The replies to `requests`, one each.
    ///
    /// # Errors
    /// They did not come in time, or were too long, or no replies; in words.
    pub(super) async fn ask<const N: usize>(
        &mut self,
        requests: [&[&str]; N],
        options: &UpstreamOptions,
    ) -> Result<[Bytes; N], String> {
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode::request(request)).collect();
        let replies = self
            .converse(&bytes.into(), N, (options.request_timeout, "upstream_request_timeout"), options)
            .await?;
        replies.try_into().map_err(|_| "it answers more than it was asked".to_owned())
    }

    async fn converse(
        &mut self,
        bytes: &Bytes,
        replies: usize,
        (patience, setting): (Duration, &str),
        options: &UpstreamOptions,
    ) -> Result<Vec<Bytes>, String> {
        let too_long =
            || format!("its answer is longer than topology_reply_bytes_max = {}", options.reply_bytes_max);
        match time::timeout(patience, self.wire.converse(bytes, replies)).await {
            Ok(Err(error)) if Wire::is_about_length(&error) => Err(too_long()),
            Ok(Ok(replies)) if replies.iter().any(|reply| Wire::is_in_place_of_a_long_one(reply)) => {
                Err(too_long())
            }
            Ok(replies) => replies.map_err(in_words),
            Err(_) => Err(format!("no answer within {} ms, as {setting} says", patience.as_millis())),
        }
    }
}

/// What went wrong, which may be what the node said.
fn in_words(error: io::Error) -> String {
    words::cut(error.to_string().as_bytes())
}
