//! A dedicated connection as the session that holds it uses it.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use tokio::time;

use super::link::DedicatedLink;
use crate::clock::{self, Nanos};
use crate::net::write_queue::WriteQueue;
use crate::node::NodeId;
use crate::protocol::db::DbIndex;
use crate::protocol::resp::encode;
use crate::stats::CountGuard;
use crate::upstream::conn::transfer::TransferProgress;
use crate::upstream::context::WorkerContext;
use crate::upstream::error::UpstreamError;
use crate::upstream::truncate;

/// A connection that one session has for itself. Dropping it closes it.
#[derive(Debug)]
pub struct Dedicated {
    context: Rc<WorkerContext>,
    link: DedicatedLink,
    out: WriteQueue,
    /// Replies that have not come yet.
    owed: usize,
    /// The progress of a large reply.
    transfer: TransferProgress,
    /// Since when a reply that may take for ever is coming, or its request is going out.
    under_way_since: Option<Nanos>,
    /// User code may answer: its errors come back whole.
    runs_user_code: bool,
    _in_use: CountGuard,
}

// === impl Dedicated ===

impl Dedicated {
    /// The connection `link` in the hands of a session, which `in_use` counts.
    pub(in crate::upstream) fn new(
        context: Rc<WorkerContext>,
        link: DedicatedLink,
        in_use: CountGuard,
    ) -> Dedicated {
        Dedicated {
            context,
            link,
            out: WriteQueue::default(),
            owed: 0,
            transfer: TransferProgress::default(),
            under_way_since: None,
            runs_user_code: false,
            _in_use: in_use,
        }
    }

    /// The node at its other end.
    pub fn node(&self) -> &NodeId {
        &self.link.node
    }

    /// What the node calls it: CLIENT ID.
    pub fn id(&self) -> u64 {
        self.link.id
    }

    /// Whether it is open, as far as the kernel knows, and nothing has come on it unasked.
    pub fn is_quiet(&self) -> bool {
        self.link.transport.is_quiet()
    }

    /// Whether code that is not the server's own may answer from here on.
    pub fn answers_from_user_code(&mut self, runs_user_code: bool) {
        self.runs_user_code = runs_user_code;
    }

    /// Sends `bytes`, which `replies` replies answer, and waits for each as [`Self::reply_in_time`] does.
    ///
    /// # Errors
    /// The connection was lost, or the node is silent: what was asked may or may not have been executed.
    pub async fn round_trip(&mut self, bytes: &Bytes, replies: usize) -> Result<Vec<Bytes>, UpstreamError> {
        self.enqueue(bytes, replies);
        let mut frames = Vec::with_capacity(replies);
        while frames.len() < replies {
            frames.push(self.reply_in_time().await?);
        }
        Ok(frames)
    }

    /// Has what follows executed in this database, if one is wanted. Returns the node's error if it refuses.
    ///
    /// # Errors
    /// The connection was lost, or the node is silent.
    pub async fn select(&mut self, database: Option<DbIndex>) -> Result<Option<Bytes>, UpstreamError> {
        let Some(database) = database.filter(|wanted| *wanted != self.link.database) else { return Ok(None) };
        let bytes = encode::request(&["SELECT", &database.to_string()]);
        let reply = self.round_trip(&bytes, 1).await?.pop().unwrap_or_default();
        if reply.starts_with(b"-") {
            return Ok(Some(reply));
        }
        self.link.database = database;
        Ok(None)
    }

    /// Has `bytes` sent, which `replies` replies answer. They leave when a reply is waited for.
    pub fn enqueue(&mut self, bytes: &Bytes, replies: usize) {
        self.context.stats.upstream_commands.add(replies as u64);
        self.out.push(bytes);
        self.owed += replies;
    }

    /// The next reply, however long the node takes to begin with it; then as [`Self::reply_in_time`]. Nothing
    /// is lost when the wait is given up and begun again.
    ///
    /// # Errors
    /// The connection was lost, or the reply came too slowly.
    pub async fn reply(&mut self) -> Result<Bytes, UpstreamError> {
        loop {
            // What the socket takes at once is not under way any more.
            self.write().map_err(|error| self.lost(&error))?;
            let step = if self.is_under_way() {
                let began = *self.under_way_since.get_or_insert_with(clock::now);
                self.step_in_time(began).await
            } else {
                self.under_way_since = None;
                self.step().await.map_err(|error| self.lost(&error))
            };
            if let Some(frame) = step? {
                self.under_way_since = None;
                return Ok(frame);
            }
        }
    }

    /// The next reply, which may take `upstream_request_timeout`, or longer while it arrives.
    ///
    /// # Errors
    /// The connection was lost, or the node is silent, or the reply came too slowly.
    pub async fn reply_in_time(&mut self) -> Result<Bytes, UpstreamError> {
        let began = clock::now();
        loop {
            if let Some(frame) = self.step_in_time(began).await? {
                return Ok(frame);
            }
        }
    }

    /// Does one step of an exchange that began at `began`.
    async fn step_in_time(&mut self, began: Nanos) -> Result<Option<Bytes>, UpstreamError> {
        let limits = self.context.options.transfer;
        let deadline = self.transfer.deadline(began, &limits);
        let step = time::timeout_at(clock::instant(deadline), self.step()).await;
        match step {
            Ok(Ok(None)) if clock::now() < self.transfer.deadline(began, &limits) => Ok(None),
            Ok(Ok(Some(frame))) => Ok(Some(frame)),
            Ok(Err(error)) => Err(self.lost(&error)),
            Ok(Ok(None)) | Err(_) => {
                self.context.stats.upstream_timeouts.add(1);
                let node = self.link.node.clone();
                Err(if self.is_under_way() {
                    UpstreamError::Slow {
                        node,
                        bound: TransferProgress::exceeded(began, clock::now(), &limits),
                    }
                } else {
                    UpstreamError::TimedOut { node, after: limits.stall_timeout }
                })
            }
        }
    }

    /// Writes what waits, as far as the socket takes it.
    fn write(&mut self) -> io::Result<()> {
        let written = self.link.transport.write(&mut self.out)?;
        self.moved(written);
        Ok(())
    }

    fn moved(&mut self, bytes: u64) {
        if bytes > 0 {
            self.transfer.moved(bytes, clock::now(), &self.context.options.transfer);
        }
    }

    /// Whether a request is going out, or a reply is coming in.
    fn is_under_way(&self) -> bool {
        !self.out.is_empty() || self.link.transport.is_amid_frame()
    }

    /// Keeps it for the next session, if it owes nothing. To be called only when it has no MULTI, no
    /// WATCH and no other state either.
    pub fn give_back(self) {
        let Dedicated { context, link, out, owed, .. } = self;
        if owed == 0 && out.is_empty() {
            context.idle.put(link, &context.options);
        }
    }

    /// A reply that has come, or `None` after one more event on the socket.
    async fn step(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(frame) = self.link.transport.next_frame()? {
            if frame.first() == Some(&b'>') {
                continue;
            }
            self.owed = self.owed.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
            return Ok(Some(if self.runs_user_code { frame } else { truncate::redirect_cut(frame) }));
        }
        self.write()?;
        self.link.transport.event(!self.out.is_empty()).await?;
        let received = self.link.transport.take_received();
        self.moved(received);
        Ok(None)
    }

    fn lost(&self, error: &io::Error) -> UpstreamError {
        self.context.shared.table.ask_refresh();
        UpstreamError::Lost { node: self.link.node.clone(), cause: error.to_string() }
    }
}
