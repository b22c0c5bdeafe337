//! What happens between daemons and nodes: cut, late, killed and forgotten connections.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::support::relay::Relay;
use crate::world::World;

/// A kind of trouble. None of them undoes a write, so none spares a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// Nodes end connections of the daemons.
    ClientKill,
    /// Nothing passes between the daemons and a node, and nobody is told.
    SilentCut,
    /// Everything that passes is late.
    Delay,
    /// Connections break on the way.
    Reset,
    /// Nodes remember next to nothing of what was read.
    TinyTrackingTable,
}

pub(crate) const ALL: &[Trouble] =
    &[Trouble::ClientKill, Trouble::SilentCut, Trouble::Delay, Trouble::Reset, Trouble::TinyTrackingTable];

/// The default of the servers.
const TRACKING_KEYS_DEFAULT: &str = "1000000";

const RESETS: u64 = 3;
const KILL_ROUNDS: usize = 4;

/// Makes it and ends it; how often it happened.
pub(crate) fn make(world: &World, trouble: Trouble, random: &mut Rng) -> u64 {
    wait(random, 1..500);
    match trouble {
        Trouble::ClientKill => return kill_clients(world, random),
        Trouble::SilentCut => {
            let relay = &world.relays[random.usize(..world.relays.len())];
            let primaries = world.cluster.primaries().unwrap_or_default();
            let relay = random.choice(primaries).map_or(relay, |node| world.relay_of(node));
            relay.pause();
            wait(random, 300..6_000);
            if random.bool() {
                // What was under way never arrives.
                relay.cut();
            }
            relay.resume();
        }
        Trouble::Delay => {
            for relay in &world.relays {
                relay.delay(Duration::from_millis(random.u64(1..120)));
            }
            wait(random, 500..3_000);
            world.relays.iter().for_each(|relay| relay.delay(Duration::ZERO));
        }
        Trouble::Reset => {
            for _ in 0..RESETS {
                world.relays.iter().for_each(Relay::cut);
                wait(random, 100..700);
            }
            return RESETS;
        }
        Trouble::TinyTrackingTable => {
            remember(world, &random.u64(1..20).to_string());
            wait(random, 1_000..3_000);
            remember(world, TRACKING_KEYS_DEFAULT);
        }
    }
    1
}

fn wait(random: &mut Rng, millis: Range<u64>) {
    thread::sleep(Duration::from_millis(random.u64(millis)));
}

/// Has every node that can be asked kill some of the connections of daemons, several times; how many.
fn kill_clients(world: &World, random: &mut Rng) -> u64 {
    let mut killed = 0;
    for _ in 0..KILL_ROUNDS {
        let running = world.cluster.nodes().iter().filter(|node| node.server().is_running());
        for mut client in running.filter_map(|node| node.server().connect().ok()) {
            // A node that is stopped or killed meanwhile kills nobody.
            let Ok(list) = client.command(&["CLIENT", "LIST"]) else { continue };
            let list = list.text();
            let of_daemons = list.lines().filter(|line| line.contains(" name=nearside "));
            for id in of_daemons.filter_map(|line| line.strip_prefix("id=")?.split(' ').next()) {
                let is_chosen = random.bool();
                let killing = is_chosen.then(|| client.command(&["CLIENT", "KILL", "ID", id]));
                killed += u64::from(killing.is_some_and(|reply| reply.is_ok_and(|reply| !reply.is_error())));
            }
        }
        wait(random, 50..600);
    }
    killed
}

/// How many keys each node remembers of those that were read; one that is away forgot it all anyway.
fn remember(world: &World, keys: &str) {
    for node in world.cluster.nodes().iter().filter(|node| node.server().is_running()) {
        let _ = node.server().command(&["CONFIG", "SET", "tracking-table-max-keys", keys]);
    }
}
