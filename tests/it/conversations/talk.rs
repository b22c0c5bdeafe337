//! Holds a scripted conversation with whoever listens at an address, and keeps every byte of the replies.

use std::io;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient};

use super::differing::without_what_differs;
use super::script::{Script, Step, Write};

/// What came back to one write.
#[derive(PartialEq)]
pub(super) struct Said {
    pub(super) line: usize,
    pub(super) round: usize,
    pub(super) replies: Vec<u8>,
    /// Whether less came than the script says, as a plain server must not do.
    pub(super) is_cut_short: bool,
}

/// The two sides of a script; a connection is made when it is first used, and again after it was closed.
struct Talk<'a> {
    address: &'a Address,
    version: u8,
    connections: [Option<SandboxClient>; 2],
    said: Vec<Said>,
}

/// How long a reply may take: longer than a bound of the daemon, so that its error is seen rather than none.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sent last on every connection: a reply too many or too few before it shows here at the latest.
const LAST: &[&str] = &["ECHO", "the end"];

/// Begins with an empty keyspace.
pub(super) fn talk(script: &Script, address: &Address, version: u8) -> Vec<Said> {
    let mut talk = Talk { address, version, connections: [None, None], said: Vec::new() };
    let flushed = talk.connection(0).command(&["FLUSHALL"]).unwrap();
    assert!(flushed.is_ok(), "{flushed:?}");
    for step in &script.steps {
        match step {
            Step::Pause(length) => thread::sleep(*length),
            Step::Write(write) => talk.write(write),
        }
    }
    talk.end()
}

// === impl Talk ===

impl Talk<'_> {
    fn connection(&mut self, number: usize) -> &mut SandboxClient {
        self.connections[number].get_or_insert_with(|| {
            let mut client = SandboxClient::connect(self.address).unwrap();
            client.set_timeout(PATIENCE).unwrap();
            if self.version == 3 {
                client.hello(3).unwrap();
            }
            client
        })
    }

    fn write(&mut self, write: &Write) {
        for round in 1..=write.rounds {
            let connection = self.connection(write.connection);
            connection.send_raw(&write.bytes).unwrap();
            let mut replies = Vec::new();
            let read = read_replies(connection, write, &mut replies);
            if let Err(error) = &read {
                replies.extend(format!("({error})").bytes());
            }
            if write.closes || read.is_err() {
                self.connections[write.connection] = None;
            }
            let replies = without_what_differs(replies);
            self.said.push(Said { line: write.line, round, replies, is_cut_short: read.is_err() });
        }
    }

    fn end(mut self) -> Vec<Said> {
        for mut connection in self.connections.into_iter().flatten() {
            connection.send(LAST).unwrap();
            let replies = connection.receive_raw().unwrap_or_default();
            self.said.push(Said { line: 0, round: 0, replies, is_cut_short: false });
        }
        self.said
    }
}

fn read_replies(connection: &mut SandboxClient, write: &Write, replies: &mut Vec<u8>) -> io::Result<()> {
    if write.closes {
        replies.extend(connection.receive_rest()?);
        return Ok(());
    }
    for _ in 0..write.replies {
        replies.extend(connection.receive_raw()?);
    }
    Ok(())
}
