//! A link to one server on which bytes are slow: all of them, or those of one connection from a mark on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// Bytes are handed on in pieces of this size where the link has a rate.
const PIECE_BYTES: usize = 4 * 1024;

/// What the kernel keeps for the link in each direction.
const BUFFER_BYTES: usize = 64 * 1024;

/// Stands where clients are told that the server is. Its threads end with the connections that they carry.
pub(crate) struct SlowLink {
    address: SocketAddr,
    controls: Arc<Controls>,
}

#[derive(Default)]
struct Controls {
    trickle: Mutex<Option<Trickle>>,
    /// Bytes a second in each direction of each connection; 0 for no bound.
    rate: AtomicU64,
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
                    carry(&client, &server, &controls);
                    carry(&server, &client, &controls);
                }
            }
        });
        SlowLink { address, controls }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// On a connection on which `mark` comes, in either direction, what is behind it comes one byte each `gap`.
    pub(crate) fn trickle_behind(&self, mark: &str, gap: Duration) {
        *self.controls.trickle.lock().unwrap() = Some(Trickle { mark: mark.into(), gap });
    }

    /// No further connection becomes slow.
    pub(crate) fn be_quick(&self) {
        *self.controls.trickle.lock().unwrap() = None;
        self.controls.rate.store(0, Ordering::Relaxed);
    }

    /// Each connection carries so many bytes a second in each direction.
    pub(crate) fn limit(&self, bytes_per_second: u64) {
        self.controls.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// How many times a mark was come to.
    pub(crate) fn slowed(&self) -> usize {
        self.controls.slowed.load(Ordering::Relaxed)
    }
}

/// Hands on what comes from `from`, on a thread of its own.
fn carry(from: &TcpStream, to: &TcpStream, controls: &Arc<Controls>) {
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
            if hand_on(&mut to, &buffer[..quick], &controls).is_err() {
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

fn hand_on(to: &mut TcpStream, bytes: &[u8], controls: &Controls) -> std::io::Result<()> {
    for piece in bytes.chunks(PIECE_BYTES) {
        to.write_all(piece)?;
        let rate = controls.rate.load(Ordering::Relaxed);
        if rate > 0 {
            thread::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64));
        }
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
