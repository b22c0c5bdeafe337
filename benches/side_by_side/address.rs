//! Where the measured servers listen, and connecting to them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::socket::Socket;

/// How long a blocking read waits. A socket that is registered with an event loop does not block.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The two ways in that every measured server offers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Unix,
}

/// Where a server listens.
#[derive(Clone)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

// === impl Address ===

impl Address {
    /// A blocking connection. Nagle's algorithm is off, as in every Redis client.
    pub(crate) fn connect(&self) -> io::Result<Socket> {
        match self {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(READ_TIMEOUT))?;
                Ok(Socket::Tcp(stream))
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(READ_TIMEOUT))?;
                Ok(Socket::Unix(stream))
            }
        }
    }
}

// === impl Transport ===

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Transport::Tcp => "tcp",
            Transport::Unix => "unix",
        })
    }
}
