//! A port at which nothing answers, not even a refusal: a black hole on loopback.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// The queue of its listener is full, so the kernel drops what begins a connection.
pub(crate) struct Silent {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

// === impl Silent ===

impl Silent {
    /// One at this IPv4 address of loopback, on a port that the kernel gives.
    pub(crate) fn at(host: &str) -> Silent {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::new(host.parse().unwrap(), 0).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        // The kernel counts a little beyond what it was told.
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let queued: Vec<_> = std::iter::from_fn(connect).take(10).collect();
        assert!(queued.len() < 10, "the queue is never full");
        Silent { address, _listener: listener, _queued: queued }
    }

    /// Where nothing answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
