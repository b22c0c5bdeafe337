//! What becomes of a request.

use std::fmt;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::net::write_queue::WriteQueue;

/// What becomes of a request.
pub enum Answer {
    /// The reply was appended to the output.
    Appended,
    /// The reply.
    Now(Bytes),
    /// The reply will come. The request was sent upstream already; dropping the future drops only the reply.
    Later(LocalBoxFuture<'static, Bytes>),
    /// The request needs its session for itself: the session takes no other one before this has ended. If the
    /// client leaves, the future is dropped: what was not sent by then is never sent.
    Exclusive(LocalBoxFuture<'static, ExclusiveEnd>),
    /// The reply will come, even with CLIENT REPLY OFF. Pushes to the client meanwhile come behind it.
    Confirmation(LocalBoxFuture<'static, Bytes>),
    /// The reply is in the mailbox of the client, behind what came before it, and goes out before another is
    /// given.
    Mailed,
}

/// What a request that had its session for itself leads to.
pub enum ExclusiveEnd {
    /// The reply.
    Reply(Bytes),
    /// The command was sent upstream. Its reply will come, and take its place in the pipeline.
    Sent(LocalBoxFuture<'static, Bytes>),
    /// The session itself continues the request.
    Step,
}

// === impl Answer ===

impl Answer {
    /// The reply of `work`, which has its session for itself.
    pub fn exclusive(work: impl Future<Output = Bytes> + 'static) -> Answer {
        Answer::Exclusive(Box::pin(async move { ExclusiveEnd::Reply(work.await) }))
    }

    /// Its end, for a request that has its session for itself; what it appends is appended to `out`, which is
    /// empty.
    pub(super) async fn end(self, out: &mut WriteQueue) -> ExclusiveEnd {
        match self {
            Answer::Appended => ExclusiveEnd::Reply(out.take_back(0)),
            Answer::Now(reply) => ExclusiveEnd::Reply(reply),
            Answer::Later(reply) | Answer::Confirmation(reply) => ExclusiveEnd::Sent(reply),
            Answer::Exclusive(work) => work.await,
            Answer::Mailed => ExclusiveEnd::Reply(Bytes::new()),
        }
    }

    /// Has `seen` look at a reply that is still to come, before that takes its place.
    pub(super) fn seen(self, seen: impl FnOnce(&Bytes) + 'static) -> Answer {
        match self {
            Answer::Later(reply) => Answer::Later(reply_seen(reply, seen)),
            Answer::Exclusive(work) => Answer::Exclusive(Box::pin(async move {
                match work.await {
                    ExclusiveEnd::Sent(reply) => ExclusiveEnd::Sent(reply_seen(reply, seen)),
                    end => end,
                }
            })),
            answer => answer,
        }
    }

    /// Whether the reply is still to come.
    pub fn is_later(&self) -> bool {
        matches!(self, Answer::Later(_) | Answer::Exclusive(_))
    }
}

fn reply_seen(
    reply: LocalBoxFuture<'static, Bytes>,
    seen: impl FnOnce(&Bytes) + 'static,
) -> LocalBoxFuture<'static, Bytes> {
    Box::pin(async move {
        let reply = reply.await;
        seen(&reply);
        reply
    })
}

impl fmt::Debug for ExclusiveEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExclusiveEnd::Reply(_) => "Reply",
            ExclusiveEnd::Sent(_) => "Sent",
            ExclusiveEnd::Step => "Step",
        })
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answer::Appended => "Appended",
            Answer::Now(_) => "Now",
            Answer::Later(_) => "Later",
            Answer::Exclusive(_) => "Exclusive",
            Answer::Confirmation(_) => "Confirmation",
            Answer::Mailed => "Mailed",
        })
    }
}
