//! Many connections to one server, which count what they are told.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use nearside::sandbox::client::encode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::task::spawn_local;

/// What all connections have received.
#[derive(Default)]
pub(crate) struct Heard {
    bytes: Cell<u64>,
    colons: Cell<u64>,
    news: Notify,
}

/// The connections.
pub(crate) struct Crowd {
    writers: Vec<OwnedWriteHalf>,
    pub(crate) heard: Rc<Heard>,
}

/// One connection whose replies are waited for.
pub(crate) struct Talker {
    stream: TcpStream,
    buffer: Vec<u8>,
}

// === impl Heard ===

impl Heard {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Forgets what was counted.
    pub(crate) fn reset(&self) {
        self.bytes.set(0);
        self.colons.set(0);
    }

    /// Waits until so many bytes have come.
    pub(crate) async fn until_bytes(&self, bytes: u64) {
        while self.bytes.get() < bytes {
            self.news.notified().await;
        }
        assert_eq!(self.bytes.get(), bytes, "more came than was asked for");
    }

    /// Waits until so many keys were named: their names have a colon each, and nothing else that comes has
    /// one.
    pub(crate) async fn until_keys(&self, keys: u64) {
        while self.colons.get() < keys {
            self.news.notified().await;
        }
        assert_eq!(self.colons.get(), keys, "more was told than was changed");
    }
}

// === impl Crowd ===

impl Crowd {
    /// Connects `count` times and sends `greeting` on each; returns when each was answered by so many lines.
    pub(crate) async fn connect(address: SocketAddr, count: usize, greeting: &[u8], lines: usize) -> Crowd {
        let heard = Rc::new(Heard::default());
        let mut writers = Vec::with_capacity(count);
        for _ in 0..count {
            let mut talker = Talker::connect(address).await;
            talker.say(greeting, lines).await;
            let (mut reader, writer) = talker.stream.into_split();
            writers.push(writer);
            let heard = heard.clone();
            spawn_local(async move {
                let mut buffer = vec![0; 16 << 10];
                while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                    heard.bytes.set(heard.bytes.get() + count as u64);
                    let colons = memchr::memchr_iter(b':', &buffer[..count]).count();
                    heard.colons.set(heard.colons.get() + colons as u64);
                    heard.news.notify_one();
                }
            });
        }
        Crowd { writers, heard }
    }

    /// Sends the same on all of them.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        for writer in &mut self.writers {
            writer.write_all(bytes).await.unwrap();
        }
    }
}

// === impl Talker ===

impl Talker {
    pub(crate) async fn connect(address: SocketAddr) -> Talker {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Talker { stream, buffer: vec![0; 64 << 10] }
    }

    /// Sends `bytes` and waits for so many lines.
    pub(crate) async fn say(&mut self, bytes: &[u8], mut lines: usize) {
        self.stream.write_all(bytes).await.unwrap();
        while lines > 0 {
            let count = self.stream.read(&mut self.buffer).await.unwrap();
            assert!(count > 0 && self.buffer[0] != b'-', "{:?}", self.buffer[..count].escape_ascii());
            lines = lines.saturating_sub(memchr::memchr_iter(b'\n', &self.buffer[..count]).count());
        }
    }

    /// Writes one key, and waits until that is done.
    pub(crate) async fn set(&mut self, key: &str, value: &str) {
        self.say(&encode(&["SET", key, value]), 1).await;
    }
}
