//! Read your writes (I6): a session writes through a daemon and reads at once, on its own connection and
//! another.

use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use nearside::sandbox::{Reply, SandboxClient};

use super::history::History;
use crate::support::daemon::Daemon;

/// One session that writes keys which nobody else writes, and another session of the same daemon.
pub(super) struct OwnWrites<'a> {
    name: &'static str,
    history: &'a History,
    writer: SandboxClient,
    other: SandboxClient,
    number: u64,
    pub(super) rounds: u64,
    pub(super) errors: u64,
}

/// Keys of the session, of many slots.
const KEYS: u64 = 16;

/// Why a round came to nothing.
enum Off {
    /// The daemon could not do it; what was written is unknown.
    Refused,
    /// A read gave what it must not give.
    Wrong(String),
}

// === impl OwnWrites ===

impl<'a> OwnWrites<'a> {
    pub(super) fn new(name: &'static str, daemon: &Daemon, history: &'a History) -> OwnWrites<'a> {
        let (writer, mut other) = (daemon.client(), daemon.client());
        other.hello(3).unwrap();
        OwnWrites { name, history, writer, other, number: 0, rounds: 0, errors: 0 }
    }

    /// Makes rounds until it is over. A round that a flush of a node may have disturbed does not count.
    pub(super) fn run(mut self, mut random: Rng, is_over: &AtomicBool) -> OwnWrites<'a> {
        while !is_over.load(Ordering::SeqCst) {
            let Some(before) = self.history.between_flushes() else { continue };
            let outcome = self.round(&mut random);
            if self.history.between_flushes() != Some(before) {
                continue;
            }
            match outcome {
                Ok(()) => self.rounds += 1,
                Err(Off::Refused) => self.errors += 1,
                Err(Off::Wrong(what)) => self.history.violated(format!("{}: {what}", self.name)),
            }
        }
        self
    }

    fn round(&mut self, random: &mut Rng) -> Result<(), Off> {
        let key = self.key(random);
        let first = self.next_value();
        done(&self.writer.command(&["SET", &key, &first]).unwrap())?;
        let own = self.writer.command(&["GET", &key]).unwrap();
        same("GET after SET", &key, &own, Some(&first))?;
        let others = self.other.command(&["GET", &key]).unwrap();
        same("GET of another session after SET", &key, &others, Some(&first))?;

        let second = self.next_value();
        // What comes before the write in the pipeline must not see it, what comes after it must.
        self.writer.send(&["GET", &key]).unwrap();
        self.writer.send(&["SET", &key, &second]).unwrap();
        self.writer.send(&["GET", &key]).unwrap();
        self.writer.send(&["MGET", &key, &key]).unwrap();
        let [before, set, after, both] = [(); 4].map(|()| self.writer.receive().unwrap());
        same("GET before SET in one pipeline", &key, &before, Some(&first))?;
        done(&set)?;
        same("GET after SET in one pipeline", &key, &after, Some(&second))?;
        done(&both)?;
        for value in both.items() {
            same("MGET after SET in one pipeline", &key, value, Some(&second))?;
        }
        let others = self.other.command(&["MGET", &key]).unwrap();
        done(&others)?;
        same("MGET of another session", &key, &others.items()[0], Some(&second))?;
        if random.bool() { self.several(random) } else { self.delete(&key) }
    }

    /// The same for writes that are split by slot.
    fn several(&mut self, random: &mut Rng) -> Result<(), Off> {
        let (one, two, value) = (self.key(random), self.key(random), self.next_value());
        self.writer.send(&["MSET", &one, &value, &two, &value]).unwrap();
        self.writer.send(&["MGET", &one, &two]).unwrap();
        let [set, own] = [(); 2].map(|()| self.writer.receive().unwrap());
        done(&set)?;
        let others = self.other.command(&["MGET", &one, &two]).unwrap();
        for reply in [own, others] {
            done(&reply)?;
            for (key, reply) in [&one, &two].into_iter().zip(reply.items()) {
                same("MGET after MSET", key, reply, Some(&value))?;
            }
        }
        Ok(())
    }

    /// What is deleted does not come back.
    fn delete(&mut self, key: &str) -> Result<(), Off> {
        self.writer.send(&["DEL", key]).unwrap();
        self.writer.send(&["GET", key]).unwrap();
        let [deleted, own] = [(); 2].map(|()| self.writer.receive().unwrap());
        done(&deleted)?;
        same("GET after DEL in one pipeline", key, &own, None)?;
        same("GET of another session after DEL", key, &self.other.command(&["GET", key]).unwrap(), None)
    }

    fn key(&self, random: &mut Rng) -> String {
        format!("own:{}:{}", self.name, random.u64(..KEYS))
    }

    fn next_value(&mut self) -> String {
        self.number += 1;
        self.number.to_string()
    }
}

fn done(reply: &Reply) -> Result<(), Off> {
    if reply.is_error() { Err(Off::Refused) } else { Ok(()) }
}

fn same(what: &str, key: &str, reply: &Reply, wanted: Option<&str>) -> Result<(), Off> {
    done(reply)?;
    let is_same = wanted.map_or(reply.is_nil(), |wanted| *reply == Reply::bulk(wanted));
    if is_same { Ok(()) } else { Err(Off::Wrong(format!("{what} of {key} gave {reply:?}, not {wanted:?}"))) }
}
