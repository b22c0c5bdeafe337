//! What was written to each key and when; whether what a daemon served fits to it.
//!
//! A key goes through numbered states: the value of that number, or absent. One writer makes them, one after
//! the other, so that their order is beyond doubt.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nearside::clock::{self, Nanos};
use nearside::sandbox::Reply;

/// All keys of a run.
pub(super) struct History {
    keys: Vec<Mutex<Vec<State>>>,
    began_at: Nanos,
    /// How long after a state was replaced it may be served.
    bound: Duration,
    /// Odd while a node is being flushed: what nobody deleted may vanish then.
    flushes: AtomicU64,
    violations: Mutex<Vec<String>>,
}

#[derive(Clone, Debug)]
struct State {
    is_absent: bool,
    sent_at: Nanos,
    acked_at: Option<Nanos>,
}

/// What was served of a key.
pub(super) struct Served {
    /// The state that it was; of absent ones the oldest that it can have been.
    pub(super) state: usize,
    /// How long before the read was asked the state had been replaced, if it had.
    pub(super) stale_for: Option<Duration>,
    /// How long after the state was acknowledged it was received.
    pub(super) after_ack: Duration,
}

/// So many are told; after that a run is over.
const VIOLATIONS_MAX: usize = 20;

// === impl History ===

impl History {
    /// Keys that are absent; a state that was replaced longer than `bound` ago must not be served.
    pub(super) fn new(keys: usize, bound: Duration) -> History {
        let absent = State { is_absent: true, sent_at: 0, acked_at: Some(clock::now()) };
        let keys = (0..keys).map(|_| Mutex::new(vec![absent.clone()])).collect();
        History {
            keys,
            began_at: clock::now(),
            bound,
            flushes: AtomicU64::new(0),
            violations: Mutex::default(),
        }
    }

    pub(super) fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(number: usize) -> String {
        format!("checked:{number}")
    }

    pub(super) fn value(key: usize, state: usize) -> String {
        format!("{key}:{state}")
    }

    /// The next state of `key` is about to be written; its number.
    pub(super) fn begin(&self, key: usize, is_absent: bool) -> usize {
        let mut states = self.states(key);
        states.push(State { is_absent, sent_at: clock::now(), acked_at: None });
        states.len() - 1
    }

    /// The node has acknowledged the newest state of `key`.
    pub(super) fn acknowledge(&self, key: usize) {
        if let Some(newest) = self.states(key).last_mut() {
            newest.acked_at = Some(clock::now());
        }
    }

    /// What a read of `key` must give once nothing is under way: the value, or nothing.
    pub(super) fn newest(&self, key: usize) -> Option<String> {
        let states = self.states(key);
        let is_absent = states.last().is_none_or(|newest| newest.is_absent);
        (!is_absent).then(|| History::value(key, states.len() - 1))
    }

    /// Judges `reply` to a read of `key` that was asked at `asked_at`, after the same daemon had served
    /// `floor`.
    pub(super) fn judge(
        &self,
        key: usize,
        reply: &Reply,
        asked_at: Nanos,
        floor: usize,
    ) -> Result<Served, String> {
        let received_at = clock::now();
        let states = self.states(key);
        let state = if reply.is_nil() {
            self.oldest_absent(&states, asked_at, floor)?
        } else {
            read_value(key, reply)?
        };
        match states.get(state) {
            None => return Err(format!("state {state} was never written")),
            Some(found) if found.is_absent != reply.is_nil() => {
                return Err(format!("state {state} was never written"));
            }
            Some(_) if state < floor => return Err(format!("state {state} after state {floor} was served")),
            Some(_) => {}
        }
        let replaced_at = states.get(state + 1).and_then(|next| next.acked_at);
        if self.is_overdue(replaced_at, asked_at) {
            return Err(format!("state {state} was replaced {:?} before", since(asked_at, replaced_at)));
        }
        Ok(Served {
            state,
            // Which of several deletions an absent key is seen after cannot be told, so only values are
            // measured.
            stale_for: replaced_at
                .filter(|at| *at < asked_at && !reply.is_nil())
                .map(|at| since(asked_at, Some(at))),
            after_ack: since(received_at, states[state].acked_at),
        })
    }

    fn oldest_absent(&self, states: &[State], asked_at: Nanos, floor: usize) -> Result<usize, String> {
        let absent = || (floor..states.len()).filter(|number| states[*number].is_absent);
        let replaced_at = |number: usize| states.get(number + 1).and_then(|next| next.acked_at);
        let fresh = absent().find(|number| !self.is_overdue(replaced_at(*number), asked_at));
        fresh.ok_or_else(|| match absent().next_back() {
            Some(last) => {
                format!("absent, {:?} after that had ended", since(asked_at, replaced_at(last)))
            }
            None => "absent, and nobody deleted it".to_owned(),
        })
    }

