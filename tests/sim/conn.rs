//! One connection that the daemon made to a node of the model: a real socket, with a network of its own
//! behind it.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use crate::history::{Ms, NEVER};
use crate::pipe::{Lag, Pipe};

/// What it means that some bytes have reached the daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    /// An invalidation of all keys that are tracked as this one, which was sent then.
    Key { key: usize, sent: Ms },
    /// The invalidation of everything that was read on the connection, which was sent then.
    Everything { sent: Ms },
    /// The lifetime of a key, which ends this fill.
    Lifetime(Fill),
}

/// A read of a key that may be kept: the state that was read, and the number of its source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) key: usize,
    pub(crate) state: usize,
    pub(crate) source: usize,
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) node: usize,
    /// At its other end is a node of another cluster.
    pub(crate) is_stranger: bool,
    /// `None` once the node's side is closed.
    stream: Option<UnixStream>,
    /// From the daemon to the node.
    pub(crate) requests: Pipe<()>,
    /// From the node to the daemon.
    pub(crate) replies: Pipe<Mark>,
    pub(crate) requests_lag: Lag,
    pub(crate) replies_lag: Lag,
    /// What has arrived at the node.
    pub(crate) arrived: Vec<u8>,
    /// What has arrived at the daemon, but for its socket being full.
    leaving: Vec<u8>,
    /// The database that its commands are carried out in.
    pub(crate) database: u8,
    pub(crate) tracking: bool,
    /// It is told of every change of keys with these prefixes, and of no others.
    pub(crate) prefixes: Vec<String>,
    pub(crate) asking: bool,
    /// The next command is not tracked.
    pub(crate) opted_out: bool,
    /// The command at hand is not.
    pub(crate) untracked: bool,
    /// What was queued since MULTI; without the commands if one was refused.
    pub(crate) queued: Option<Result<Vec<Vec<String>>, ()>>,
    /// Fills whose lifetime was not asked for yet.
    pub(crate) open: Vec<Fill>,
    /// When the daemon could see that the connection is over.
    pub(crate) over_at: Ms,
    /// Everything that was sent to forget all, and when that had reached the daemon.
    pub(crate) flushes: Vec<(Ms, Ms)>,
}

// === impl Conn ===

impl Conn {
    pub(crate) fn new(node: usize, stream: UnixStream, lag: Lag) -> Conn {
        stream.set_nonblocking(true).expect("a socket can be made nonblocking");
        Conn {
            node,
            is_stranger: false,
            stream: Some(stream),
            requests: Pipe::default(),
            replies: Pipe::default(),
            requests_lag: lag,
            replies_lag: lag,
            arrived: Vec::new(),
            leaving: Vec::new(),
            database: 0,
            tracking: false,
            prefixes: Vec::new(),
            asking: false,
            opted_out: false,
            untracked: false,
            queued: None,
            open: Vec::new(),
            over_at: NEVER,
            flushes: Vec::new(),
        }
    }

    /// Whether nothing will ever come of it.
    pub(crate) fn is_spent(&self) -> bool {
        self.stream.is_none() && self.requests.is_empty()
    }

    /// Whether the node can still say something on it.
    pub(crate) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Takes in what the daemon wrote.
    pub(crate) fn read(&mut self, now: Ms, rng: &mut fastrand::Rng) {
        let mut buffer = [0; 16 * 1024];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(0) => self.close(now),
                Ok(count) => self.requests.put(buffer[..count].to_vec(), None, now, self.requests_lag, rng),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.close(now),
            }
        }
    }

    /// Hands the daemon what has reached it by `now`, and returns what that means.
    pub(crate) fn write(&mut self, now: Ms) -> Vec<Mark> {
        let mut marks = Vec::new();
        while let Some((bytes, mark)) = self.replies.take(now) {
            self.leaving.extend(bytes);
            marks.extend(mark);
        }
        let Some(stream) = &mut self.stream else { return Vec::new() };
        if self.leaving.is_empty() {
            return marks;
        }
        match stream.write(&self.leaving) {
            Ok(count) if count == self.leaving.len() => self.leaving.clear(),
            Ok(count) => panic!("a socket took {count} bytes of {}", self.leaving.len()),
            Err(_) => {
                self.close(now);
                marks.clear();
            }
        }
        marks
    }

    /// Sends `bytes` to the daemon.
    pub(crate) fn say(&mut self, bytes: Vec<u8>, mark: Option<Mark>, now: Ms, rng: &mut fastrand::Rng) {
        self.replies.put(bytes, mark, now, self.replies_lag, rng);
    }

    /// The connection ends. What the daemon wrote may still arrive at the node.
    pub(crate) fn close(&mut self, now: Ms) {
        self.stream = None;
        self.replies.kill();
        self.over_at = self.over_at.min(now);
    }
}
