//! What every key was, when, and what the daemon was told of it: the truth that the oracle compares with.

use std::fmt;

/// Milliseconds of virtual time since the run began.
pub(crate) type Ms = u64;

/// Later than any run.
pub(crate) const NEVER: Ms = Ms::MAX;

/// A value that is written once in a run.
pub(crate) type Token = u32;

/// A connection that the daemon made to a node.
pub(crate) type ConnId = usize;

/// One value of one key, from when the owner had it until it had another one.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) value: Option<Token>,
    pub(crate) since: Ms,
    pub(crate) until: Ms,
    pub(crate) expires: Ms,
    /// When the daemon had read the first invalidation that was sent after `until`.
    pub(crate) told_at: Ms,
    /// The fills that brought it to the daemon.
    pub(crate) sources: Vec<Source>,
    /// Made by a FLUSHALL that came through the daemon.
    pub(crate) by_flush: bool,
    /// Made at a node that takes the slot from another one, which knows nothing of it.
    pub(crate) elsewhere: bool,
}

/// One read of a state by the daemon.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) conn: ConnId,
    /// When the lifetime of the key, which ends a fill, had reached the daemon; `NEVER` while it has not.
    pub(crate) settled: Ms,
    /// The node saw that no lifetime was asked for: the reply is none to keep.
    pub(crate) bypass: bool,
}

/// All that one key was.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) states: Vec<State>,
}

// === impl State ===

impl State {
    fn new(value: Option<Token>, since: Ms, expires: Ms) -> State {
        let (until, told_at) = (NEVER, NEVER);
        State {
            value,
            since,
            until,
            expires,
            told_at,
            sources: Vec::new(),
            by_flush: false,
            elsewhere: false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |at: Ms| if at == NEVER { "-".to_owned() } else { at.to_string() };
        let value = self.value.map_or_else(|| "nil".to_owned(), |token| format!("v{token}"));
        write!(f, "{value:>6} since {} until {}", self.since, at(self.until))?;
        write!(f, " expires {} told {}", at(self.expires), at(self.told_at))?;
        for source in self.sources.iter().rev().take(4) {
            let kind = if source.bypass { "read" } else { "fill" };
            write!(f, " [{kind} over #{} settled {}]", source.conn, at(source.settled))?;
        }
        Ok(())
    }
}

// === impl History ===

impl Default for History {
    fn default() -> History {
        History { states: vec![State::new(None, 0, NEVER)] }
    }
}

impl History {
    /// What the key is now.
    pub(crate) fn now(&mut self) -> &mut State {
        self.states.last_mut().expect("a key is always something")
    }

    /// The number of what the key is now.
    pub(crate) fn latest(&self) -> usize {
        self.states.len() - 1
    }

    /// The key becomes something else.
    pub(crate) fn become_at(&mut self, now: Ms, value: Option<Token>, expires: Ms) -> &mut State {
        self.now().until = now;
        self.states.push(State::new(value, now, expires));
        self.now()
    }

    /// The daemon has read an invalidation of the key which was sent at `sent`.
    pub(crate) fn told(&mut self, sent: Ms, now: Ms) {
        for state in self.states.iter_mut().rev().filter(|state| state.until <= sent) {
            if state.told_at <= now {
                break;
            }
            state.told_at = now;
        }
    }

    /// What the key was at `at`.
    pub(crate) fn at(&self, at: Ms) -> &State {
        self.states.iter().rev().find(|state| state.since <= at).unwrap_or(&self.states[0])
    }
}
