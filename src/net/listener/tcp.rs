//! TCP sockets: how they are bound, one a worker, and how a client's socket is tuned.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

/// `tcp-keepalive` of Redis: the first probe after this long, then two more, each a third of it later.
const KEEPALIVE: Duration = Duration::from_secs(300);
const KEEPALIVE_PROBES: u32 = 3;

/// Listens on `address` with `count` sockets among which the kernel spreads the clients. They all have one
/// port, also where `address` has port 0. A port that any other process listens on is refused.
pub fn bind(address: SocketAddr, count: usize, backlog: u32) -> io::Result<Vec<Socket>> {
    bind_all(address, count, backlog).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "; another process listens there",
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{advice}"))
    })
}

fn bind_all(address: SocketAddr, count: usize, backlog: u32) -> io::Result<Vec<Socket>> {
    // Sockets that share a port would share it with any other process of the same user that does so too,
    // another daemon left running say, and half of the clients would end up there. A socket that does not
    // share finds out.
    let single = socket(&address.into())?;
    single.bind(&address.into())?;
    let sockets = if count == 1 {
        vec![single]
    } else {
        let address = single.local_addr()?;
        let shared = |_| {
            let socket = socket(&address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address)?;
            Ok(socket)
        };
        // Bound, but not listening, `single` holds the port until they have it.
        (0..count).map(shared).collect::<io::Result<Vec<Socket>>>()?
    };
    for socket in &sockets {
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    }
    Ok(sockets)
}

fn socket(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, Some(Protocol::TCP))?;
    if address.domain() == Domain::IPV6 {
        // [::]:6379 does not include 0.0.0.0:6379: both have to be named.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sends replies at once and notices clients that vanished. A socket that refuses is one whose client is
/// gone, which the session will find out.
pub(super) fn tune(stream: &Socket) {
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(KEEPALIVE_PROBES);
    let tuned = stream.set_tcp_nodelay(true).and_then(|()| stream.set_tcp_keepalive(&keepalive));
    if let Err(error) = tuned {
        tracing::debug!(%error, "cannot tune a client's socket");
    }
}
