//! What nearside takes that is no time: memory, wakeups, the size of the program, and how soon it serves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient};
use tokio::time::Instant;

use crate::ground::Ground;
use crate::keys::{Keys, Naming, Shape};
use crate::page::{Report, Row};
use crate::process::{resident_bytes, switches};
use crate::servers::{Kind, Server};
use crate::verdict::{Bound, Spread};

const MIB: f64 = (1 << 20) as f64;

/// After a start, until caches and buffers of the start have settled.
const SETTLING: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(2);
const WINDOWS: usize = 5;

/// `l1_size` by default.
const L1_BYTES: f64 = 100.0 * MIB;
const FULL_VALUE_BYTES: [usize; 3] = [100, 1_000, 10_000];
/// About what an entry is counted as beside its value: half as many keys again as there is room for are read.
const ENTRY_BYTES: usize = 80;
/// L1 is full when this much of it is taken.
const FULL_SHARE: f64 = 0.95;
const READS_MAX: usize = 3;

const IDLE_CONNECTIONS: usize = 10_000;
const STARTS: usize = 21;
const STARTS_QUICK: usize = 5;

pub(crate) fn measure(ground: &Ground, wanted: &impl Fn(&str) -> bool, report: &mut Report) {
    let mut row = |what: &str, measure: &dyn Fn(&str) -> Row| {
        if wanted(what) {
            report.row(measure(what));
        }
    };
    row("resident memory, idle", &|what| idle_memory(ground, what));
    for bytes in FULL_VALUE_BYTES {
        let what = format!("resident memory with 100 MiB of L1 full, values of {bytes} bytes");
        row(&what, &|what| full_memory(ground, what, bytes));
    }
    row("resident memory of an idle connection, of 10,000", &|what| idle_connections(ground, what));
    row("wakeups of an idle daemon", &|what| wakeups(ground, what));
    row("the program, stripped", &|what| program(ground, what));
    row("from exec to the first answer of the server behind", &|what| ready(ground, what));
}

/// The server behind, nearside in front of it, and a redis-server to compare with, all idle.
fn trio(ground: &Ground) -> (Server, Server, Server) {
    let split = ground.split(1);
    let origin = Server::start(ground, Kind::Redis, &split.load, None, &[]);
    let redis = Server::start(ground, Kind::Redis, &split.server, None, &[]);
    let nearside = Server::start(ground, Kind::Nearside, &split.server, Some(&origin), &[]);
    thread::sleep(SETTLING);
    (origin, redis, nearside)
}

fn idle_memory(ground: &Ground, what: &str) -> Row {
    let starts = (0..ground.pace.rounds).map(|_| {
        let (_origin, redis, nearside) = trio(ground);
        (resident_bytes(nearside.pid()) / MIB, resident_bytes(redis.pid()) / MIB)
    });
    let (ours, theirs): (Vec<f64>, Vec<f64>) = starts.unzip();
    Row::figure(what, "MiB", Bound::AtMost(12.0), Spread::of(ours)).beside(Spread::of(theirs))
}

fn full_memory(ground: &Ground, what: &str, value_bytes: usize) -> Row {
    let split = ground.split(1);
    let count = (1.5 * L1_BYTES / (value_bytes + ENTRY_BYTES) as f64) as usize;
    let keys = Keys { naming: Naming::RedisBenchmark, count, shape: Shape::String(value_bytes) };
    let origin = Server::start(ground, Kind::Redis, &split.load, None, &[]);
    keys.store(&mut origin.connect());
    let nearside = Server::start(ground, Kind::Nearside, &split.server, Some(&origin), &[]);
    let taken = || nearside.counter("l1_bytes") / L1_BYTES;
    // Once is enough, unless the connection behind is lost and all that was read on it with it.
    for _ in 0..READS_MAX {
        keys.read(&mut nearside.connect(), count);
        if taken() >= FULL_SHARE {
            break;
        }
    }
    let resident = Spread::of([resident_bytes(nearside.pid()) / L1_BYTES]);
    let row = Row::figure(what, "of the budget", Bound::AtMost(1.25), resident);
    if taken() < FULL_SHARE {
        row.invalid(format!("only {:.0} % of L1 was taken", taken() * 100.0))
    } else {
        row
    }
}

fn idle_connections(ground: &Ground, what: &str) -> Row {
    let (_origin, redis, nearside) = trio(ground);
    let each = |server: &Server| {
        let before = resident_bytes(server.pid());
        let crowd: Vec<TcpStream> = (0..IDLE_CONNECTIONS).map(|_| spoken_with(server)).collect();
        thread::sleep(SETTLING);
        let grown = resident_bytes(server.pid()) - before;
        drop(crowd);
        Spread::of([grown / IDLE_CONNECTIONS as f64 / 1024.0])
    };
    Row::figure(what, "KiB", Bound::AtMost(4.0), each(&nearside)).beside(each(&redis))
}

/// A connection that has asked something once.
fn spoken_with(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
    stream
}

fn wakeups(ground: &Ground, what: &str) -> Row {
    let (_origin, redis, nearside) = trio(ground);
    let a_second = |server: &Server| {
        Spread::of((0..WINDOWS).map(|_| {
            let before = switches(server.pid());
            thread::sleep(WINDOW);
            (switches(server.pid()) - before) / WINDOW.as_secs_f64()
        }))
    };
    Row::figure(what, "a second", Bound::AtMost(10.0), a_second(&nearside)).beside(a_second(&redis))
}

fn program(ground: &Ground, what: &str) -> Row {
    let stripped = ground.sandbox.path().join("stripped");
    let size = |path: &std::path::Path| {
        let status = Command::new("strip").arg("-o").arg(&stripped).arg(path).status().unwrap();
        assert!(status.success(), "strip: {status}");
        Spread::of([std::fs::metadata(&stripped).unwrap().len() as f64 / 1e6])
    };
    let ours = size(std::path::Path::new(env!("CARGO_BIN_EXE_nearside")));
    Row::figure(what, "MB", Bound::AtMost(12.0), ours).beside(size(ground.peers.path("redis-server")))
}

fn ready(ground: &Ground, what: &str) -> Row {
    let split = ground.split(1);
    let origin = Server::start(ground, Kind::Redis, &split.load, None, &[]);
    let starts = if ground.pace.divisor == 1 { STARTS } else { STARTS_QUICK };
    let millis = |kind: Kind| {
        Spread::of((0..starts).map(|_| {
            let began = Instant::now();
            let server = Server::launch(ground, kind, &split.server, Some(&origin), &[]);
            while !is_answered(&server) {
                thread::sleep(Duration::from_micros(200));
            }
            began.elapsed().as_secs_f64() * 1e3
        }))
    };
    Row::figure(what, "ms", Bound::AtMost(20.0), millis(Kind::Nearside)).beside(millis(Kind::Redis))
}

fn is_answered(server: &Server) -> bool {
    let client = SandboxClient::connect(&Address::Tcp(server.address()));
    client.and_then(|mut client| client.command(&["GET", "nobody"])).is_ok_and(|reply| !reply.is_error())
}
