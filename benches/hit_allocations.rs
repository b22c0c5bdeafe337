//! Shows that a hit allocates nothing: a whole daemon in this process, a real server behind it, and an allocator that
//! counts. `cargo bench --bench hit_allocations`
//!
//! The count is of the whole process, so the few allocations of a heartbeat each second are in it; the client here
//! makes none. More than one in a thousand hits fails the bench.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nearside::config::{Config, KEYS, Sources};
use nearside::daemon::Daemon;
use nearside::dev::{Address, Client, Standalone};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "an allocator can be written in no other way; this one only counts")]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HITS: usize = 200_000;
const VALUE: &[u8] = b"$100\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n";
const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n";

fn main() -> ExitCode {
    let server = Standalone::launch(&[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let unix = directory.path().join("nearside.sock");
    let settings = [
        ("upstream", format!("redis://{}", server.server().address())),
        ("listen", "127.0.0.1:0".to_owned()),
        ("unix", unix.display().to_string()),
    ];
    let flags =
        settings.into_iter().map(|(name, value)| (KEYS.iter().find(|key| key.name == name).unwrap(), value));
    let sources = Sources { flags: flags.collect(), ..Sources::default() };
    let config = Config::load(&sources).unwrap();
    let daemon = Daemon::start(&config).unwrap();
    let tcp = daemon.addresses()[0];
    let drain = daemon.drain();
    let serving = thread::spawn(move || daemon.run(sources));

    let mut client = Client::connect(&Address::Tcp(tcp)).unwrap();
    client.command(&["SET", "key:1", std::str::from_utf8(&VALUE[6..106]).unwrap()]).unwrap();
    let mut good = true;
    for depth in [1, 16, 64] {
        good &= report(&format!("TCP, depth {depth}"), depth, &mut TcpStream::connect(tcp).unwrap());
        good &=
            report(&format!("Unix socket, depth {depth}"), depth, &mut UnixStream::connect(&unix).unwrap());
    }
    drain.begin();
    serving.join().unwrap().unwrap();
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Makes hits over `stream` and prints what they cost; whether that is nothing.
fn report(name: &str, depth: usize, stream: &mut (impl Read + Write)) -> bool {
    let requests = GET.repeat(depth);
    let replies = VALUE.repeat(depth);
    let mut got = vec![0; replies.len()];
    let mut exchange = |rounds: usize| {
        for _ in 0..rounds {
            stream.write_all(&requests).unwrap();
            stream.read_exact(&mut got).unwrap();
            assert!(got == replies, "a wrong reply");
        }
    };
    // The first reads bring the key in and let every buffer grow to its size.
    exchange(1_000);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    exchange(HITS / depth);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!("{name:<24} {allocations:>6} allocations of the whole process in {HITS} hits");
    allocations < HITS as u64 / 1_000
}
