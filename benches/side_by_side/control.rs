//! What is said to a server outside the measured time: fill it, read every key once, ask for its counters.

use std::io;

use crate::address::Address;
use crate::socket::Socket;
use crate::workload::{self, Batch, Replies, Script};

/// Requests that are sent together; every count of keys is a multiple of it.
const DEPTH: usize = 100;

/// One blocking conversation.
pub(crate) struct Control {
    socket: Socket,
}

// === impl Control ===

impl Control {
    pub(crate) fn connect(address: &Address) -> io::Result<Control> {
        Ok(Control { socket: address.connect()? })
    }

    pub(crate) fn ping(&self) -> io::Result<()> {
        self.exchange(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n")
    }

    /// Stores so many keys.
    pub(crate) fn fill(&self, keys: usize) -> io::Result<()> {
        (0..keys).step_by(DEPTH).try_for_each(|first| {
            let requests: Vec<u8> = (first..first + DEPTH).flat_map(workload::set_request).collect();
            self.exchange(&requests, &b"+OK\r\n".repeat(DEPTH))
        })
    }

    /// Reads so many keys once, so that a cache holds them all.
    pub(crate) fn read_every_key(&self, keys: usize, replies: Replies) -> io::Result<()> {
        let script = Script::every_key(keys, replies);
        let mut batch = Batch::new(DEPTH);
        (0..script.batches(DEPTH)).try_for_each(|number| {
            script.write(number, &mut batch);
            self.exchange(&batch.requests, &batch.replies)
        })
    }

    /// The value of `field` in a section of INFO.
    pub(crate) fn info(&self, section: &str, field: &str) -> io::Result<String> {
        let request = format!("*2\r\n$4\r\nINFO\r\n${}\r\n{section}\r\n", section.len());
        self.socket.write_all(request.as_bytes())?;
        let text = self.bulk_reply()?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value
            .map(|value| value.trim().to_owned())
            .ok_or_else(|| io::Error::other(format!("INFO {section} has no {field}: {text}")))
    }

    fn exchange(&self, request: &[u8], expected: &[u8]) -> io::Result<()> {
        self.socket.write_all(request)?;
        let mut reply = vec![0; expected.len()];
        let mut filled = 0;
        while filled < reply.len() {
            filled += self.read_some(&mut reply[filled..])?;
            if reply[..filled] != expected[..filled] {
                return Err(wrong_reply(&expected[..filled], &reply[..filled]));
            }
        }
        Ok(())
    }

    fn bulk_reply(&self) -> io::Result<String> {
        let mut reply = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let count = self.read_some(&mut chunk)?;
            reply.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&reply);
            let Some((header, body)) = text.split_once("\r\n") else { continue };
            let length: usize = header
                .strip_prefix('$')
                .and_then(|length| length.parse().ok())
                .ok_or_else(|| io::Error::other(format!("not a bulk reply: {header}")))?;
            if body.len() >= length + 2 {
                return Ok(body[..length].to_owned());
            }
        }
    }

    fn read_some(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.socket.read(buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

/// The error of a server that answered anything but what was stored.
pub(crate) fn wrong_reply(expected: &[u8], found: &[u8]) -> io::Error {
    io::Error::other(format!(
        "wrong reply: expected \"{}\", found \"{}\"",
        expected.escape_ascii(),
        found.escape_ascii()
    ))
}
