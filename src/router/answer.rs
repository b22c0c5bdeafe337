//! What becomes of a request.

use std::fmt;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

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
    /// Nothing can be done yet: the session must wait, and then ask the same again before anything else.
    NotYet(LocalBoxFuture<'static, ()>),
}

/// What a request that had its session for itself leads to.
pub enum ExclusiveEnd {
    /// The reply.
    Reply(Bytes),
    /// The command was sent upstream. Its reply will come, and take its place in the pipeline.
    Sent(LocalBoxFuture<'static, Bytes>),
}

// === impl Answer ===

impl Answer {
    /// The reply of `work`, which has its session for itself.
    pub fn exclusive(work: impl Future<Output = Bytes> + 'static) -> Answer {
        Answer::Exclusive(Box::pin(async move { ExclusiveEnd::Reply(work.await) }))
    }

    /// Whether the reply is still to come.
    pub fn is_later(&self) -> bool {
        matches!(self, Answer::Later(_) | Answer::Exclusive(_))
    }
}

impl fmt::Debug for ExclusiveEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExclusiveEnd::Reply(_) => "Reply",
            ExclusiveEnd::Sent(_) => "Sent",
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
            Answer::NotYet(_) => "NotYet",
        })
    }
}
