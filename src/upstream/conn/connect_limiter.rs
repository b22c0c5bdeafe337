//! How often all workers together may try to connect to nodes.
//!
//! A topology may name thousands of nodes that do not exist. Every worker would try each of them again and
//! again, and have little time for the others. So an attempt for which no command waits takes its turn. And
//! not every failed attempt may request the topology: one request is enough for thousands of failures.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time;

use crate::clock::{self, Nanos};

/// Attempts in a second, in the long run.
const RATE: u64 = 256;

/// Attempts that may be made at once after a quiet time.
const BURST: u64 = 512;

/// The least time from one refresh of the topology that failed attempts ask for to the next one.
const REFRESH_GAP: Duration = Duration::from_secs(1);

/// Nodes that the log names one by one.
const LINES_MAX: u32 = 32;

/// The time in which it names that many.
const LINES_PERIOD: Duration = Duration::from_secs(10);

/// The time between two.
const GAP: Nanos = 1_000_000_000 / RATE;

/// Limits how often workers try to connect, and how many log lines name nodes.
#[derive(Debug, Default)]
pub struct ConnectLimiter {
    /// Attempts that wait for their turn, in order. A task that gives up leaves the line.
    line: tokio::sync::Mutex<()>,
    state: Mutex<LimiterState>,
}

#[derive(Debug, Default)]
struct LimiterState {
    /// When the next attempt would be due without bursts.
    next_at: Nanos,
    /// When a failed attempt may ask for the topology, at the earliest.
    refresh_from: Nanos,
    lines_until: Nanos,
    lines: u32,
}

// === impl ConnectLimiter ===

impl ConnectLimiter {
    /// Waits for the turn of one more attempt. A wait that is given up takes no turn: of nodes that left
    /// before they were tried there may be many more than can be tried.
    pub(in crate::upstream) async fn acquire(&self) {
        let _first = self.line.lock().await;
        let now = clock::now();
        let at = self.state.lock().due(now);
        if at > now {
            time::sleep_until(clock::instant(at)).await;
        }
        self.state.lock().take(at);
    }

    /// Whether an attempt that failed may ask for the topology.
    pub(in crate::upstream) fn may_refresh(&self) -> bool {
        self.state.lock().refresh(clock::now())
    }

    /// Whether the log may name one more node. Logs once when it may not.
    pub(in crate::upstream) fn may_log(&self) -> bool {
        let lines = self.state.lock().line(clock::now());
        if lines == LINES_MAX + 1 {
            tracing::warn!(
                seconds = LINES_PERIOD.as_secs(),
                "many nodes join, leave or fail: for this time the log does not name each of them; see INFO nearside"
            );
        }
        lines <= LINES_MAX
    }
}

// === impl LimiterState ===

impl LimiterState {
    /// When one more attempt may be made.
    fn due(&self, now: Nanos) -> Nanos {
        self.next_at.saturating_sub(BURST * GAP).max(now)
    }

    /// Counts an attempt.
    fn take(&mut self, now: Nanos) {
        self.next_at = self.next_at.max(now) + GAP;
    }

    /// Whether an attempt that failed at `now` may ask for the topology.
    fn refresh(&mut self, now: Nanos) -> bool {
        let may = now >= self.refresh_from;
        if may {
            self.refresh_from = now + clock::nanos(REFRESH_GAP);
        }
        may
    }

    /// The number of one more line in its period.
    fn line(&mut self, now: Nanos) -> u32 {
        if now >= self.lines_until {
            (self.lines_until, self.lines) = (now + clock::nanos(LINES_PERIOD), 0);
        }
        self.lines = self.lines.saturating_add(1);
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_made_at_once_and_the_others_in_turn() {
        let (mut state, now) = (LimiterState::default(), 1_000_000_000_000);
        let mut made = |now| {
            let at = state.due(now);
            state.take(at);
            at
        };
        for _ in 0..=BURST {
            assert_eq!(made(now), now);
        }
        for number in 1..=4 * RATE {
            assert_eq!(made(now), now + number * GAP);
        }
        assert!(made(now + 4_000_000_000) <= now + 4_000_000_000 + 2 * GAP);
    }

    #[test]
    fn those_that_fail_have_the_topology_asked_for_once_in_a_while() {
        let (mut state, now) = (LimiterState::default(), 1_000_000_000_000);
        let gap = clock::nanos(REFRESH_GAP);
        let asked = (0..4_000).filter(|at| state.refresh(now + at * gap / 1_000)).count();
        assert_eq!(asked, 4);
    }

    #[test]
    fn so_many_have_a_line_of_their_own() {
        let (mut state, now) = (LimiterState::default(), 1_000_000_000_000);
        let told = (0..1000).filter(|_| state.line(now) <= LINES_MAX).count();
        assert_eq!(told, LINES_MAX as usize);
        assert_eq!(state.line(now + clock::nanos(LINES_PERIOD)), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_too_late_waits() {
        let attempts = ConnectLimiter::default();
        let began = time::Instant::now();
        for _ in 0..BURST + RATE {
            attempts.acquire().await;
        }
        let took = began.elapsed();
        assert!(took > Duration::from_millis(900) && took < Duration::from_millis(1100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_nobodys_turn() {
        let attempts = ConnectLimiter::default();
        for _ in 0..=BURST {
            attempts.acquire().await;
        }
        let began = time::Instant::now();
        {
            let mut gone: Vec<_> = (0..100 * RATE).map(|_| Box::pin(attempts.acquire())).collect();
            for turn in &mut gone {
                assert!(futures_util::poll!(turn).is_pending());
            }
        }
        attempts.acquire().await;
        let took = began.elapsed();
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
}
