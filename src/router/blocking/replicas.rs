//! WAIT and WAITAOF: whether the replicas have what this session wrote.
//!
//! A node counts for the connection that asks, as of the last write on that connection. The session's writes
//! went over connections that it shares, so it asks on dedicated ones, on which first a write that changes
//! nothing is made: the count is then as of that, behind all that the session wrote. Of several nodes the
//! least counts.

use std::pin::pin;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::{join_all, try_join_all};

use super::block_timeout::BlockTimeout;
use super::blocked_call::{BlockedCall, BlockedCalls, EndedBy};
use crate::clients::block_state::BlockGuard;
use crate::node::NodeId;
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{cursor, encode};
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::replies::{failure_reply, odd_reply};
use crate::upstream::{Dedicated, Right, UpstreamError};

/// What FUNCTION DUMP gives where there are no functions. To restore it adds none, names no key, and is
/// replicated.
const NO_FUNCTIONS: &[u8] = b"\n\0]\x9b\\@\x0f\x7f\xa2\xda";

/// Carries out WAIT and WAITAOF.
#[derive(Debug)]
pub struct ReplicaWaits {
    context: Rc<RouterContext>,
    calls: BlockedCalls,
}

// === impl ReplicaWaits ===

impl ReplicaWaits {
    /// Waits at the nodes of `context`.
    pub(in crate::router) fn new(context: Rc<RouterContext>) -> Rc<ReplicaWaits> {
        let calls = BlockedCalls::new(context.clone());
        Rc::new(ReplicaWaits { context, calls })
    }

    /// Begins to wait for the replicas of what the session wrote.
    pub fn wait(
        self: &Rc<ReplicaWaits>,
        request: &Request<'_>,
        caller: Caller<'_>,
        waiting: BlockGuard,
    ) -> Answer {
        let nodes = match self.context.upstream.owners(caller.inflight.written()) {
            Ok(nodes) => nodes,
            Err(failure) => return Answer::Now(failure_reply(&failure)),
        };
        let (wrote, nodes) =
            if nodes.is_empty() { (false, self.context.upstream.primary_nodes()) } else { (true, nodes) };
        if nodes.is_empty() {
            return Answer::Now(failure_reply(&self.context.upstream.no_topology()));
        }
        let timeout = BlockTimeout::of_replicas(request);
        let (this, request) = (self.clone(), Bytes::copy_from_slice(request.raw()));
        Answer::Later(Box::pin(async move {
            this.context.stats.waits_begun.bump();
            let reply = this.minimum(&nodes, wrote, &request, &waiting, timeout).await;
            this.context.stats.waits_ended.bump();
            reply.unwrap_or_else(|error| error)
        }))
    }

    /// The least of what `nodes` answer, or why there is none.
    async fn minimum(
        self: &Rc<ReplicaWaits>,
        nodes: &[NodeId],
        wrote: bool,
        request: &Bytes,
        waiting: &BlockGuard,
        timeout: BlockTimeout,
    ) -> Result<Bytes, Bytes> {
        let connections = nodes.iter().map(|node| self.behind_writes(node, wrote));
        let connections = try_join_all(connections).await?;
        let mut held: Vec<BlockedCall> =
            connections.into_iter().map(|dedicated| BlockedCall::begin(dedicated, request)).collect();
        let mut too_late = pin!(timeout.over(self.context.settings.request_timeout));
        loop {
            tokio::select! {
                biased;
                _ = join_all(held.iter_mut().map(BlockedCall::wait)) => break,
                order = waiting.order() => {
                    let by = self.calls.end(&mut held, order).await;
                    if by != EndedBy::Unblock || held.iter().all(BlockedCall::has_ended) {
                        break;
                    }
                }
                // A node does not say that it is over.
                () = &mut too_late => break,
            }
        }
        let replies: Result<Vec<Bytes>, UpstreamError> = held.into_iter().map(BlockedCall::finish).collect();
        let replies = replies.map_err(|failure| failure_reply(&failure))?;
        Ok(least_of(&replies).unwrap_or_else(|odd| odd_reply("WAIT or WAITAOF", odd)))
    }

