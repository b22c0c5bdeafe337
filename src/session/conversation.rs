//! A session from its beginning to its end: its parts, and what happens when it is over.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::future::{OptionFuture, join};
use tokio::time::{Instant, Sleep};

use super::deadlines::Deadlines;
use super::ending::{ShutdownStages, Stage};
use super::exclusive::Waiting;
use super::farewell;
use super::pipeline::Pipeline;
use super::state::SessionState;
use super::subscriber;
use crate::clients::Endpoints;
use crate::clock;
use crate::commands::{ClientState, SessionContext};
use crate::memory::HeldByClient;
use crate::net::connection::Connection;
use crate::protocol::resp::encode;
use crate::upstream::UpstreamError;

/// The conversation with one client.
pub struct Session {
    pub(super) context: Rc<SessionContext>,
    pub(super) connection: Connection,
    pub(super) state: SessionState,
    pub(super) pipeline: Pipeline,
    /// What the session waits for before it takes another request.
    pub(super) waiting: Option<Waiting>,
    /// Bytes that the client makes the daemon hold.
    pub(super) held: HeldByClient,
    /// Whether the last turn took no requests because memory is scarce.
    pub(super) was_slowed: bool,
    /// Runs while the client leaves a full socket unread.
    pub(super) stalled: Option<Pin<Box<Sleep>>>,
    /// The timer of the client's deadlines.
    pub(super) deadlines: Deadlines,
    /// Since when the client was idle, if the drain has begun and no reply to it is outstanding.
    pub(super) idle_since: Option<Instant>,
}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// All requests were answered, and no more will come.
    Done,
    /// The socket failed.
    Failed(io::Error),
    /// The client reads too little.
    NotReading(&'static str),
    /// The client sends too much while no request is taken.
    Ahead(&'static str),
    /// Another client or the daemon ended it; what did, for the log.
    Killed(&'static str),
}

// === impl Session ===

impl Session {
    /// A session over `connection`, whose ends are `endpoints`.
    pub fn new(context: Rc<SessionContext>, connection: Connection, endpoints: Endpoints) -> Session {
        context.stats.connections_accepted.bump();
        let client = context.clients.enter(endpoints, context.server.settings.client_output_max.size());
        let asks_password = context.server.asks_password();
        let client = ClientState::new(client, asks_password, context.database, &context.namespaces);
        let state = SessionState::new(client, context.server.denied.clone());
        let held = context.ceiling.hold_for_client();
        Session {
            context,
            connection,
            state,
            pipeline: Pipeline::default(),
            waiting: None,
            held,
            was_slowed: false,
            stalled: None,
            deadlines: Deadlines::new(),
            idle_since: None,
        }
    }

    /// Runs until the client leaves, the connection fails, or the drain has begun and all is answered.
    pub async fn run(mut self) {
        let context = self.context.clone();
        let mut ending = ShutdownStages::of(&context.drain);
        let end = poll_fn(|cx| match ending.poll(cx).map(|stage| self.enter(stage)) {
            Some(Err(end)) => Poll::Ready(end),
            Some(Ok(())) | None => self.poll(cx),
        })
        .await;
        let answered = matches!(end, SessionEnd::Done);
        match end {
            SessionEnd::Done => {}
            SessionEnd::Killed(by) => {
                tracing::info!(client = self.state.client.entry.endpoints.address, by, "client killed")
            }
            SessionEnd::Ahead(bound) => {
                context.stats.clients_dropped.bump();
                tracing::info!(
                    client = self.state.client.entry.endpoints.address,
                    bound,
                    "a client sends more than can wait: dropped"
                );
            }
            SessionEnd::Failed(error) => {
                tracing::debug!(client = self.state.client.entry.endpoints.address, %error, "a client's connection failed")
            }
            SessionEnd::NotReading(bound) => {
                context.stats.clients_dropped.bump();
                tracing::info!(
                    client = self.state.client.entry.endpoints.address,
                    bound,
                    "a client does not read its replies: dropped"
                );
            }
        }
        context.stats.connections_closed.bump();
        let Session { connection, mut state, pipeline, idle_since, waiting, .. } = self;
        // Requests that were not sent yet are not needed any more.
        drop(waiting);
        let heard = idle_since.unwrap_or_else(Instant::now);
        let farewell = answered.then(|| farewell::say(connection, heard, &context.drain));
        if let Some(leaving) = subscriber::leave(&state) {
            leaving.await;
        }
        state.modes = None;
        // Behind all that others may count: a client that ended this session is notified now.
        state.client.entry.wait.abandon();
        drop(state);
        join(OptionFuture::from(farewell), pipeline.run_out()).await;
    }

    /// Enters a stage of the daemon's end. Requests that had arrived by the first stage are answered; later
    /// ones are never executed.
    fn enter(&mut self, stage: Stage) -> Result<(), SessionEnd> {
        self.state.client.entry.wait.stop();
        match stage {
            Stage::Draining => {
                let left = self.connection.take_no_more().map_err(SessionEnd::Failed)?;
                let owes = left > 0
                    || self.is_exclusive()
                    || !self.pipeline.is_empty()
                    || !self.connection.out.is_empty();
                let (_, asked_at) = self.state.client.entry.last_request();
                self.idle_since = (!owes).then(|| clock::instant(asked_at));
                Ok(())
            }
            Stage::Over => {
                self.state.client.leaving = true;
                let error = encode::error_reply(UpstreamError::Stopped.to_string());
                self.pipeline.give_up(&error);
                self.give_up_exclusive(error);
                Ok(())
            }
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?})", self.state)
    }
}
