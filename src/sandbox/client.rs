//! A small blocking client, for control conversations, tests and benches: one socket, timeouts, nothing
//! clever.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use socket2::Socket;

use super::reply::Reply;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// A connection to a server.
#[derive(Debug)]
pub struct SandboxClient {
    stream: BufReader<Socket>,
}

/// Records the bytes that are read through it.
struct Recorder<'a> {
    from: &'a mut BufReader<Socket>,
    seen: Vec<u8>,
}

/// How long a client waits by default for a connection, for room to write and for each part of a reply.
const PATIENCE: Duration = Duration::from_secs(5);

// === impl SandboxClient ===

impl SandboxClient {
    /// Connects; speaks RESP2 until [`hello`](Self::hello).
    pub fn connect(address: &Address) -> io::Result<SandboxClient> {
        let stream: Socket = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.into()
            }
            Address::Unix(path) => UnixStream::connect(path)?.into(),
        };
        stream.set_write_timeout(Some(PATIENCE))?;
        let client = SandboxClient { stream: BufReader::with_capacity(64 * 1024, stream) };
        client.set_timeout(PATIENCE)?;
        Ok(client)
    }

    /// How long to wait for each part of a reply before it is an error.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(timeout))
    }

    /// Agrees on version 2 or 3 of the protocol; the reply of HELLO.
    pub fn hello(&mut self, version: u8) -> io::Result<Reply> {
        self.command(&["HELLO", &version.to_string()])
    }

    /// Sends one command and waits for its reply. An error reply is a [`Reply::Error`], not an `Err`.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Reply> {
        self.send(arguments)?;
        self.receive()
    }

    /// Sends one command, for a pipeline: each is owed one [`receive`](Self::receive).
    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<()> {
        self.send_raw(&encode(arguments))
    }

    /// Sends bytes as they are, well formed or not.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// A second client on this socket, to write on one thread and read on another.
    pub fn second(&self) -> io::Result<SandboxClient> {
        let stream = self.stream.get_ref().try_clone()?;
        Ok(SandboxClient { stream: BufReader::with_capacity(1024, stream) })
    }

    /// The next reply or push.
    pub fn receive(&mut self) -> io::Result<Reply> {
        Reply::read(&mut self.stream)
    }

    /// The next reply or push, byte for byte as it came.
    pub fn receive_raw(&mut self) -> io::Result<Vec<u8>> {
        let mut recorder = Recorder { from: &mut self.stream, seen: Vec::new() };
        Reply::read(&mut recorder)?;
        Ok(recorder.seen)
    }

    /// All that comes until the other side closes. A reset counts as its end.
    pub fn receive_rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(rest),
        }
    }

    /// All that comes until the other side closes.
    ///
    /// # Errors
    /// The connection was reset, or nothing came in time.
    pub fn receive_rest_unreset(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).map(|_| rest)
    }

    /// Whether the other side has closed: true at the end of the stream, false when bytes came instead.
    pub fn is_closed(&mut self) -> io::Result<bool> {
        match self.stream.fill_buf() {
            Ok(bytes) => Ok(bytes.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// A command as the bytes of a request.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

// === impl Address ===

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for Address {
    type Err = Infallible;

    /// `host:port` as numbers is TCP; anything else is a path.
    fn from_str(text: &str) -> Result<Address, Infallible> {
        Ok(text.parse().map_or_else(|_| Address::Unix(text.into()), Address::Tcp))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Address {
        Address::Unix(path.to_owned())
    }
}

// === impl Recorder ===

impl Read for Recorder<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.seen.extend_from_slice(&into[..count]);
        Ok(count)
    }
}

impl BufRead for Recorder<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.seen.extend_from_slice(&self.from.buffer()[..count]);
        self.from.consume(count);
    }
}
