//! A server of its own for a test, on loopback, and plain connections to it.

use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use nearside::protocol::resp::{cursor::Cursor, request::OwnedRequest};
use nearside::sandbox::{Server as Launched, directory::Sandbox};

/// A server that ends with this value.
pub(crate) struct Server(Launched);

/// One connection, over which one request at a time is answered.
pub(crate) struct Connection {
    socket: TcpStream,
}

// === impl Server ===

impl Server {
    /// Starts the program that REDIS_SERVER names, or that the demonstration would take.
    pub(crate) fn start() -> Server {
        let program = env::var_os("REDIS_SERVER").map(PathBuf::from);
        let sandbox = Arc::new(Sandbox::new().unwrap());
        let arguments = ["--enable-debug-command", "yes"].map(str::to_owned);
        Server(Launched::launch_program(&sandbox, program.as_deref(), &arguments).unwrap())
    }

    pub(crate) fn connect(&self) -> Connection {
        let socket = TcpStream::connect(self.0.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Connection { socket }
    }
}

// === impl Connection ===

impl Connection {
    /// The whole reply to `request`, and nothing after it.
    pub(crate) fn call(&mut self, request: &OwnedRequest) -> Vec<u8> {
        self.socket.write_all(&request.bytes()).unwrap();
        let mut reply = Vec::new();
        let mut chunk = [0; 65_536];
        loop {
            let count = self.socket.read(&mut chunk).unwrap_or_else(|error| {
                panic!("{:?}: {error} after {}", request.as_request(), reply.escape_ascii())
            });
            assert!(count > 0, "the server hung up on {:?}", request.as_request());
            reply.extend_from_slice(&chunk[..count]);
            let mut cursor = Cursor::new(&reply);
            if cursor.element().is_some() {
                assert!(cursor.rest().is_empty(), "more than one reply: {}", reply.escape_ascii());
                return reply;
            }
        }
    }
}
