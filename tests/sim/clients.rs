//! Clients of the daemon: each has one session at a time, sends pipelines, and gives every reply to the
//! oracle.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use crate::cluster::{Cluster, Deed};
use crate::history::{Ms, NEVER, Token};
use crate::oracle::{Asked, Oracle, Promise};
use crate::words::{self, Word};

/// What was asked.
#[derive(Clone, Debug)]
enum Question {
    Hello,
    /// Another database, from here on.
    Select,
    Get(usize),
    Mget(Vec<usize>),
    /// A write of one key, and what it is called.
    Write(usize, Deed),
    Flushall,
    /// A script that writes a key and answers with these words.
    Script(usize, Deed, String),
    Multi,
    /// A command of a transaction, which EXEC carries out.
    Queued,
    /// What a transaction asks.
    Exec(Vec<Question>),
}

#[derive(Clone, Debug)]
struct Outstanding {
    question: Question,
    number: u64,
    /// How many bytes of the session have been sent when its last one has.
    ends_at: usize,
    sent: Ms,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    id: usize,
    stream: Option<UnixStream>,
    arrived: Vec<u8>,
    leaving: Vec<u8>,
    /// Bytes of the session that were put into `leaving`, and those that have left.
    queued: usize,
    left: usize,
    outstanding: VecDeque<Outstanding>,
    number: u64,
    next_at: Ms,
    /// The longest time between two pipelines.
    pause: Ms,
    /// How long it waits for a reply before it begins a new session.
    patience: Ms,
    /// The first kind of request that it sends: the writes come first.
    kinds: u8,
    /// The database of its session.
    database: u8,
    /// How many databases it goes to.
    pub(crate) databases: u8,
    /// Whether it sends transactions as well.
    pub(crate) transacts: bool,
    pub(crate) answers: u64,
    pub(crate) errors: u64,
}

// === impl Question ===

