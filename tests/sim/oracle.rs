//! Judges every reply by the promises I1 to I6, which stand at the top of `src/cache/mod.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nearside::cache::COALESCE_WINDOW;

use crate::cluster::{Cluster, Deed};
use crate::conn::Conn;
use crate::history::{Ms, NEVER, Source, State, Token};

/// What was written into the daemon's sockets has been read by it so many milliseconds later.
const READ_BY: Ms = 2;

/// How errors end that say of a request that nothing came or will come of it.
const UNDONE: [&str; 3] =
    ["the command was not executed", "nothing of it was executed", "nothing of it will be executed"];

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    /// What follows from them: a client that has read a value reads no older one later.
    Monotonic,
    /// A reply is the reply to its request, and a write is carried out once.
    Answer,
    /// Words of a script decide nothing: it runs once, and nobody goes to an address in them.
    Words,
    /// While memory is scarce L1 is empty, what is refused is not carried out, and no refusal outlives its
    /// cause.
    Memory,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) promise: Promise,
    pub(crate) at: Ms,
    pub(crate) text: String,
}

/// When a reply was asked for and when it came, and who asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) client: usize,
    /// Counts the requests of all sessions of a client.
    pub(crate) number: u64,
    /// When the last byte of the request had been handed to the daemon.
    pub(crate) sent: Ms,
    pub(crate) received: Ms,
}

/// From some instant on no key may be older than this state of it.
#[derive(Clone, Copy, Debug)]
struct Floor {
    from: Ms,
    state: usize,
    promise: Promise,
}

/// What the oracle remembers.
#[derive(Debug)]
pub(crate) struct Oracle {
    lease: Ms,
    negative_ttl: Ms,
    pub(crate) breaches: Vec<Breach>,
    /// For all sessions.
    floors: BTreeMap<usize, Vec<Floor>>,
    /// For what comes later in the same session.
    own: BTreeMap<(usize, usize), Floor>,
    /// Who wrote a value, and with which request.
    writers: BTreeMap<Token, (usize, u64)>,
    /// Reads that were judged, and those of them that were older than the truth, rightly.
    pub(crate) reads: u64,
    pub(crate) behind: u64,
    seen: BTreeSet<(Promise, usize)>,
    /// Writes that the daemon said it had not carried out, and the promise that this is.
    refused: Vec<(Ms, Deed, Promise)>,
}

// === impl Oracle ===

impl Oracle {
    pub(crate) fn new(lease: Ms, negative_ttl: Ms) -> Oracle {
        Oracle {
            lease,
            negative_ttl,
            breaches: Vec::new(),
            floors: BTreeMap::new(),
            own: BTreeMap::new(),
            writers: BTreeMap::new(),
            reads: 0,
            behind: 0,
            seen: BTreeSet::new(),
            refused: Vec::new(),
        }
    }

    /// A client is about to write this value.
    pub(crate) fn writes(&mut self, token: Token, client: usize, number: u64) {
        self.writers.insert(token, (client, number));
    }

    /// A session is over: the next one of the client has seen nothing.
    pub(crate) fn session_over(&mut self, client: usize) {
        self.own.retain(|(owner, _), _| *owner != client);
    }

    /// A write that made `state` of its key was answered.
    pub(crate) fn written(&mut self, key: usize, state: usize, asked: Asked) {
        self.raise(key, Floor { from: asked.received, state, promise: Promise::I6 }, asked.client);
    }

    fn raise(&mut self, key: usize, floor: Floor, client: usize) {
        let own = self.own.entry((client, key)).or_insert(floor);
        if own.state < floor.state {
            *own = floor;
        }
        let floors = self.floors.entry(key).or_default();
        if floors.last().is_none_or(|last| last.state < floor.state) {
            floors.push(floor);
        }
    }

    /// The oldest state that a request may still be answered with.
    fn floor(&self, key: usize, asked: Asked) -> Option<Floor> {
        let all = self.floors.get(&key).into_iter().flatten();
        let all = all.take_while(|floor| floor.from <= asked.sent).last();
        let own = self.own.get(&(asked.client, key));
        all.into_iter().chain(own).max_by_key(|floor| floor.state).copied()
    }

    /// A read of `key` was answered with `value`.
    pub(crate) fn read(&mut self, cluster: &Cluster, key: usize, value: Option<Token>, asked: Asked) {
        self.reads += 1;
        if let Some((_, number)) =
            value.and_then(|token| self.writers.get(&token)).filter(|writer| writer.0 == asked.client)
            && *number > asked.number
        {
            let text = "a read saw a write that its session sent after it".to_owned();
            return self.breach(Promise::I6, key, value, asked, text, cluster);
        }
        let states = &cluster.keys[key].history.states;
        let known = states.iter().enumerate();
        let mut known =
            known.filter(|(_, state)| state.value == value && state.since <= asked.received).peekable();
        if known.peek().is_none() {
            let text = "no such value of this key was ever written".to_owned();
            return self.breach(Promise::Answer, key, value, asked, text, cluster);
        }
        let floor = self.floor(key, asked);
        let mut verdict = floor.map(|floor| {
            let text = format!("state {} was seen or written before", floor.state);
            (floor.promise, text)
        });
        for (number, state) in known.filter(|(number, _)| floor.is_none_or(|floor| *number >= floor.state)) {
            let next = states.get(number + 1);
            verdict = self.judge(cluster, state, next, asked);
            if verdict.is_none() {
                self.behind += u64::from(state.until.saturating_add(READ_BY) < asked.sent);
                let floor = Floor { from: asked.received, state: number, promise: Promise::Monotonic };
                return self.raise(key, floor, asked.client);
            }
        }
        if let Some((promise, text)) = verdict {
            self.breach(promise, key, value, asked, text, cluster);
        }
    }

