//! A relay in front of one real cluster node, which loses, delays and cuts on demand.
//!
//! Its node's replicas copy through it as well, because the node announces it; what they copy is never held back.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use nearside::dev::Node;

/// Stands where clients are told that the node is. Its threads end with the connections they carry.
pub(crate) struct Relay {
    address: SocketAddr,
    controls: Arc<Controls>,
}

#[derive(Default)]
struct Controls {
    /// A request with these bytes is carried out, but its reply is lost together with the connection.
    lose_reply_to: Mutex<Option<Vec<u8>>>,
    /// Pieces from the node with these bytes are lost, and the connection goes on; none while it is empty.
    lose_with: Mutex<Vec<u8>>,
    is_paused: Mutex<bool>,
    /// How long every piece is held back in each direction, in milliseconds.
    delay: AtomicU64,
    resumed: Condvar,
    /// Both sides of every connection.
    open: Mutex<Vec<TcpStream>>,
}

// === impl Relay ===

impl Relay {
    /// Starts a relay, and makes `node` announce the relay's port as its own.
    pub(crate) fn before(node: &Node) -> Relay {
        let relay = Relay::to(TcpListener::bind("127.0.0.1:0").unwrap(), node.server().address());
        relay.announce(node);
        relay
    }

    /// Starts a relay from this listener to `target`.
    pub(crate) fn to(listener: TcpListener, target: SocketAddr) -> Relay {
        let address = listener.local_addr().unwrap();
        let controls = Arc::new(Controls::default());
        thread::spawn({
            let controls = Arc::clone(&controls);
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    carry(client, target, &controls);
                }
            }
        });
        Relay { address, controls }
    }

    /// Makes `node` announce the relay's port as its own; it forgets that when it is restarted.
    pub(crate) fn announce(&self, node: &Node) {
        let port = self.address.port().to_string();
        node.server().command(&["CONFIG", "SET", "cluster-announce-port", &port]).unwrap();
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request that contains `needle` is carried out by the node, but its connection ends without the reply.
    pub(crate) fn lose_reply_to(&self, needle: &[u8]) {
        *self.controls.lose_reply_to.lock().unwrap() = Some(needle.to_vec());
    }

    /// Whether a reply is still to be lost.
    pub(crate) fn is_armed(&self) -> bool {
        self.controls.lose_reply_to.lock().unwrap().is_some()
    }

    /// The pushes in which `needle` stands are lost, as those of a node that forgets to tell; an empty one ends that.
    pub(crate) fn lose_pushes_with(&self, needle: &[u8]) {
        *self.controls.lose_with.lock().unwrap() = needle.to_vec();
    }

    /// Ends every connection there is; new ones are carried.
    pub(crate) fn cut(&self) {
        for stream in self.controls.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Carries nothing more in either direction, with all connections open, as a network that loses every packet.
    pub(crate) fn pause(&self) {
        *self.controls.is_paused.lock().unwrap() = true;
    }

    /// Holds every piece back for so long, in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.controls.delay.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Carries on, with what was held back first.
    pub(crate) fn resume(&self) {
        *self.controls.is_paused.lock().unwrap() = false;
        self.controls.resumed.notify_all();
    }
}

// === impl Controls ===

impl Controls {
    fn hold(&self) {
        thread::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst)));
        let paused = self.is_paused.lock().unwrap();
        drop(self.resumed.wait_while(paused, |paused| *paused).unwrap());
    }

    /// What is left of bytes from the node when the pushes that are to be lost are cut out.
    fn without_lost_pushes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        const PUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";
        let needle = self.lose_with.lock().unwrap();
        if needle.is_empty() || memchr::memmem::find(bytes, &needle).is_none() {
            return Cow::Borrowed(bytes);
        }
        let (mut left, mut rest) = (Vec::new(), bytes);
        while let Some(at) = memchr::memmem::find(rest, PUSH) {
            left.extend_from_slice(&rest[..at]);
            // `*1`, the length of the key, and the key: a push of one key, as a write of one makes it. Or a null.
            let last = if rest[at + PUSH.len()..].starts_with(b"_") { 0 } else { 2 };
            let lines = memchr::memchr_iter(b'\n', &rest[at + PUSH.len()..]).nth(last);
            let end = lines.map_or(rest.len(), |line| at + PUSH.len() + line + 1);
            if memchr::memmem::find(&rest[at..end], &needle).is_none() {
                left.extend_from_slice(&rest[at..end]);
            }
            rest = &rest[end..];
        }
        left.extend_from_slice(rest);
        Cow::Owned(left)
    }

    /// Whether these bytes ask for the reply that is to be lost. It is lost once.
    fn takes_bait(&self, bytes: &[u8]) -> bool {
        let mut bait = self.lose_reply_to.lock().unwrap();
        let is_taken =
            bait.as_ref().is_some_and(|bait| bytes.windows(bait.len()).any(|window| window == bait));
        if is_taken {
            *bait = None;
        }
        is_taken
    }
}

fn carry(client: TcpStream, target: SocketAddr, controls: &Arc<Controls>) {
    // A node that is down looks through the relay as it looks without: the connection ends at once.
    let Ok(server) = TcpStream::connect(target) else { return };
    // A relay that gathers small pieces would show delays that no network has.
    for end in [&client, &server] {
        end.set_nodelay(true).unwrap();
    }
    let ends = [client.try_clone().unwrap(), server.try_clone().unwrap()];
    controls.open.lock().unwrap().extend(ends);
    let controls = Arc::clone(controls);
    thread::spawn(move || {
        let is_replica = speaks_as_replica(&client);
        let hold = move |controls: &Controls| {
            if !is_replica {
                controls.hold();
            }
        };
        let loses_reply = Arc::new(AtomicBool::new(false));
        let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn({
            let (controls, loses_reply) = (Arc::clone(&controls), Arc::clone(&loses_reply));
            move || {
                pump(back.0, back.1, |bytes| {
                    hold(&controls);
                    (!loses_reply.load(Ordering::SeqCst)).then(|| controls.without_lost_pushes(bytes))
                });
            }
        });
        pump(client, server, |bytes| {
            hold(&controls);
            if controls.takes_bait(bytes) {
                loses_reply.store(true, Ordering::SeqCst);
            }
            Some(Cow::Borrowed(bytes))
        });
    });
}

/// A replica begins with PING and nothing else; the daemon greets.
fn speaks_as_replica(client: &TcpStream) -> bool {
    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    let mut first = [0; 64];
    client.peek(&mut first).is_ok_and(|count| &first[..count] == PING)
}

/// Carries what `passed` makes of the bytes, until one side ends or it says that nothing may pass; then ends both.
fn pump(mut from: TcpStream, mut to: TcpStream, passed: impl for<'a> Fn(&'a [u8]) -> Option<Cow<'a, [u8]>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let Some(bytes) = passed(&buffer[..count]) else { break };
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
