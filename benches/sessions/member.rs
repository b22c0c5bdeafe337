//! One of many clients: a socket in the event loop of the bench, and the bytes that it expects.

use std::net::SocketAddr;

use nearside::sandbox::client::encode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// A client.
pub(crate) struct Member {
    stream: TcpStream,
}

/// Connections that are opened at a time: fewer than a listener lets wait.
const CONNECTING_MAX: usize = 256;

/// The event loop of a bench: one thread.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Connects `count` clients. Each has been answered once, so the server has taken all of them in.
pub(crate) async fn connect_all(address: SocketAddr, count: usize) -> Vec<Member> {
    let mut members = Vec::with_capacity(count);
    while members.len() < count {
        let connecting = (0..CONNECTING_MAX.min(count - members.len())).map(|_| Member::connect(address));
        members.extend(futures_util::future::join_all(connecting).await);
    }
    members
}

// === impl Member ===

impl Member {
    pub(crate) async fn connect(address: SocketAddr) -> Member {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut member = Member { stream };
        member.ask(&["PING"], b"+PONG\r\n").await;
        member
    }

    pub(crate) async fn send(&mut self, arguments: &[&str]) {
        self.stream.write_all(&encode(arguments)).await.unwrap();
    }

    /// Reads exactly `expected`; anything else ends the bench.
    pub(crate) async fn expect(&mut self, expected: &[u8]) {
        // Longer than what is expected: a read that does not fill it needs no second one to find out that
        // this is all.
        let mut buffer = [0; 512];
        let mut filled = 0;
        while filled < expected.len() {
            let count = self.stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(count > 0, "the server closed a connection");
            filled += count;
        }
        let got = &buffer[..filled];
        assert!(got == expected, "{:?} and not {:?}", got.escape_ascii(), expected.escape_ascii());
    }

    pub(crate) async fn ask(&mut self, arguments: &[&str], expected: &[u8]) {
        self.send(arguments).await;
        self.expect(expected).await;
    }
}
