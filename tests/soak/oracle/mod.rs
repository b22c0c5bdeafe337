//! What one key can have been and when, and whether what a daemon served fits to it.
//!
//! A key goes through numbered states, each a value (which names its number) or absence. One writer makes
//! them one after the other, so their order is beyond doubt. What is in doubt is whether a write took place
//! whose reply was lost: the writer leaves such a key alone until its owner was asked ([`KeyLog::settle`]).
//! What a failover may undo is in doubt as well: from when a primary is killed until its successor was asked,
//! reads of exactly its keys are *spared*: any value that was ever written of the key is accepted, and none
//! of another key.

use std::time::Duration;

use nearside::clock::{self, Nanos};

#[cfg(test)]
mod tests;

/// How long what was replaced may be served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// After the acknowledgement of a write, wherever it was made.
    pub(crate) stale: Duration,
    /// After a key's time was over.
    pub(crate) expired: Duration,
}

/// All that is known of one key.
#[derive(Debug)]
pub(crate) struct KeyLog {
    states: Vec<State>,
    /// Nothing before this state can be served: the owner was asked when it began.
    base: usize,
    /// A value that was still there when the owner was asked, and the state that this has been since.
    kept: Option<(usize, usize)>,
    /// For each daemon the oldest state that it may still serve.
    floors: Vec<usize>,
    is_spared: bool,
    is_in_doubt: bool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    is_absent: bool,
    /// It was not there before.
    from: Nanos,
    /// It was there by then, if it is known that it ever was.
    by: Option<Nanos>,
    /// It was certainly refused.
    never: bool,
    /// It came by itself: the key's time was over.
    is_expiry: bool,
    /// The daemon that acknowledged it, if one did; of an expiry, the EXPIRE that set it.
    through: Option<usize>,
    /// Of an expiry that a value got later: when the EXPIRE was acknowledged. Who had read the value before
    /// may not have heard of it.
    set_at: Option<Nanos>,
}

/// What a read must heed that is sent now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance {
    base: usize,
    floor: usize,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Absent,
    /// The value that names this state.
    Value(usize),
}

/// What a read that was right says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It could not be judged: the key is spared, or was asked for in between.
    Spared,
    /// The oldest state that it can have been.
    State {
        number: usize,
        /// When its successor was acknowledged, if that was before the read was sent.
        replaced_at: Option<Nanos>,
    },
}

// === impl State ===

impl State {
    fn new(is_absent: bool, from: Nanos) -> State {
        State { is_absent, from, by: None, never: false, is_expiry: false, through: None, set_at: None }
    }
}

// === impl KeyLog ===

impl KeyLog {
    /// A key that is absent.
    pub(crate) fn new(daemons: usize, now: Nanos) -> KeyLog {
        let absent = State { by: Some(now), ..State::new(true, now) };
        KeyLog {
            states: vec![absent],
            base: 0,
            kept: None,
            floors: vec![0; daemons],
            is_spared: false,
            is_in_doubt: false,
        }
    }

    /// A write is about to be sent; the number of the state that it makes.
    pub(crate) fn begin(&mut self, is_absent: bool, now: Nanos) -> usize {
        self.push(State::new(is_absent, now))
    }

    /// The key is going to expire by itself, at `earliest` or later; the number of the state that this makes.
    pub(crate) fn begin_expiry(&mut self, earliest: Nanos) -> usize {
        self.push(State { is_expiry: true, ..State::new(true, earliest) })
    }

    /// Whether it may expire by itself. Who gives it another time then makes the first one void before the
    /// log knows.
    pub(crate) fn may_expire(&self) -> bool {
        self.states.iter().rev().find(|state| !state.never).is_some_and(|state| state.is_expiry)
    }

    /// The expiry of `number` was acknowledged: it will have happened by `latest`.
    pub(crate) fn expires_by(&mut self, number: usize, latest: Nanos) {
        self.states[number].by = Some(latest);
    }

    /// The expiry `number` was given to a value that was there already, by a daemon if one is named.
    pub(crate) fn expiry_set(&mut self, number: usize, now: Nanos, through: Option<usize>) {
        self.states[number].set_at = Some(now);
        self.states[number].through = through;
    }

    fn push(&mut self, state: State) -> usize {
        self.states.push(state);
        self.states.len() - 1
    }

