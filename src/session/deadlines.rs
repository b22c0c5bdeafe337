//! The deadlines of a client: to log in, to send a whole request, and, if set, to send another one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{self, Sleep};

use crate::clock::{self, Nanos};

/// A request that takes longer to arrive than `request_arrival_timeout` must bring this many bytes in each
/// second beyond that.
const LEAST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// The progress of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientProgress {
    /// When it connected, if it has not logged in yet.
    pub(super) locked_since: Option<Nanos>,
    /// Bytes of an incomplete request.
    pub(super) half: Option<usize>,
    /// When it sent its last request, if no reply is outstanding and idle clients are closed.
    pub(super) idle_since: Option<Nanos>,
    /// When it sent its last request.
    pub(super) asked_at: Nanos,
}

/// The limits in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineTerms {
    /// For a request to arrive, and for the login.
    pub(super) arrival: Duration,
    /// Between two requests, in nanoseconds; 0 means for ever.
    pub(super) idle: i64,
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    Password,
    Request,
    Idle,
}

/// A timer for all deadlines of the session: set to the earliest, and checked when it has gone off.
#[derive(Debug)]
pub(super) struct Deadlines {
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether no deadline was set, and one may come soon.
    undecided: bool,
    /// Since when half a request has been there.
    half_since: Option<Nanos>,
    /// How much of it there was at the last check.
    half_bytes: usize,
    /// How long the client might be idle at the last check, in nanoseconds.
    idle: i64,
}

// === impl Deadlines ===

impl Deadlines {
    /// The deadlines of a new client.
    pub(super) fn new() -> Deadlines {
        Deadlines { timer: None, undecided: true, half_since: None, half_bytes: 0, idle: 0 }
    }

    /// Whether there is nothing to check: the timer has not gone off, and no request has begun or ended to
    /// arrive since the last check. `half` says whether an incomplete request is there, `idle` how long the
    /// client may be idle.
    #[inline]
    pub(super) fn is_quiet(&self, half: bool, idle: i64) -> bool {
        !self.undecided
            && idle == self.idle
            && half == self.half_since.is_some()
            && self.timer.as_ref().is_none_or(|timer| !timer.is_elapsed())
    }

    /// What took too long, if anything did; otherwise the task is woken when something will have.
    pub(super) fn poll(
        &mut self,
        standing: ClientProgress,
        terms: DeadlineTerms,
        cx: &mut Context<'_>,
    ) -> Option<Late> {
        let now = clock::now();
        // If a request was answered since, or fewer bytes are there, this is another request.
        let known = self.half_since.filter(|_| standing.half.is_some_and(|bytes| bytes >= self.half_bytes));
        self.half_since =
            standing.half.map(|_| known.map_or(now, |since| since.max(standing.asked_at.min(now))));
        self.half_bytes = standing.half.unwrap_or_default();
        let arrival = clock::nanos(terms.arrival);
        let password = standing.locked_since.map(|since| (since + arrival, Late::Password));
        let request = standing.half.zip(self.half_since).map(|(bytes, since)| {
            let seconds = bytes as u64 / LEAST_BYTES_PER_SECOND;
            (since + arrival + seconds * clock::nanos(Duration::from_secs(1)), Late::Request)
        });
        self.idle = terms.idle;
        let idle = standing.idle_since.filter(|_| terms.idle > 0);
        let idle = idle.map(|since| (since + terms.idle.unsigned_abs(), Late::Idle));
        let earliest = [password, request, idle].into_iter().flatten().min_by_key(|(at, _)| *at);
        let Some((at, late)) = earliest else {
            // A client with an outstanding reply is checked again when it has that reply.
            self.undecided = terms.idle > 0;
            self.timer = None;
            return None;
        };
        self.undecided = false;
        if at <= now {
            return Some(late);
        }
        let instant = clock::instant(at);
        let timer = self.timer.get_or_insert_with(|| Box::pin(time::sleep_until(instant)));
        if timer.deadline() != instant {
            timer.as_mut().reset(instant);
        }
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => cx.waker().wake_by_ref(),
            Poll::Pending => {}
        }
        None
    }
}
