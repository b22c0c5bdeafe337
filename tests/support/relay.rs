//! A relay in front of one real cluster node, which loses, delays and cuts on demand.
//!
//! Its node's replicas copy through it as well, because the node announces it; what they copy is never held
//! back.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use nearside::sandbox::Node;
use tokio::time::Instant;

/// Pieces that are on their way at a time, in each direction of a connection.
const PIECES_MAX: usize = 256;

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
    /// How long what is carried takes in each direction, in milliseconds.
    delay: AtomicU64,
    /// How long it takes until a connection carries anything, in milliseconds.
    delay_of_connecting: AtomicU64,
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

    /// The next request that contains `needle` is carried out by the node, but its connection ends without
    /// the reply.
    pub(crate) fn lose_reply_to(&self, needle: &[u8]) {
        *self.controls.lose_reply_to.lock().unwrap() = Some(needle.to_vec());
    }

    /// Whether a reply is still to be lost.
    pub(crate) fn is_armed(&self) -> bool {
        self.controls.lose_reply_to.lock().unwrap().is_some()
    }

    /// The pushes in which `needle` stands are lost, as those of a node that forgets to tell; an empty one
    /// ends that.
    pub(crate) fn lose_pushes_with(&self, needle: &[u8]) {
        *self.controls.lose_with.lock().unwrap() = needle.to_vec();
    }

    /// Ends every connection there is; new ones are carried.
    pub(crate) fn cut(&self) {
        for stream in self.controls.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Carries nothing more in either direction, with all connections open, as a network that loses every
    /// packet.
    pub(crate) fn pause(&self) {
        *self.controls.is_paused.lock().unwrap() = true;
    }

    /// What is carried takes so long in each direction, from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.controls.delay.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// The node is so far away from now on: a round trip takes so long, and so does connecting. The kernel
    /// connects at once on loopback, so the first bytes of a connection are later by that instead.
    pub(crate) fn be_far_away(&self, round_trip: Duration) {
        self.delay(round_trip / 2);
        self.controls.delay_of_connecting.store(round_trip.as_millis() as u64, Ordering::SeqCst);
    }

    /// Carries on, with what was held back first.
    pub(crate) fn resume(&self) {
        *self.controls.is_paused.lock().unwrap() = false;
        self.controls.resumed.notify_all();
    }
}

// === impl Controls ===

impl Controls {
    /// How long what comes now is on its way.
    fn delay(&self) -> Duration {
        Duration::from_millis(self.delay.load(Ordering::SeqCst))
    }

    fn delay_of_connecting(&self) -> Duration {
        Duration::from_millis(self.delay_of_connecting.load(Ordering::SeqCst))
    }

    fn hold(&self) {
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
            // `*1`, the length of the key, and the key: a push of one key, as a write of one makes it. Or a
            // null.
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
    let connected_at = Instant::now() + controls.delay_of_connecting();
    thread::spawn(move || {
        // What a replica copies is never held back.
        let held = (!speaks_as_replica(&client)).then(|| Arc::clone(&controls));
        let loses_reply = Arc::new(AtomicBool::new(false));
        let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn({
            let (held, controls, loses_reply) =
                (held.clone(), Arc::clone(&controls), Arc::clone(&loses_reply));
            move || {
                pump(back.0, back.1, held, connected_at, |bytes| {
                    (!loses_reply.load(Ordering::SeqCst)).then(|| controls.without_lost_pushes(bytes))
                });
            }
        });
        pump(client, server, held, connected_at, |bytes| {
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

/// Carries what `passed` makes of the bytes, until one side ends or it says that nothing may pass; then ends
/// both. `held` says how long they are on their way, whatever is on its way already.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    held: Option<Arc<Controls>>,
    connected_at: Instant,
    passed: impl for<'a> Fn(&'a [u8]) -> Option<Cow<'a, [u8]>>,
) {
    let (put, taken) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let source = from.try_clone().unwrap();
    thread::spawn({
        let held = held.clone();
        move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let mut due = Instant::now();
                if let Some(controls) = &held {
                    controls.hold();
                    due = due.max(connected_at) + controls.delay();
                }
                if put.send((due, buffer[..count].to_vec())).is_err() {
                    break;
                }
            }
        }
    });
    for (due, bytes) in taken {
        if let Some(controls) = &held {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            controls.hold();
        }
        let Some(bytes) = passed(&bytes) else { break };
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = source.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
