//! Shows that a hit allocates nothing: a whole daemon in this process, a real server behind it, and an
//! allocator that counts. `cargo bench --bench hit_allocations`
//!
//! The count is of the whole process, so the few allocations of a heartbeat each second are in it; the client
//! here makes none. What a daemon allocates once in its life happens before the count. More than one in a
//! thousand hits fails the bench.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

#[path = "support/allocations.rs"]
mod allocations;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;

use nearside::config::{Config, KEYS, Sources};
use nearside::daemon::Daemon;
use nearside::sandbox::{Address, SandboxClient, Standalone};

const HITS: usize = 200_000;
const VALUE: &[u8] = b"$100\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n";
const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n";

fn main() -> ExitCode {
    let good = [None, Some("app")].map(measure);
    if good == [true; 2] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures a daemon whose clients are all in `namespace`, if there is one; whether its hits allocate nothing.
fn measure(namespace: Option<&str>) -> bool {
    let server = Standalone::launch(&[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let unix = directory.path().join("nearside.sock");
    let settings = [
        ("upstream", format!("redis://{}", server.server().address())),
        ("listen", "127.0.0.1:0".to_owned()),
        ("unix", unix.display().to_string()),
    ];
    let namespace = namespace.map(|name| ("namespace", name.to_owned()));
    let within = if namespace.is_some() { ", in a namespace" } else { "" };
    let flags = settings.into_iter().chain(namespace);
    let flags = flags.map(|(name, value)| (KEYS.iter().find(|key| key.name == name).unwrap(), value));
    let sources = Sources { flags: flags.collect(), ..Sources::default() };
    let config = Config::load(&sources).unwrap();
    let daemon = Daemon::start(&config, nearside::memory::Allocator::default()).unwrap();
    let tcp = daemon.addresses()[0];
    let drain = daemon.drain();
    let serving = thread::spawn(move || daemon.run(sources));

    let mut client = SandboxClient::connect(&Address::Tcp(tcp)).unwrap();
    client.command(&["SET", "key:1", std::str::from_utf8(&VALUE[6..106]).unwrap()]).unwrap();
    let mut good = true;
    for depth in [1, 16, 64] {
        good &= report(&format!("TCP, depth {depth}{within}"), depth, &mut TcpStream::connect(tcp).unwrap());
        good &= report(
            &format!("Unix socket, depth {depth}{within}"),
            depth,
            &mut UnixStream::connect(&unix).unwrap(),
        );
    }
    drain.begin();
    serving.join().unwrap().unwrap();
    good
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
    let before = allocations::so_far();
    exchange(HITS / depth);
    let made = allocations::so_far() - before;
    println!("{name:<40} {made:>6} allocations of the whole process in {HITS} hits");
    made < HITS as u64 / 1_000
}
