//! CLIENT TRACKING as clients see it: the bytes of Redis, whatever happens upstream.

mod bounds;
mod compared;
mod losses;
mod stress;
mod upstream;

use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient};
use tokio::time::Instant;

/// How long an invalidation may take.
const SOON: Duration = Duration::from_secs(10);

/// A client that caches: what comes to it, replies and pushes.
struct Cacher {
    client: SandboxClient,
    pushes: Vec<Reply>,
}

// === impl Cacher ===

impl Cacher {
    /// Speaks RESP3, and turned tracking on with these options.
    fn new(mut client: SandboxClient, options: &[&str]) -> Cacher {
        client.hello(3).unwrap();
        let mut cacher = Cacher { client, pushes: Vec::new() };
        let reply = cacher.ask(&[&["CLIENT", "TRACKING", "ON"], options].concat());
        assert!(reply.is_ok(), "{reply:?}");
        cacher
    }

    /// The reply to a command; pushes before it are kept.
    fn ask<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Reply {
        self.client.send(command).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> Reply {
        loop {
            match self.client.receive().unwrap() {
                push @ Reply::Push(_) => self.pushes.push(push),
                reply => return reply,
            }
        }
    }

    /// The pushes that have come by now.
    fn pushed(&mut self) -> Vec<Reply> {
        self.ask(&["PING"]);
        std::mem::take(&mut self.pushes)
    }

    /// Waits for the next pushes.
    fn next_pushes(&mut self) -> Vec<Reply> {
        let deadline = Instant::now() + SOON;
        loop {
            let pushes = self.pushed();
            if !pushes.is_empty() {
                return pushes;
            }
            assert!(Instant::now() < deadline, "no push came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Reads a key until the reply is one to keep: no invalidation stands right behind it.
    fn read_to_keep(&mut self, key: &str) {
        let deadline = Instant::now() + SOON;
        loop {
            let reply = self.ask(&["GET", key]);
            if !reply.is_error() && self.pushed().is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "what is read is never to be kept: {reply:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The push that these keys are stale.
fn stale(keys: &[&str]) -> Reply {
    let keys = keys.iter().map(Reply::bulk).collect();
    Reply::Push(vec![Reply::bulk("invalidate"), Reply::Array(keys)])
}

/// The push that everything is.
fn all_stale() -> Reply {
    Reply::Push(vec![Reply::bulk("invalidate"), Reply::Nil(b'_')])
}