    /// Why `state` may not be what a request was answered with; `None` when it may.
    fn judge(
        &self,
        cluster: &Cluster,
        state: &State,
        next: Option<&State>,
        asked: Asked,
    ) -> Option<(Promise, String)> {
        let sent = asked.sent;
        let after = |at: Ms, grace: Ms| at != NEVER && sent > at.saturating_add(grace);
        // Who joins a fill learns when its key expires no sooner than the fill ends.
        let runs = |source: &Source| !source.bypass && source.settled >= sent;
        let joinable = if state.sources.iter().any(runs) { COALESCE_WINDOW.as_millis() as Ms } else { 0 };
        if after(state.expires, READ_BY + joinable) {
            return Some((Promise::I5, format!("its key had expired at {}", state.expires)));
        }
        if after(state.told_at, READ_BY - 1) {
            let fills = state.sources.iter().filter(|source| !source.bypass);
            let last = fills.map(|source| source.settled).max().unwrap_or(0);
            let (promise, how) = match last {
                // It had not ended, or only just, when the request came.
                settled if settled >= sent => (Promise::I3, "joined a fill that began before"),
                settled if settled >= state.told_at => (Promise::I1, "kept by a fill that ran then"),
                _ => (Promise::I2, "kept before"),
            };
            return Some((
                promise,
                format!("the daemon had read its invalidation at {}: {how}", state.told_at),
            ));
        }
        let over = |conn: &Conn| after(conn.over_at, READ_BY - 1);
        let flushed = |conn: &Conn| {
            conn.flushes.iter().any(|(said, told)| *said >= state.until && after(*told, READ_BY - 1))
        };
        let conns = || state.sources.iter().map(|source| &cluster.conns[source.conn]);
        if after(state.until, 0)
            && !state.sources.is_empty()
            && conns().all(|conn| over(conn) || flushed(conn))
        {
            let promise = if conns().all(over) { Promise::I4 } else { Promise::I2 };
            return Some((promise, "every connection that brought it was lost or flushed".to_owned()));
        }
        // An absent key that was made at a node that takes its slot: the former owner knows nothing of it.
        let bound = match (state.value, next.is_some_and(|next| next.elsewhere)) {
            (None, true) => self.lease.max(self.negative_ttl),
            _ => self.lease,
        };
        after(state.until, bound + READ_BY).then(|| {
            let text = format!("it was over at {}, and the lease is {}", state.until, self.lease);
            (Promise::I4, text)
        })
    }

    /// Notes a breach; the first of each promise and key is enough.
    fn breach(
        &mut self,
        promise: Promise,
        key: usize,
        value: Option<Token>,
        asked: Asked,
        why: String,
        cluster: &Cluster,
    ) {
        if !self.seen.insert((promise, key)) {
            return;
        }
        let mut text = format!("client {} read {value:?} of key {key}", asked.client);
        text += &format!(", asked at {}, answered at {}: {why}\n", asked.sent, asked.received);
        let states = &cluster.keys[key].history.states;
        for (number, state) in states.iter().enumerate().skip(states.len().saturating_sub(6)) {
            text += &format!("    state {number}: {state}\n");
        }
        self.breaches.push(Breach { promise, at: asked.received, text });
    }

    /// Something was refused because memory is scarce.
    pub(crate) fn refused(&mut self, words: &str, deeds: &[&Deed], asked: Asked, cluster: &Cluster) {
        if UNDONE.iter().any(|end| words.ends_with(end)) {
            self.undone(deeds, Promise::Memory, asked);
        } else if asked.sent > cluster.replies_refused.1 + READ_BY {
            self.object(Promise::Memory, asked.received, format!("nothing was refused since: {words}"));
        }
    }

    /// The daemon said that these were not carried out.
    pub(crate) fn undone(&mut self, deeds: &[&Deed], promise: Promise, asked: Asked) {
        self.refused.extend(deeds.iter().map(|deed| (asked.received, (*deed).clone(), promise)));
    }

    /// What was refused was not carried out, neither then nor later.
    pub(crate) fn look_for_refused(&mut self, cluster: &Cluster) {
        for (at, deed, promise) in std::mem::take(&mut self.refused) {
            if cluster.deeds.contains_key(&deed) {
                self.object(promise, at, format!("{deed:?} was refused and carried out"));
            }
        }
    }

    /// Something else that must not be.
    pub(crate) fn object(&mut self, promise: Promise, at: Ms, text: String) {
        self.breaches.push(Breach { promise, at, text });
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broken at {} ms: {}", self.promise, self.at, self.text)
    }
}
