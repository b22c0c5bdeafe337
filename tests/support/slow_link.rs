//! A link to one server on which bytes are slow: all of them, or those of one connection from a mark on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nearside::sandbox::Node;
use socket2::SockRef;
use tokio::time::Instant;

/// Bytes are handed on in pieces of this size where the link has a rate.
const PIECE_BYTES: usize = 4 * 1024;

/// What the kernel keeps for the link in each direction.
const BUFFER_BYTES: usize = 64 * 1024;

/// How much of the rate of a moment ago can still be had: nobody sleeps for exactly as long as was meant.
const LEEWAY: Duration = Duration::from_millis(5);

/// Stands where clients are told that the server is. Its threads end with the connections that they carry.
pub(crate) struct SlowLink {
    address: SocketAddr,
    controls: Arc<Controls>,
}

#[derive(Default)]
struct Controls {
    trickle: Mutex<Option<Trickle>>,
    /// Bytes a second in each direction, of all connections together; 0 for no bound.
    rate: AtomicU64,
    /// When there is room for more: to the server, and from it.
    free_at: [Mutex<Option<Instant>>; 2],
    /// Connections that have come to the mark.
    slowed: AtomicUsize,
}

/// What is behind `mark` comes one byte at a time.
#[derive(Clone)]
struct Trickle {
    mark: Vec<u8>,
    gap: Duration,
}

// === impl SlowLink ===

impl SlowLink {
    /// A link to `node`, which announces it as its own address from now on.
    pub(crate) fn before(node: &Node) -> SlowLink {
        let link = SlowLink::to(node.server().address());
        let port = link.address.port().to_string();
        node.server().command(&["CONFIG", "SET", "cluster-announce-port", &port]).unwrap();
        link
    }

    /// A link to `target`.
    pub(crate) fn to(target: SocketAddr) -> SlowLink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // What it holds back, whoever sends it has to hold.
        SockRef::from(&listener).set_recv_buffer_size(BUFFER_BYTES).unwrap();
        let controls = Arc::new(Controls::default());
        thread::spawn({
            let controls = Arc::clone(&controls);
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    let Ok(server) = TcpStream::connect(target) else { continue };
                    SockRef::from(&server).set_recv_buffer_size(BUFFER_BYTES).unwrap();
                    carry(&client, &server, &controls, 0);
                    carry(&server, &client, &controls, 1);
                }
            }
        });
        SlowLink { address, controls }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// On a connection on which `mark` comes, in either direction, what is behind it comes one byte each
    /// `gap`.
    pub(crate) fn trickle_behind(&self, mark: &str, gap: Duration) {
        *self.controls.trickle.lock().unwrap() = Some(Trickle { mark: mark.into(), gap });
    }

    /// No further connection becomes slow.
    pub(crate) fn be_quick(&self) {
        *self.controls.trickle.lock().unwrap() = None;
        self.controls.rate.store(0, Ordering::Relaxed);
    }

    /// All connections together carry so many bytes a second in each direction.
    pub(crate) fn limit(&self, bytes_per_second: u64) {
        self.controls.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// How many times a mark was come to.
    pub(crate) fn slowed(&self) -> usize {
        self.controls.slowed.load(Ordering::Relaxed)
    }
}

// === impl Controls ===

impl Controls {
    /// Waits until there is room for so many bytes in this direction. Connections take turns.
    fn wait_for_room(&self, bytes: usize, direction: usize) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let now = Instant::now();
        let mut free_at = self.free_at[direction].lock().unwrap();
        let begins = free_at.map_or(now, |free_at| free_at.max(now - LEEWAY));
        let ends = begins + Duration::from_secs_f64(bytes as f64 / rate as f64);
        *free_at = Some(ends);
        drop(free_at);
        thread::sleep(ends.saturating_duration_since(now));
    }
}

/// Hands on what comes from `from` in this direction, on a thread of its own.
fn carry(from: &TcpStream, to: &TcpStream, controls: &Arc<Controls>, direction: usize) {
    to.set_nodelay(true).unwrap();
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let controls = Arc::clone(controls);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        // A mark may come in two pieces.
        let mut seen = Vec::new();
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let trickle = controls.trickle.lock().unwrap().clone();
            let before = seen.len();
            seen.extend_from_slice(&buffer[..count]);
            let end = trickle.as_ref().and_then(|trickle| {
                let at = memchr::memmem::find(&seen, &trickle.mark)?;
                Some(at + trickle.mark.len() - before)
            });
            let quick = end.unwrap_or(count);
            if hand_on(&mut to, &buffer[..quick], &controls, direction).is_err() {
                break;
            }
            if let (Some(_), Some(trickle)) = (end, trickle) {
                controls.slowed.fetch_add(1, Ordering::Relaxed);
                drip(&mut from, &mut to, &buffer[quick..count], trickle.gap);
                break;
            }
            seen.drain(..seen.len().saturating_sub(64));
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

fn hand_on(to: &mut TcpStream, bytes: &[u8], controls: &Controls, direction: usize) -> std::io::Result<()> {
    for piece in bytes.chunks(PIECE_BYTES) {
        controls.wait_for_room(piece.len(), direction);
        to.write_all(piece)?;
    }
    Ok(())
}

/// One byte each `gap`, until one of the two has had enough.
fn drip(from: &mut TcpStream, to: &mut TcpStream, rest: &[u8], gap: Duration) {
    for byte in rest {
        if to.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(gap);
    }
    let mut byte = [0];
    while let Ok(1) = from.read(&mut byte) {
        if to.write_all(&byte).is_err() {
            return;
        }
        thread::sleep(gap);
    }
}
