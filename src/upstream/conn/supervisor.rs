//! Keeps a connection to one node up: connect, serve, and try again after a loss or a failed attempt.
//!
//! The delays between attempts and their log lines are decided here for all kinds of connections. A kind says
//! what to do in between.

use std::io;

use tokio::time;

use super::backoff::Backoff;
use crate::node::NodeId;
use crate::upstream::options::UpstreamOptions;
use crate::upstream::shared::SharedUpstream;

/// A kind of connection that is kept up. `Greeted` is a connection on which the node has greeted us.
pub(in crate::upstream) trait Supervised<Greeted> {
    /// What the log calls it.
    const KIND: &'static str;

    /// Whether commands or clients depend on it: then the log warns when it fails.
    const IS_VITAL: bool;

    /// Whether this attempt takes its turn among those of the process, because no command waits for it.
    fn takes_turn(&self, attempt: Attempt) -> bool;

    /// Reports that an attempt begins; false when the connection is not needed any more.
    fn begin(&self, attempt: Attempt) -> bool;

    /// Connects and greets.
    async fn connect(&self) -> io::Result<Greeted>;

    /// Serves over a connection until that ends.
    async fn serve(&self, greeted: Greeted) -> Served;

    /// Reports that an attempt failed, and fails what waits for the connection.
    fn down(&self, cause: &str);

    /// Whether the connection is not needed any more.
    fn is_over(&self) -> bool {
        false
    }

    /// Waits until a command needs the connection, so that the first attempt need not wait for its turn.
    async fn needed(&self) {
        std::future::pending().await
    }

    /// Waits until the connection is not needed any more.
    async fn over(&self) {
        std::future::pending().await
    }
}

/// What an attempt to connect comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Attempt {
    /// Nothing: it is the first one.
    First,
    /// The loss of a connection.
    AfterLoss,
    /// An attempt that failed, and the delay after it.
    AfterFailure,
}

/// How a connection ended that was up.
#[derive(Debug)]
pub(in crate::upstream) enum Served {
    /// Nothing needs it any more.
    Done,
    /// It was lost; the next attempt begins at once.
    Lost,
    /// It was lost, for this reason, and that counts as an attempt that failed.
    Failed(String),
}

/// Keeps `connection` to `node` up until it is not needed any more.
pub(in crate::upstream) async fn supervise<Greeted, C: Supervised<Greeted>>(
    connection: &C,
    node: &NodeId,
    worker: Option<usize>,
    options: &UpstreamOptions,
    shared: &SharedUpstream,
) {
    let mut backoff = Backoff::new(options.backoff_min, options.backoff_max);
    let mut attempt = Attempt::First;
    while connection.begin(attempt) {
        if attempt == Attempt::First && connection.takes_turn(attempt) {
            tokio::select! {
                biased;
                () = connection.needed() => {}
                () = shared.connect_limiter.acquire() => {}
            }
            if connection.is_over() {
                return;
            }
        }
        // Commands wait meanwhile, so the pause ends when their time does.
        if C::IS_VITAL {
            let _ = time::timeout(options.request_timeout, backoff.pause()).await;
        } else {
            backoff.pause().await;
        }
        let cause = match connection.connect().await {
            Ok(greeted) => {
                backoff.reset();
                match connection.serve(greeted).await {
                    Served::Done => return,
                    Served::Lost => {
                        attempt = Attempt::AfterLoss;
                        continue;
                    }
                    Served::Failed(cause) => cause,
                }
            }
            Err(_) if connection.is_over() => return,
            Err(error) => {
                let is_new = error.kind() == io::ErrorKind::Unsupported && !backoff.is_failing();
                if C::IS_VITAL && is_new && shared.connect_limiter.may_log() {
                    tracing::error!(%node, cause = %error, "not the server that the configuration names");
                }
                error.to_string()
            }
        };
        attempt = Attempt::AfterFailure;
        let kind = C::KIND;
        if backoff.is_failing() || C::IS_VITAL && !shared.connect_limiter.may_log() {
            tracing::debug!(%node, worker, cause, "{kind} still failing");
        } else if C::IS_VITAL {
            tracing::warn!(%node, worker, cause, "{kind} failed; retrying");
        } else {
            tracing::info!(%node, worker, cause, "{kind} failed; retrying");
        }
        let delay = backoff.next_delay();
        connection.down(&cause);
        let next = async {
            time::sleep(delay).await;
            if connection.takes_turn(attempt) {
                shared.connect_limiter.acquire().await;
            }
        };
        tokio::select! {
            biased;
            () = connection.over() => return,
            () = next => {}
        }
    }
}
