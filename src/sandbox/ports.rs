//! Free ports on loopback, asked from the kernel.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Between a cluster node's port and the port of its cluster bus.
const BUS_OFFSET: u16 = 10_000;

/// How many ports are tried. About four in five of the kernel's range have room for a bus port above them.
const TRIES_MAX: usize = 200;

/// A port that was free, as was its cluster bus port. Another process may take it before the server does:
/// then the caller tries again.
pub(super) fn free_port() -> io::Result<u16> {
    for _ in 0..TRIES_MAX {
        let held = TcpListener::bind(loopback(0))?;
        let port = held.local_addr()?.port();
        let bus = port.checked_add(BUS_OFFSET);
        if bus.is_some_and(|bus| TcpListener::bind(loopback(bus)).is_ok()) {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port with a free cluster bus port"))
}

/// This port on loopback.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