    fn is_overdue(&self, replaced_at: Option<Nanos>, asked_at: Nanos) -> bool {
        replaced_at.is_some_and(|at| since(asked_at, Some(at)) > self.bound)
    }

    /// Notes that something was served that must not have been.
    pub(super) fn violated(&self, what: String) {
        self.violations.lock().unwrap().push(what);
    }

    /// Notes what is wrong with what was served of `key`, with the last of what was written to it.
    pub(super) fn violated_for(&self, key: usize, asked_at: Nanos, what: &str) {
        let states = self.states(key);
        let from = states.len().saturating_sub(6);
        let shown: Vec<String> = states[from..]
            .iter()
            .enumerate()
            .map(|(number, state)| {
                let before = |at: Nanos| (asked_at as i64 - at as i64) / 1_000;
                let acked = state.acked_at.map(before);
                let kind = if state.is_absent { "absent" } else { "value" };
                format!("{}={kind} sent {} acked {acked:?}", from + number, before(state.sent_at))
            })
            .collect();
        drop(states);
        self.violated(format!(
            "{}, asked {:?} into the run: {what}; states, in us before that: {shown:?}",
            History::key(key),
            since(asked_at, Some(self.began_at))
        ));
    }

    /// Whether a run need not go on.
    pub(super) fn is_violated_enough(&self) -> bool {
        self.violations.lock().unwrap().len() >= VIOLATIONS_MAX
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    /// Nodes are flushed between two calls of this.
    pub(super) fn flush_changes(&self) {
        self.flushes.fetch_add(1, Ordering::SeqCst);
    }

    /// A number that stays the same while no node is flushed; `None` during a flush.
    pub(super) fn between_flushes(&self) -> Option<u64> {
        Some(self.flushes.load(Ordering::SeqCst)).filter(|number| number.is_multiple_of(2))
    }

    fn states(&self, key: usize) -> MutexGuard<'_, Vec<State>> {
        self.keys[key].lock().unwrap()
    }
}

/// The state that a value names, if it is one of this key.
fn read_value(key: usize, reply: &Reply) -> Result<usize, String> {
    let text = reply.text();
    let state = text.split_once(':').filter(|(of, _)| of.parse() == Ok(key));
    state.and_then(|(_, state)| state.parse().ok()).ok_or_else(|| format!("the value is {reply:?}"))
}

fn since(later: Nanos, earlier: Option<Nanos>) -> Duration {
    Duration::from_nanos(earlier.map_or(0, |earlier| later.saturating_sub(earlier)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(50);

    /// The first key is set, deleted and set again.
    fn history() -> History {
        let history = History::new(2, BOUND);
        for is_absent in [false, true, false] {
            history.begin(0, is_absent);
            history.acknowledge(0);
        }
        history
    }

    fn value(state: usize) -> Reply {
        Reply::bulk(History::value(0, state))
    }

    fn nil() -> Reply {
        Reply::read(&mut &b"_\r\n"[..]).unwrap()
    }

    #[test]
    fn what_fits_is_accepted() {
        let (history, now) = (history(), clock::now());
        assert_eq!(history.judge(0, &value(3), now, 0).unwrap().state, 3);
        let stale = history.judge(0, &value(1), now, 1).unwrap();
        assert!(stale.stale_for.is_some_and(|stale_for| stale_for < BOUND));
        assert_eq!(history.judge(0, &nil(), now, 1).unwrap().state, 2);
        assert_eq!(history.judge(1, &nil(), now, 0).unwrap().state, 0);
    }

    #[test]
    fn what_does_not_fit_is_a_violation() {
        let (history, now) = (history(), clock::now());
        let late = now + clock::nanos(2 * BOUND);
        let cases = [
            ("went back", value(1), now, 2),
            ("rose from the dead", value(1), now, 3),
            ("stale", value(1), late, 0),
            ("absent for too long", nil(), late, 0),
            ("absent after it appeared", nil(), now, 3),
            ("from nowhere", value(4), now, 0),
            ("a deletion is no value", value(2), now, 0),
            ("of another key", Reply::bulk("1:1"), now, 0),
        ];
        for (what, reply, asked_at, floor) in cases {
            assert!(history.judge(0, &reply, asked_at, floor).is_err(), "{what}");
        }
        history.judge(1, &value(1), now, 0).map(drop).unwrap_err();
    }
}
