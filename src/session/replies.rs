//! The output of a session: answers in the order of their requests, and pushes in between.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::bounds::output_bound;
use super::conversation::{Session, SessionEnd};
use super::tracked_read;
use crate::clients::mailbox::Mail;
use crate::net::write_queue::WriteQueue;
use crate::protocol::resp::Resp;

impl Session {
    /// Moves the answers that have come, in order, to the connection. Returns whether there were any.
    #[inline]
    pub(super) fn collect_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while !self.pipeline.is_empty() {
            let Poll::Ready((command, mut reply)) = self.pipeline.poll_next(cx) else { break };
            if command > 0 && reply.first() == Some(&b'-') {
                reply = self.state.with_names_of_client(reply);
                self.context.server.command_stats.failed(&self.context.command_stats, command, false, &reply);
            }
            self.connection.out.push(&reply);
            any = true;
        }
        any
    }

    /// Takes the mail.
    #[inline]
    pub(super) fn take_mail(&mut self, cx: &Context<'_>) -> Result<(), SessionEnd> {
        let Some(taken) = self.state.client.entry.mailbox.take(cx) else { return Ok(()) };
        if taken.overflown {
            return Err(SessionEnd::NotReading(output_bound(&self.state, &self.context).name));
        }
        for mail in taken.mail {
            match mail {
                Mail::Now(push) if push.first() == Some(&b'>') && self.state.is_subscribed_in_namespace() => {
                    self.deliver(&push);
                }
                // No message comes before its subscription is confirmed.
                Mail::Now(push) if self.pipeline.is_confirming() => self.push_behind(push),
                Mail::Now(push) => push_in_version(&mut self.connection.out, push, self.state.client.resp()),
                Mail::Behind(push) => self.push_behind(push),
                Mail::BehindInResp3(push) if self.state.client.resp() == Resp::Three => {
                    if let Some(push) = tracked_read::pushed(push, &self.state, &self.context) {
                        self.push_behind(push)
                    }
                }
                Mail::BehindInResp3(_) => {}
                Mail::Redirected(keys) => {
                    if let Some(push) = tracked_read::redirected(&keys, &self.state, &self.context) {
                        self.push_behind(push);
                    }
                }
            }
        }
        match taken.end {
            Some(by) => Err(SessionEnd::Killed(by)),
            None => Ok(()),
        }
    }

    /// Sends a message to a client in a namespace.
    #[cold]
    fn deliver(&mut self, push: &Bytes) {
        let pushes = self.state.delivered(push);
        for [head, rest] in pushes {
            if self.pipeline.is_confirming() {
                self.push_behind([head, rest].concat().into());
            } else {
                push_in_version(&mut self.connection.out, head, self.state.client.resp());
                self.connection.out.push(&rest);
            }
        }
    }

    /// Sends `push` behind every reply that is outstanding.
    pub(super) fn push_behind(&mut self, push: Bytes) {
        if self.pipeline.is_empty() {
            push_in_version(&mut self.connection.out, push, self.state.client.resp());
        } else {
            self.pipeline.push_now(in_version(push, self.state.client.resp()));
        }
    }

    /// Writes the output. Returns whether the socket may take the rest at once. `taken` says whether the
    /// client has just sent a request: then it is not idle, even if it does not read.
    #[inline]
    pub(super) fn send(&mut self, cx: &mut Context<'_>, taken: bool) -> Result<bool, SessionEnd> {
        if self.connection.out.is_empty() {
            return Ok(false);
        }
        let progress = self.connection.flush().map_err(SessionEnd::Failed)?;
        self.state.client.entry.unread.store(self.connection.out.len(), Ordering::Relaxed);
        if progress || taken {
            self.stalled = None;
        }
        if self.connection.out.is_empty() {
            return Ok(false);
        }
        if self.connection.poll_room(cx).map_err(SessionEnd::Failed)?.is_ready() {
            return Ok(true);
        }
        let timeout = self.context.server.settings.client_stall_timeout.duration();
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Err(SessionEnd::NotReading("client_stall_timeout")),
            Poll::Pending => Ok(false),
        }
    }
}

/// A push as a client of this version of the protocol gets it.
fn in_version(push: Bytes, resp: Resp) -> Bytes {
    match (resp, push.split_first()) {
        (Resp::Two, Some((b'>', rest))) => [b"*", rest].concat().into(),
        _ => push,
    }
}

/// Appends a push in the form of its version: a message for many clients is not copied for each.
fn push_in_version(out: &mut WriteQueue, push: Bytes, resp: Resp) {
    if resp == Resp::Two && push.first() == Some(&b'>') {
        out.push_copy(b"*");
        out.push(&push.slice(1..));
    } else {
        out.push(&push);
    }
}
