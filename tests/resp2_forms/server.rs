//! A server of its own for a test, on loopback, and plain connections to it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nearside::resp::{cursor::Cursor, request::OwnedRequest};
use tempfile::TempDir;

/// A server that ends with this value.
pub(crate) struct Server {
    process: Child,
    port: u16,
    _directory: TempDir,
}

/// One connection, over which one request at a time is answered.
pub(crate) struct Connection {
    socket: TcpStream,
}

// === impl Server ===

impl Server {
    pub(crate) fn start() -> Server {
        let binary = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(&binary)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .args(["--enable-debug-command", "yes"])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{binary} does not start ({error}): install redis-server, or name one in REDIS_SERVER")
            });
        let server = Server { process, port, _directory: directory };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            thread::sleep(Duration::from_millis(25));
        }
        panic!("{binary} does not accept connections on port {port}");
    }

    pub(crate) fn connect(&self) -> Connection {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Connection { socket }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone after this.
        let _ = self.process.kill();
        let _ = self.process.wait();
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
