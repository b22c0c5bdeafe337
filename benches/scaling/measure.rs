//! What one server spends on connections that track: CPU, bytes and memory, for writes of keys that all of
//! them have read.

use std::time::Duration;

use nearside::clock;
use nearside::sandbox::client::encode;
use nearside::sandbox::{SandboxClient, Standalone};
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::cpu;
use crate::crowd::{Crowd, Talker};

/// How the connections track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Mode {
    /// Not at all: what the same writes and connections cost without it.
    Untracked,
    /// What each has read.
    Default,
    /// All keys of a prefix.
    Broadcast,
}

/// What was measured of one crowd.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) mode: Mode,
    pub(crate) clients: usize,
    /// CPU time of the server for one write, with all that it pushes, in microseconds.
    pub(crate) write_us: f64,
    /// CPU time of the server for one fill, of a value and its lifetime, in microseconds.
    pub(crate) fill_us: f64,
    /// Bytes that are sent for one key to one client.
    pub(crate) push_bytes: f64,
    /// Memory of the server for each connection.
    pub(crate) connection_bytes: f64,
    /// Memory of the server for each key that one client has read.
    pub(crate) item_bytes: f64,
    /// From the acknowledgement of a write until the last client has heard of it: the median, in
    /// microseconds.
    pub(crate) last_heard_us: f64,
}

/// Keys that all clients have read.
const KEYS: usize = 100;

/// Pushes that are measured for each point, about.
const PUSHES: usize = 300_000;
const ROUNDS_MIN: usize = 3;
const ROUNDS_MAX: usize = 100;

/// Fills that are measured for each point, about.
const FILLS: usize = 20_000;
const FILL_ROUNDS_MIN: usize = 10;

const MAXCLIENTS: &str = "20000";

// === impl Mode ===

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Untracked => "untracked",
            Mode::Default => "default",
            Mode::Broadcast => "broadcast",
        }
    }

    fn greeting(self) -> (Vec<u8>, usize) {
        // HELLO 3 of redis 7 is a map of seven pairs whose last value is an empty array.
        let hello = encode(&["HELLO", "3"]);
        let tracking: &[&str] = match self {
            Mode::Untracked => return (encode(&["PING"]), 1),
            Mode::Default => &["CLIENT", "TRACKING", "ON", "OPTOUT"],
            Mode::Broadcast => &["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "key:"],
        };
        ([hello, encode(tracking)].concat(), HELLO_LINES + 1)
    }
}

/// Lines of the reply to HELLO 3: the head, and of seven pairs six names and values of two lines but two
/// numbers of one.
const HELLO_LINES: usize = 1 + 7 * 2 + 4 * 2 + 2 + 1;

/// Measures one crowd at a server of its own.
pub(crate) fn measure(mode: Mode, clients: usize) -> Point {
    let server = Standalone::launch(&["--maxclients".to_owned(), MAXCLIENTS.to_owned()]).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, crowd(&server, mode, clients))
}

async fn crowd(server: &Standalone, mode: Mode, clients: usize) -> Point {
    let (address, pid) = (server.server().address(), server.server().pid());
    let mut control = server.server().connect().unwrap();
    let mut writer = Talker::connect(address).await;
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key:{number:04}")).collect();
    let value = "v".repeat(100);
    for key in &keys {
        writer.set(key, &value).await;
    }
    let alone = memory(&mut control);
    let (greeting, lines) = mode.greeting();
    let mut crowd = Crowd::connect(address, clients, &greeting, lines).await;
    let connected = memory(&mut control);

    let names: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    let (read, reply) = (encode(&names), 6 + KEYS * (6 + 100 + 2));
    let rounds = (PUSHES / clients / KEYS).clamp(ROUNDS_MIN, ROUNDS_MAX);
    let (mut writing, mut bytes) = (Vec::new(), 0);
    let mut item_bytes = 0.0;
    for round in 0..rounds {
        crowd.heard.reset();
        crowd.send(&read).await;
        crowd.heard.until_bytes((reply * clients) as u64).await;
        if round == 0 {
            let items = (clients * KEYS) as f64;
            item_bytes = (memory(&mut control) - connected).max(0.0) / items;
        }
        crowd.heard.reset();
        let before = cpu::used_by(pid).unwrap();
        for key in &keys {
            writer.set(key, &value).await;
        }
        if mode != Mode::Untracked {
            crowd.heard.until_keys((clients * KEYS) as u64).await;
        }
        writing.push(per(cpu::used_by(pid).unwrap() - before, KEYS));
        bytes += crowd.heard.bytes();
    }
    let fill_us = filling(&mut crowd, pid, clients, &keys).await;
    let last_heard_us = if mode == Mode::Untracked {
        0.0
    } else {
        last_heard(&mut crowd, &mut writer, clients, &keys, (&read, reply)).await
    };
    Point {
        mode,
        clients,
        write_us: median(&mut writing),
        fill_us,
        push_bytes: bytes as f64 / (rounds * clients * KEYS) as f64,
        connection_bytes: (connected - alone) / clients as f64,
        item_bytes: if mode == Mode::Default { item_bytes } else { 0.0 },
        last_heard_us,
    }
}

/// What a fill costs, each by itself, as nearside makes it: the value, and its lifetime right behind it.
async fn filling(crowd: &mut Crowd, pid: u32, clients: usize, keys: &[String]) -> f64 {
    let mut times = Vec::new();
    for key in keys.iter().take((FILLS / clients).clamp(FILL_ROUNDS_MIN, KEYS)) {
        let fill = [encode(&["GET", key]), encode(&["PTTL", key])].concat();
        crowd.heard.reset();
        let before = cpu::used_by(pid).unwrap();
        crowd.send(&fill).await;
        // The value with its head, and `:-1`.
        crowd.heard.until_bytes((clients * (6 + 100 + 2 + 5)) as u64).await;
        times.push(per(cpu::used_by(pid).unwrap() - before, clients));
    }
    median(&mut times)
}

/// How long it takes until all have heard of one write, the median of many.
async fn last_heard(
    crowd: &mut Crowd,
    writer: &mut Talker,
    clients: usize,
    keys: &[String],
    (read, reply): (&[u8], usize),
) -> f64 {
    crowd.heard.reset();
    crowd.send(read).await;
    crowd.heard.until_bytes((reply * clients) as u64).await;
    let mut times = Vec::new();
    for key in keys {
        crowd.heard.reset();
        writer.set(key, "newer").await;
        let acknowledged = clock::now();
        crowd.heard.until_keys(clients as u64).await;
        times.push((clock::now() - acknowledged) as f64 / 1_000.0);
    }
    median(&mut times)
}

fn per(time: Duration, count: usize) -> f64 {
    time.as_nanos() as f64 / 1_000.0 / count as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn memory(control: &mut SandboxClient) -> f64 {
    let info = control.command(&["INFO", "memory"]).unwrap().text();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    used.trim().parse().unwrap()
}