    /// The write of `number` was acknowledged, by a daemon if one is named: it never serves older ones from
    /// now on.
    pub(crate) fn acknowledge(&mut self, number: usize, now: Nanos, through: Option<usize>) {
        self.states[number].by = Some(now);
        self.states[number].through = through;
        if let Some(before) = number.checked_sub(1).and_then(|before| self.states.get_mut(before))
            && before.is_expiry
            && before.from > now
        {
            // It was overwritten before its time was over.
            before.never = true;
        }
        if let Some(daemon) = through {
            self.floors[daemon] = self.floors[daemon].max(number);
        }
    }

    /// The write of `number` was certainly not executed.
    pub(crate) fn refuse(&mut self, number: usize) {
        self.states[number].never = true;
    }

    /// Nobody knows whether the newest write was executed, or will be.
    pub(crate) fn doubt(&mut self) {
        self.is_in_doubt = true;
    }

    /// What was acknowledged may be undone from now on.
    pub(crate) fn spare(&mut self) {
        self.is_spared = true;
    }

    pub(crate) fn is_spared(&self) -> bool {
        self.is_spared
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// What the key is, as far as that is certain.
    pub(crate) fn newest(&self) -> Seen {
        let newest = (self.base..self.states.len()).rev().find(|number| !self.states[*number].never);
        let number = newest.unwrap_or(self.base);
        match self.kept {
            _ if self.states[number].is_absent => Seen::Absent,
            Some((value, state)) if state == number => Seen::Value(value),
            _ => Seen::Value(number),
        }
    }

    /// Nothing is under way any more and the owner says that the key is `truth`: everything begins anew from
    /// there.
    pub(crate) fn settle(&mut self, truth: Seen, now: Nanos) -> Result<(), String> {
        let undone = !self.is_spared && !self.is_possible_end(truth, now);
        self.is_spared = false;
        self.is_in_doubt = false;
        let number = self.push(State { by: Some(now), ..State::new(truth == Seen::Absent, now) });
        if let Seen::Value(value) = truth {
            self.kept = Some((value, number));
        }
        self.base = number;
        self.floors.fill(number);
        if undone {
            Err(format!("the owner itself says {truth:?}, though nothing was to be undone"))
        } else {
            Ok(())
        }
    }

    /// Whether the last write that is certain, or one in doubt after it, left the key like this.
    fn is_possible_end(&self, truth: Seen, now: Nanos) -> bool {
        let is_certain = |state: &State| !state.never && state.by.is_some_and(|by| by <= now);
        let from = (self.base..self.states.len()).rev().find(|number| is_certain(&self.states[*number]));
        (from.unwrap_or(self.base)..self.states.len()).any(|number| match truth {
            Seen::Absent => self.states[number].is_absent && !self.states[number].never,
            Seen::Value(value) => {
                !self.states[number].is_absent
                    && !self.states[number].never
                    && self.number_of(value) == number
            }
        })
    }

    /// What a read through `daemon` must heed that is sent now.
    pub(crate) fn glance(&self, daemon: usize) -> Glance {
        Glance { base: self.base, floor: self.floors[daemon] }
    }

    /// Judges what a read through `daemon` gave that was sent at `asked_at`, and remembers it for later ones.
    /// `earlier` is what the same session read before it in the same pipeline.
    pub(crate) fn judge(
        &mut self,
        daemon: usize,
        glance: Glance,
        earlier: Option<usize>,
        seen: Seen,
        (asked_at, received_at): (Nanos, Nanos),
        bounds: Bounds,
    ) -> Result<Judged, String> {
        if let Seen::Value(value) = seen
            && self.states.get(value).is_none_or(|state| state.is_absent)
        {
            return Err(format!("the value names state {value}, which was never written"));
        }
        if self.is_spared || glance.base != self.base {
            return Ok(Judged::Spared);
        }
        let floor = glance.floor.max(earlier.unwrap_or(0));
        let number = match seen {
            Seen::Value(value) => self.number_of(value),
            Seen::Absent => self.oldest_absent(floor, daemon, (asked_at, received_at), bounds)?,
        };
        let state = self.states[number];
        if state.never {
            return Err(format!("state {number} was refused"));
        }
        if number < glance.floor {
            return Err(format!(
                "state {number} after the daemon had served or acknowledged {}",
                glance.floor
            ));
        }
        if number < floor {
            return Err(format!("state {number} behind {floor} in one pipeline"));
        }
        let overdue = self.overdue(number, daemon, asked_at, bounds);
        if let Some(by) = overdue {
            let ago = Duration::from_nanos(by);
            return Err(format!("state {number} was over {ago:?} before the read was sent"));
        }
        self.floors[daemon] = self.floors[daemon].max(number);
        let replaced_at = self.successor(number).and_then(|next| next.by).filter(|by| *by < asked_at);
        Ok(Judged::State { number, replaced_at })
    }

    /// The state that `value` names, or has become.
    fn number_of(&self, value: usize) -> usize {
        self.kept.filter(|kept| kept.0 == value).map_or(value, |kept| kept.1)
    }

    fn oldest_absent(
        &self,
        floor: usize,
        daemon: usize,
        (asked_at, received_at): (Nanos, Nanos),
        bounds: Bounds,
    ) -> Result<usize, String> {
        let from = floor.max(self.base);
        let absent = |number: &usize| {
            let state = self.states[*number];
            state.is_absent && !state.never && state.from <= received_at
        };
        let candidates = (from..self.states.len()).filter(absent);
        let mut newest = None;
        for number in candidates {
            if self.overdue(number, daemon, asked_at, bounds).is_none() {
                return Ok(number);
            }
            newest = Some(number);
        }
        match newest {
            Some(number) => {
                let ago = self.overdue(number, daemon, asked_at, bounds).unwrap_or_default();
                let ago = Duration::from_nanos(ago);
                Err(format!("absent, which had ended with state {number} {ago:?} before the read was sent"))
            }
            None => {
                Err(format!("absent, which it has not been since state {floor} was served or acknowledged"))
            }
        }
    }

    /// How long before `asked_at` a state was certainly over, if that is longer than `daemon` may serve it.
    fn overdue(&self, number: usize, daemon: usize, asked_at: Nanos, bounds: Bounds) -> Option<Nanos> {
        let (stale, expired) = (clock::nanos(bounds.stale), clock::nanos(bounds.expired));
        let later = self.states[number + 1..].iter().filter(|state| !state.never);
        later
            .enumerate()
            .filter_map(|(distance, state)| {
                let over_at = state.by?;
                // When it expires itself is known with a value, unless that was set later. Of the end of one
                // that replaced it a daemon hears no sooner than of that one.
                let is_own_end = state.is_expiry && distance == 0;
                let until = match state.set_at.filter(|_| state.through != Some(daemon)) {
                    _ if !is_own_end => over_at + stale,
                    Some(set_at) => (over_at + expired).max(set_at + stale),
                    None => over_at + expired,
                };
                (asked_at > until).then(|| asked_at - over_at)
            })
            .max()
    }

    /// The first state after `number` that is known to have been.
    fn successor(&self, number: usize) -> Option<&State> {
        self.states[number + 1..].iter().find(|state| !state.never && state.by.is_some())
    }

    /// When the write that replaced `number` was acknowledged, if that was elsewhere than at `daemon`.
    pub(crate) fn replaced_elsewhere(&self, number: usize, daemon: usize) -> Option<Nanos> {
        let next = self.successor(number).filter(|next| !next.is_expiry && next.through != Some(daemon));
        next.and_then(|next| next.by)
    }

    /// The last states, in milliseconds before `at`, for who wants to see why a read was wrong.
    pub(crate) fn shown(&self, at: Nanos) -> String {
        let before = |time: Nanos| (at as i64 - time as i64) as f64 / 1e6;
        let from = self.states.len().saturating_sub(8);
        let lines = self.states.iter().enumerate().skip(from).map(|(number, state)| {
            let kind = match (state.is_absent, state.is_expiry) {
                (false, _) => "value",
                (true, false) => "absent",
                (true, true) => "expired",
            };
            let end = match state.by {
                _ if state.never => "refused".to_owned(),
                Some(by) => format!("known {:.3}", before(by)),
                None => "in doubt".to_owned(),
            };
            format!("{number}={kind} sent {:.3} {end}", before(state.from))
        });
        format!("{:?}, floors {:?}, base {}", lines.collect::<Vec<_>>(), self.floors, self.base)
    }
}
