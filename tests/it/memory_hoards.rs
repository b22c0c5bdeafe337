//! What the daemon remembers for its clients stays under `memory_max`, whatever they have it remember, and
//! everybody else is served meanwhile. Each of these would hold more than twice of it if it were let.

use std::fs;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

const MIB: usize = 1 << 20;

/// The ceiling, and how far beyond it the process may be seen: what is mapped from files is not its own, and
/// between two looks something may come that nobody counts.
const MEMORY_MAX: usize = 48 * MIB;
const SLACK: usize = 40 * MIB;

/// Names of so many bytes, so that not very many are needed.
const NAME_BYTES: usize = 16 * 1024;

const SOON: Duration = Duration::from_secs(30);

/// A name that no other number has, and that is no beginning of another one.
fn name(number: usize) -> String {
    format!("{number:08}{}", "n".repeat(NAME_BYTES - 8))
}

/// Sends these requests in one piece and takes the replies; whether the client is still there.
fn ask(client: &mut SandboxClient, requests: &[Vec<u8>]) -> bool {
    let sent = client.send_raw(&requests.concat()).is_ok();
    sent && requests.iter().all(|_| client.receive().is_ok())
}

/// What one or many clients do; the second argument is called again and again meanwhile.
type Hoard = fn(&Daemon, &mut dyn FnMut()) -> Vec<SandboxClient>;

const HOARDS: [(&str, Hoard); 7] = [
    ("scripts", |daemon, served| {
        let mut client = daemon.client();
        for batch in 0..80 {
            let script = |number: usize| format!("return '{}{number}'", "s".repeat(15_000));
            let requests: Vec<Vec<u8>> = (0..100)
                .map(|number| match number % 2 {
                    0 => encode(&["SCRIPT", "LOAD", &script(batch * 100 + number)]),
                    _ => encode(&["EVAL", &script(batch * 100 + number), "0"]),
                })
                .collect();
            assert!(ask(&mut client, &requests), "one client at a time has little");
            served();
        }
        vec![client]
    }),
    ("channels", |daemon, served| {
        let mut clients = Vec::new();
        for number in 0..30 {
            let mut client = daemon.client();
            for batch in 0..6 {
                let names = (0..50).map(|name_number| name(number * 10_000 + batch * 100 + name_number));
                let words: Vec<String> = ["SUBSCRIBE".to_owned()].into_iter().chain(names).collect();
                let sent = client.send(&words).is_ok();
                // Those that do not fit are refused with one error.
                let begun = sent && client.receive().is_ok_and(|reply| !reply.is_error());
                if !begun || !(1..50).all(|_| client.receive().is_ok()) {
                    break;
                }
            }
            served();
            clients.push(client);
        }
        clients
    }),
    ("prefixes", |daemon, served| {
        let mut clients = Vec::new();
        for number in 0..60 {
            let mut client = daemon.client();
            if client.hello(3).is_err() {
                continue;
            }
            for batch in 0..2 {
                let names = (0..100).map(|name_number| name(number * 10_000 + batch * 100 + name_number));
                let prefixes = names.flat_map(|name| ["PREFIX".to_owned(), name]);
                let words = ["CLIENT", "TRACKING", "ON", "BCAST"].map(str::to_owned);
                if client.command(&words.into_iter().chain(prefixes).collect::<Vec<String>>()).is_err() {
                    break;
                }
            }
            served();
            clients.push(client);
        }
        clients
    }),
    ("keys that are tracked", |daemon, served| {
        let mut client = daemon.client();
        client.hello(3).unwrap();
        client.command(&["CLIENT", "TRACKING", "ON"]).unwrap();
        for batch in 0..80 {
            let requests: Vec<Vec<u8>> =
                (0..100).map(|number| encode(&["GET", &name(batch * 100 + number)])).collect();
            if !ask(&mut client, &requests) {
                break;
            }
            served();
        }
        vec![client]
    }),
    ("keys that are watched", |daemon, served| {
        let mut client = daemon.client();
        for batch in 0..80 {
            let names = (0..100).map(|number| format!("{{w}}{}", name(batch * 100 + number)));
            let words: Vec<String> = ["WATCH".to_owned()].into_iter().chain(names).collect();
            if client.command(&words).is_err() {
                break;
            }
            served();
        }
        vec![client]
    }),
    ("small commands that are queued", |daemon, served| {
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = daemon.client();
            if client.command(&["MULTI"]).is_err() {
                continue;
            }
            for _ in 0..20 {
                if !ask(&mut client, &vec![encode(&["PING"]); 1_000]) {
                    break;
                }
                served();
            }
            clients.push(client);
        }
        clients
    }),
    ("names of clients", |daemon, served| {
        let mut clients = Vec::new();
        for _ in 0..130 {
            let Ok(mut client) = SandboxClient::connect(daemon.address()) else { continue };
            let long = "n".repeat(MIB);
            for words in [
                &["CLIENT", "SETNAME", &long][..],
                &["CLIENT", "SETINFO", "LIB-NAME", &long],
                &["CLIENT", "SETINFO", "LIB-VER", &long],
                &["HELLO", "3", "SETNAME", &long],
            ] {
                if let Ok(reply) = client.command(words) {
                    assert_eq!(
                        reply.text(),
                        "ERR nearside: what a client says of itself has 1024 bytes at most"
                    );
                }
            }
            served();
            clients.push(client);
        }
        clients
    }),
];

/// What the process has in memory, or had at most, in bytes.
fn memory(daemon: &Daemon, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn whatever_clients_have_remembered_fits_and_others_are_served() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    for (what, hoard) in HOARDS {
        let daemon = Daemon::start(&["--upstream", &url, "--memory-max", &MEMORY_MAX.to_string()]);
        daemon.until_tracked(1);
        let mut other = daemon.client();
        other.set_timeout(SOON).unwrap();
        other.command(&["SET", "small", "value"]).unwrap();
        let served = |other: &mut SandboxClient| {
            assert_eq!(other.command(&["GET", "small"]).unwrap().text(), "value", "beside {what}");
        };
        let before = memory(&daemon, "VmRSS");
        let clients = hoard(&daemon, &mut || served(&mut other));
        served(&mut other);
        let peak = memory(&daemon, "VmHWM");
        println!(
            "{what}: {} MB at most; {} clients dropped, {} requests refused, L1 emptied {} times, tracking {}",
            peak / 1_000_000,
            daemon.counter_by(&mut other, "memory_clients_dropped"),
            daemon.counter_by(&mut other, "memory_requests_refused"),
            daemon.counter_by(&mut other, "memory_l1_emptied"),
            daemon.counter_by(&mut other, "memory_tracking_emptied"),
        );
        assert!(peak < MEMORY_MAX + SLACK, "{what}: {peak} bytes at most, of {MEMORY_MAX}");
        drop(clients);
        eventually("what was remembered is given back", SOON, || {
            memory(&daemon, "VmRSS") < before + 24 * MIB
        });
    }
}