impl Question {
    fn deeds(&self) -> Vec<&Deed> {
        match self {
            Question::Write(_, deed) | Question::Script(_, deed, _) => vec![deed],
            Question::Exec(questions) => questions.iter().flat_map(Question::deeds).collect(),
            Question::Hello
            | Question::Select
            | Question::Get(_)
            | Question::Mget(_)
            | Question::Flushall
            | Question::Multi
            | Question::Queued => Vec::new(),
        }
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn new(id: usize, rng: &mut fastrand::Rng) -> Client {
        Client {
            id,
            stream: None,
            arrived: Vec::new(),
            leaving: Vec::new(),
            queued: 0,
            left: 0,
            outstanding: VecDeque::new(),
            number: 0,
            next_at: rng.u64(0..100),
            pause: 1 << rng.u32(1..7),
            patience: 1 << rng.u32(6..12),
            // Some only read.
            kinds: if rng.u8(..3) == 0 { 6 } else { 0 },
            database: 0,
            databases: 1,
            transacts: false,
            answers: 0,
            errors: 0,
        }
    }

    /// One millisecond; `connect` gives the client's end of a new session.
    pub(crate) fn step(
        &mut self,
        cluster: &mut Cluster,
        oracle: &mut Oracle,
        connect: impl FnOnce() -> Option<UnixStream>,
    ) {
        self.receive(cluster, oracle);
        if cluster.now >= self.next_at {
            self.next_at = cluster.now + cluster.rng.u64(0..self.pause);
            if self.stream.is_none() {
                if let Some(stream) = connect() {
                    self.begin(stream, cluster);
                }
            } else if cluster.rng.u32(..2_000) == 0 || self.is_tired(cluster.now) {
                self.leave(oracle);
            } else if self.outstanding.len() < 32 {
                self.ask(cluster, oracle);
            }
        }
        self.send(cluster, oracle);
    }

    fn begin(&mut self, stream: UnixStream, cluster: &mut Cluster) {
        stream.set_nonblocking(true).expect("a socket can be made nonblocking");
        self.stream = Some(stream);
        (self.queued, self.left) = (0, 0);
        self.database = 0;
        if cluster.rng.bool() {
            self.put(&["HELLO", "3"], Question::Hello);
        }
    }

    fn is_tired(&self, now: Ms) -> bool {
        self.outstanding
            .front()
            .is_some_and(|oldest| oldest.sent != NEVER && oldest.sent + self.patience < now)
    }

    /// Goes away without waiting for anything.
    fn leave(&mut self, oracle: &mut Oracle) {
        self.stream = None;
        self.arrived.clear();
        self.leaving.clear();
        self.outstanding.clear();
        oracle.session_over(self.id);
    }

    fn put(&mut self, args: &[&str], question: Question) {
        let bytes = words::request(args);
        self.queued += bytes.len();
        self.leaving.extend(bytes);
        self.number += 1;
        let (number, ends_at) = (self.number, self.queued);
        self.outstanding.push_back(Outstanding { question, number, ends_at, sent: NEVER });
    }

    /// A pipeline of a few requests.
    fn ask(&mut self, cluster: &mut Cluster, oracle: &mut Oracle) {
        let count = if cluster.rng.bool() { 1 } else { cluster.rng.usize(1..8) };
        if self.databases > 1 && cluster.rng.u8(..8) == 0 {
            self.database = cluster.rng.u8(..self.databases);
            self.put(&["SELECT", &self.database.to_string()], Question::Select);
        }
        let favourite = self.some_key(cluster);
        for _ in 0..count {
            let other = self.some_key(cluster);
            let key = if cluster.rng.u8(..4) == 0 { other } else { favourite };
            if self.transacts && cluster.rng.u8(..4) == 0 {
                self.transact(key, cluster, oracle);
            } else {
                self.ask_once(key, cluster, oracle);
            }
        }
    }

    fn some_key(&self, cluster: &mut Cluster) -> usize {
        cluster.rng.usize(cluster.keys_of(self.database))
    }

    fn ask_once(&mut self, key: usize, cluster: &mut Cluster, oracle: &mut Oracle) {
        let name = cluster.bare(key);
        match cluster.rng.u8(self.kinds..32) {
            0..4 => {
                let token = cluster.token();
                oracle.writes(token, self.id, self.number + 1);
                if !cluster.prefix.is_empty() && cluster.rng.u8(..4) == 0 {
                    // The name of what it writes is built from an argument. It is that of its key: while a slot
                    // moves, nothing keeps the order of what a session writes to keys that it does not name.
                    let value = format!("v{token}");
                    let script = ["EVAL", "return writes", "1", &name, &value, &name];
                    return self.put(&script, Question::Write(key, Deed::Set(token)));
                }
                if cluster.rng.u8(..4) == 0 {
                    let (value, words) = (format!("v{token}"), cluster.forged(cluster.keys[key].slot));
                    let script = ["EVAL", "forges", "1", &name, &value, &words];
                    return self.put(&script, Question::Script(key, Deed::Set(token), words.clone()));
                }
                let (value, ms) = (format!("v{token}"), cluster.rng.u64(20..3_000).to_string());
                let set = ["SET", &name, &value, "PX", &ms];
                let words = if cluster.rng.bool() { &set[..] } else { &set[..3] };
                self.put(words, Question::Write(key, Deed::Set(token)));
            }
            4 => {
                // A key that is never there tells one DEL from another.
                let tag = if name.contains('{') { name.clone() } else { format!("{{{name}}}") };
                let marker = format!("{tag}#{}-{}", self.id, self.number);
                self.put(&["DEL", &name, &marker], Question::Write(key, Deed::Del(marker.clone())));
            }
            5 => {
                let mut ms = cluster.rng.u64(20..6_000);
                while !cluster.lifetimes.insert((key, ms)) {
                    ms += 1;
                }
                self.put(&["PEXPIRE", &name, &ms.to_string()], Question::Write(key, Deed::Expire(key, ms)));
            }
            6..11 => {
                let count = cluster.rng.usize(1..5);
                let mut keys: Vec<usize> = (0..count).map(|_| self.some_key(cluster)).collect();
                keys.push(key);
                let names: Vec<String> = keys.iter().map(|key| cluster.bare(*key)).collect();
                let words: Vec<&str> =
                    std::iter::once("MGET").chain(names.iter().map(String::as_str)).collect();
                self.put(&words, Question::Mget(keys.clone()));
            }
            // One at a time, so that it is known which one it was that a key fell to.
            11 if cluster.now >= cluster.next_flush_at && cluster.rng.u8(..10) == 0 => {
                cluster.next_flush_at = cluster.now + 4_000;
                self.put(&["FLUSHALL"], Question::Flushall);
            }
            _ => self.put(&["GET", &name], Question::Get(key)),
        }
    }

    /// A transaction on keys of any slots.
    fn transact(&mut self, key: usize, cluster: &mut Cluster, oracle: &mut Oracle) {
        let count = cluster.rng.usize(1..6);
        let exec = self.number + 2 + count as u64;
        let mut questions = Vec::new();
        self.put(&["MULTI"], Question::Multi);
        for _ in 0..count {
            let other = self.some_key(cluster);
            let key = if cluster.rng.bool() { other } else { key };
            let name = cluster.bare(key);
            if self.kinds == 0 && cluster.rng.bool() {
                let token = cluster.token();
                oracle.writes(token, self.id, exec);
                self.put(&["SET", &name, &format!("v{token}")], Question::Queued);
                questions.push(Question::Write(key, Deed::Set(token)));
            } else {
                self.put(&["GET", &name], Question::Queued);
                questions.push(Question::Get(key));
            }
        }
        self.put(&["EXEC"], Question::Exec(questions));
    }

    /// Writes what waits, now and then only a part of it.
    fn send(&mut self, cluster: &mut Cluster, oracle: &mut Oracle) {
        let Some(stream) = &mut self.stream else { return };
        if self.leaving.is_empty() {
            return;
        }
        let whole = self.leaving.len();
        let part = if cluster.rng.u8(..8) == 0 { cluster.rng.usize(1..=whole) } else { whole };
        match stream.write(&self.leaving[..part]) {
            Ok(count) => {
                self.leaving.drain(..count);
                self.left += count;
                let unsent = |asked: &&mut Outstanding| asked.sent == NEVER;
                for asked in self.outstanding.iter_mut().filter(unsent) {
                    if asked.ends_at <= self.left {
                        asked.sent = cluster.now;
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.dropped(&error.to_string(), cluster, oracle),
        }
    }

    /// The daemon closed the session: only because memory was scarce.
    fn dropped(&mut self, how: &str, cluster: &mut Cluster, oracle: &mut Oracle) {
        cluster.drops_seen += 1;
        assert!(cluster.drops_seen <= cluster.dropped, "the session of client {} was closed: {how}", self.id);
        self.leave(oracle);
    }

    fn receive(&mut self, cluster: &mut Cluster, oracle: &mut Oracle) {
        let mut buffer = [0; 16 * 1024];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(0) => return self.dropped("its end", cluster, oracle),
                Ok(count) => self.arrived.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return self.dropped(&error.to_string(), cluster, oracle),
            }
        }
        while let Some(reply) = words::take_reply(&mut self.arrived) {
            let Some(outstanding) = self.outstanding.pop_front() else {
                return oracle.object(Promise::Answer, cluster.now, format!("nobody asked for {reply:?}"));
            };
            let (id, number) = (self.id, outstanding.number);
            cluster.log.note(cluster.now, format_args!("client {id} {outstanding:?}: {reply:?}"));
            let asked = Asked { client: id, number, sent: outstanding.sent, received: cluster.now };
            self.answers += 1;
            if let Word::Error(words) = &reply {
                self.errors += 1;
                if words.starts_with("OOM nearside: ") {
                    oracle.refused(words, &outstanding.question.deeds(), asked, cluster);
                }
                if words.starts_with("EXECABORT") {
                    oracle.undone(&outstanding.question.deeds(), Promise::Answer, asked);
                }
                if matches!(outstanding.question, Question::Select) {
                    // What it sent behind that is carried out in another database than it meant.
                    return self.leave(oracle);
                }
                // A script that has answered has written.
                if let Question::Script(key, deed, forged) = &outstanding.question
                    && words == forged
                    && let Some((state, 1)) = cluster.deeds.get(deed)
                {
                    oracle.written(*key, *state, asked);
                }
                continue;
            }
            answered(outstanding.question, &reply, asked, cluster, oracle);
        }
    }
}

fn answered(question: Question, reply: &Word, asked: Asked, cluster: &Cluster, oracle: &mut Oracle) {
    match (question, reply) {
        (Question::Hello, Word::Array(_)) => {}
        (Question::Get(key), word) => match value(word) {
            Some(value) => oracle.read(cluster, key, value, asked),
            None => wrong(reply, asked, oracle),
        },
        (Question::Mget(keys), Word::Array(words)) if keys.len() == words.len() => {
            for (key, word) in keys.into_iter().zip(words) {
                match value(word) {
                    Some(value) => oracle.read(cluster, key, value, asked),
                    None => wrong(reply, asked, oracle),
                }
            }
        }
        (Question::Write(key, deed), Word::Simple(_) | Word::Integer(_)) => match cluster.deeds.get(&deed) {
            Some((state, 1)) => oracle.written(key, *state, asked),
            Some((_, times)) => {
                let text = format!("{deed:?} was carried out {times} times");
                oracle.object(Promise::Answer, asked.received, text);
            }
            // PEXPIRE of a key that is not there does nothing.
            None if matches!((&deed, reply), (Deed::Expire(..), Word::Integer(0))) => {}
            None => wrong(reply, asked, oracle),
        },
        (Question::Flushall, Word::Simple(_)) => {
            for (key, flushed) in cluster.flushed_since(asked.sent) {
                oracle.written(key, flushed, asked);
            }
        }
        (Question::Select | Question::Multi | Question::Queued, Word::Simple(_)) => {}
        (Question::Exec(questions), Word::Array(words)) if questions.len() == words.len() => {
            for (question, word) in questions.into_iter().zip(words) {
                match word {
                    Word::Error(words) if words.starts_with("EXECABORT") => {
                        oracle.undone(&question.deeds(), Promise::Answer, asked);
                    }
                    Word::Error(_) => {}
                    word => answered(question, word, asked, cluster, oracle),
                }
            }
        }
        _ => wrong(reply, asked, oracle),
    }
}

fn wrong(reply: &Word, asked: Asked, oracle: &mut Oracle) {
    let text = format!("client {} got {reply:?} to request {}", asked.client, asked.number);
    oracle.object(Promise::Answer, asked.received, text);
}

/// A value, or that there is none; `None` when it is neither.
fn value(word: &Word) -> Option<Option<Token>> {
    match word {
        Word::Nil => Some(None),
        Word::Bulk(text) => Some(Some(text.strip_prefix('v')?.parse().ok()?)),
        _ => None,
    }
}

// === impl Cluster ===

impl Cluster {
    /// What a FLUSHALL that came through the daemon since `since` made of each key.
    fn flushed_since(&self, since: Ms) -> Vec<(usize, usize)> {
        let keys = self.keys.iter().enumerate();
        keys.filter_map(|(index, key)| {
            let flushed = key.history.states.iter().position(|state| state.by_flush && state.since >= since);
            Some((index, flushed?))
        })
        .collect()
    }
}
