//! What a client may not take for ever: to say its password, to send a request, and, if that is wanted, to
//! send another one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{self, Sleep};

use crate::clock::{self, Nanos};

/// A request that takes longer to arrive than `request_arrival_timeout` must bring this many bytes in each
/// second beyond that.
const LEAST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// What a client has done so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientProgress {
    /// When it connected, if it has a password to say yet.
    pub(super) locked_since: Option<Nanos>,
    /// Bytes of a request of which the rest is still to come.
    pub(super) half: Option<usize>,
    /// When it asked something last, if it is owed nothing and would be closed for being idle.
    pub(super) idle_since: Option<Nanos>,
    /// When it asked something last.
    pub(super) asked_at: Nanos,
}

/// What the client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineTerms {
    /// For a request to arrive, and to say the password.
    pub(super) arrival: Duration,
    /// Between two requests; zero is for ever.
    pub(super) idle: Duration,
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
    /// There was nothing to set the timer to, and there may be soon.
    undecided: bool,
    /// Since when half a request has been there.
    half_since: Option<Nanos>,
    /// How much of it there was at the last look.
    half_bytes: usize,
}

// === impl Deadlines ===

impl Deadlines {
    /// Those of a new client.
    pub(super) fn new() -> Deadlines {
        Deadlines { timer: None, undecided: true, half_since: None, half_bytes: 0 }
    }

    /// Whether there is nothing to look at: the timer has not gone off, and no request has begun or ended to
    /// arrive since the last look. `half` says whether half a request is there.
    #[inline]
    pub(super) fn is_quiet(&self, half: bool) -> bool {
        !self.undecided
            && half == self.half_since.is_some()
            && self.timer.as_ref().is_none_or(|timer| !timer.is_elapsed())
    }

    /// What took too long, if anything did; otherwise the task is woken when something will have.
    pub(super) fn look(
        &mut self,
        standing: ClientProgress,
        terms: DeadlineTerms,
        cx: &mut Context<'_>,
    ) -> Option<Late> {
        let now = clock::now();
        // A request that was answered since was another one, and so was one of which there was more.
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
        let idle = standing.idle_since.filter(|_| !terms.idle.is_zero());
        let idle = idle.map(|since| (since + clock::nanos(terms.idle), Late::Idle));
        let earliest = [password, request, idle].into_iter().flatten().min_by_key(|(at, _)| *at);
        let Some((at, late)) = earliest else {
            // A client that is owed something now is looked at again when it has that.
            self.undecided = !terms.idle.is_zero();
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