    /// A connection to `node` whose last write comes after all that the session wrote there.
    async fn behind_writes(self: &Rc<ReplicaWaits>, node: &NodeId, wrote: bool) -> Result<Dedicated, Bytes> {
        let failed = |failure: UpstreamError| failure_reply(&failure);
        let mut dedicated = self.context.upstream.dedicated_to(node).await.map_err(failed)?;
        if wrote {
            // Before Redis 7.2 every command counts as one that writes. Before 7.0 there are no functions.
            let restore = encode::request(&[&b"FUNCTION"[..], b"RESTORE", NO_FUNCTIONS, b"APPEND"]);
            let bytes = [encode::request(&["PING"]), restore].concat().into();
            let replies = dedicated.round_trip(&bytes, 2).await.map_err(failed)?;
            let rights = &self.context.upstream.shared().rights;
            let (ping, restore) = (&replies[0], &replies[1]);
            rights.judge(node, Right::FunctionRestore, restore);
            let refused = match restore.starts_with(b"-ERR unknown command") {
                true => ("PING", ping),
                false => ("FUNCTION RESTORE", restore),
            };
            if let (command, Some(error)) = (refused.0, refused.1.strip_prefix(b"-")) {
                let error = String::from_utf8_lossy(error.trim_ascii_end()).into_owned();
                return Err(encode::error_reply(format!(
                    "ERR nearside: node {node} cannot be asked who has what this client wrote: {command} gave {error}"
                )));
            }
        }
        Ok(dedicated)
    }
}

/// Number by number the least.
///
/// # Errors
/// The first reply that is an error, or is not made of numbers as the others are.
fn least_of(replies: &[Bytes]) -> Result<Bytes, &Bytes> {
    if let Some(error) = replies.iter().find(|reply| reply.starts_with(b"-")) {
        return Err(error);
    }
    let is_array = replies.iter().any(|reply| reply.starts_with(b"*"));
    let mut least: Option<Vec<i64>> = None;
    for reply in replies {
        let numbers = match cursor::elements(reply) {
            Some(elements) if is_array => elements.map(|number| cursor::integer(number?)).collect(),
            None if !is_array => cursor::integer(reply).map(|number| vec![number]),
            _ => None,
        };
        let numbers: Vec<i64> = numbers.filter(|numbers: &Vec<i64>| !numbers.is_empty()).ok_or(reply)?;
        least = Some(match least {
            None => numbers,
            Some(least) if least.len() == numbers.len() => {
                least.into_iter().zip(numbers).map(|(one, other)| one.min(other)).collect()
            }
            Some(_) => return Err(reply),
        });
    }
    let least = least.unwrap_or_default();
    let mut out = BytesMut::new();
    if is_array {
        encode::array(&mut out, least.len());
    }
    least.into_iter().for_each(|number| encode::integer(&mut out, number));
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_counts_and_an_error_comes_first() {
        let cases: [(&[&'static [u8]], Result<&[u8], &[u8]>); 11] = [
            (&[b":2\r\n", b":1\r\n"], Ok(b":1\r\n")),
            (&[b":2\r\n"], Ok(b":2\r\n")),
            (&[b"*2\r\n:1\r\n:0\r\n", b"*2\r\n:0\r\n:3\r\n"], Ok(b"*2\r\n:0\r\n:0\r\n")),
            (&[b":1\r\n", b"-ERR no\r\n"], Err(b"-ERR no\r\n")),
            (&[b"+OK\r\n"], Err(b"+OK\r\n")),
            (&[b":1\r\n", b"_\r\n"], Err(b"_\r\n")),
            (&[b"*0\r\n"], Err(b"*0\r\n")),
            (&[b":1\r\n", b"*1\r\n:1\r\n"], Err(b":1\r\n")),
            (&[b"*1\r\n:1\r\n", b"*2\r\n:1\r\n:1\r\n"], Err(b"*2\r\n:1\r\n:1\r\n")),
            (&[b"*2\r\n:1\r\n+a\r\n"], Err(b"*2\r\n:1\r\n+a\r\n")),
            (&[b"%0\r\n"], Err(b"%0\r\n")),
        ];
        for (replies, expected) in cases {
            let replies: Vec<Bytes> = replies.iter().map(|reply| Bytes::from_static(reply)).collect();
            let least = least_of(&replies);
            assert_eq!(least.as_ref().map(|least| &least[..]).map_err(|odd| &odd[..]), expected);
        }
    }
}
