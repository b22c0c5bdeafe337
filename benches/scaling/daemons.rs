//! The real thing beside the model: some daemons in front of one server, and what the server has of them.

use std::thread;
use std::time::Duration;

use nearside::config::{Config, KEYS, Sources};
use nearside::daemon::Daemon;
use nearside::memory::Allocator;
use nearside::sandbox::{Address, SandboxClient, Standalone};
use serde::Serialize;

/// What a server has of some daemons.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Look {
    pub(crate) daemons: usize,
    /// Connections of each at the server.
    pub(crate) connections: f64,
    /// Keys that the server tracks, and how many clients of them all.
    pub(crate) tracked_keys: u64,
    pub(crate) tracked_items: u64,
    /// Keys that were written, and of how many of these the daemons heard together.
    pub(crate) written: u64,
    pub(crate) heard: u64,
}

const DAEMONS: usize = 5;
const READ: usize = 200;
const WRITTEN: usize = 100;

pub(crate) fn look() -> Look {
    let server = Standalone::launch(&[]).unwrap();
    let mut direct = server.server().connect().unwrap();
    let before = field(&mut direct, "clients", "connected_clients");
    let url = format!("redis://{}", server.server().address());
    let daemons: Vec<_> = (0..DAEMONS)
        .map(|_| {
            let settings = [("upstream", url.clone()), ("listen", "127.0.0.1:0".to_owned())];
            let flag = |name: &str| KEYS.iter().find(|key| key.name == name).unwrap();
            let flags = settings.into_iter().map(|(name, value)| (flag(name), value)).collect();
            let sources = Sources { flags, ..Sources::default() };
            let daemon = Daemon::start(&Config::load(&sources).unwrap(), Allocator::default()).unwrap();
            let (address, drain) = (daemon.addresses()[0], daemon.drain());
            (Address::Tcp(address), drain, thread::spawn(move || daemon.run(sources)))
        })
        .collect();
    let mut clients: Vec<SandboxClient> =
        daemons.iter().map(|(address, ..)| SandboxClient::connect(address).unwrap()).collect();
    for client in &mut clients {
        while !client.command(&["INFO", "nearside"]).unwrap().text().contains("state=tracked") {
            thread::sleep(Duration::from_millis(20));
        }
        for number in 0..READ {
            client.command(&["GET", &format!("key:{number}")]).unwrap();
        }
    }
    let connected = field(&mut direct, "clients", "connected_clients");
    let tracked_keys = field(&mut direct, "stats", "tracking_total_keys");
    let tracked_items = field(&mut direct, "stats", "tracking_total_items");
    for number in 0..WRITTEN {
        direct.command(&["SET", &format!("key:{number}"), "value"]).unwrap();
    }
    thread::sleep(Duration::from_millis(500));
    let heard = clients.iter_mut().map(|client| field(client, "nearside", "l1_invalidations")).sum();
    for (_, drain, serving) in daemons {
        drain.begin();
        serving.join().unwrap().unwrap();
    }
    Look {
        daemons: DAEMONS,
        connections: (connected - before) as f64 / DAEMONS as f64,
        tracked_keys,
        tracked_items,
        written: WRITTEN as u64,
        heard,
    }
}

fn field(client: &mut SandboxClient, section: &str, name: &str) -> u64 {
    let info = client.command(&["INFO", section]).unwrap().text();
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap().trim().parse().unwrap()
}
