//! What happens to the cluster: nodes that die or hang, failovers, slots that move, all keys flushed.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nearside::clock;
use nearside::protocol::key::Slot;
use nearside::sandbox::{Node, SandboxClient};
use tokio::time::Instant;

use crate::entrance::ENTRANCES;
use crate::world::{Key, World};

/// A kind of happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// `kill -9` of a primary. Its replica takes over, or it is back, empty, before that: acknowledged writes
    /// are lost.
    KillPrimary,
    /// A primary hangs for so long that its replica takes over: acknowledged writes are lost.
    HangPrimary,
    /// A primary hangs, but not for so long: nothing is lost.
    PausePrimary,
    KillReplica,
    PauseReplica,
    /// CLUSTER FAILOVER: the replica takes over what it has in full. Nothing is lost.
    Failover,
    /// Slots move, with pauses while half of their keys are there. Nothing is lost.
    MoveSlots,
    FlushAll,
}

pub(crate) const ALL: &[Happening] = &[
    Happening::KillPrimary,
    Happening::HangPrimary,
    Happening::PausePrimary,
    Happening::KillReplica,
    Happening::PauseReplica,
    Happening::Failover,
    Happening::MoveSlots,
    Happening::FlushAll,
];

/// How long a replica may take to find its primary gone and be elected; beyond it the primary comes back.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(15);

/// Far below `cluster-node-timeout`, so that nobody takes over.
const PAUSE_MILLIS: Range<u64> = 200..1_000;

const FLUSHES: u64 = 3;
const SLOTS_MOVED: usize = 4;

/// Lets it happen, and makes the cluster whole again.
pub(crate) fn happen(world: &World, happening: Happening, random: &mut Rng) {
    let primaries = world.cluster.primaries().unwrap();
    let primary = primaries[random.usize(..primaries.len())];
    let replicas = world.cluster.replicas().unwrap();
    let replica = replicas[random.usize(..replicas.len())];
    wait(random, 1..500);
    match happening {
        Happening::KillPrimary => kill_primary(world, primary, random),
        Happening::HangPrimary => hang_primary(world, primary, random),
        Happening::PausePrimary => pause(primary, random),
        Happening::PauseReplica => pause(replica, random),
        Happening::KillReplica => {
            replica.server().kill9().unwrap();
            wait(random, 100..2_000);
            restart(world, replica);
        }
        // Whether the cluster is whole behind it is waited for as behind any other fault.
        Happening::Failover => {
            if let Err(error) = world.cluster.failover(replica) {
                world.tell(&format!("not whole yet: {error}"));
            }
        }
        Happening::MoveSlots => (0..SLOTS_MOVED).for_each(|_| move_slot(world, random)),
        Happening::FlushAll => (0..FLUSHES).for_each(|_| {
            flush_all(world, random);
            wait(random, 300..1_000);
        }),
    }
}

fn wait(random: &mut Rng, millis: Range<u64>) {
    thread::sleep(Duration::from_millis(random.u64(millis)));
}

fn kill_primary(world: &World, primary: &Node, random: &mut Rng) {
    spare_keys_of(world, primary);
    primary.server().kill9().unwrap();
    if random.bool() {
        until_replaced(world, primary);
        wait(random, 1..1_000);
    }
    restart(world, primary);
}

fn hang_primary(world: &World, primary: &Node, random: &mut Rng) {
    spare_keys_of(world, primary);
    primary.server().stop_signal().unwrap();
    until_replaced(world, primary);
    wait(random, 1..1_000);
    primary.server().continue_signal().unwrap();
}

fn pause(node: &Node, random: &mut Rng) {
    node.server().stop_signal().unwrap();
    wait(random, PAUSE_MILLIS);
    node.server().continue_signal().unwrap();
}

fn restart(world: &World, node: &Node) {
    node.server().restart().unwrap();
    world.relay_of(node).announce(node);
}

/// What `primary` acknowledges from now on, and has just acknowledged, may be undone: exactly its keys are
/// spared.
fn spare_keys_of(world: &World, primary: &Node) {
    let names: Vec<&String> = world.keys.iter().map(|key| &key.name).collect();
    let by_owner = world.cluster.by_owner(&names).unwrap();
    let own = by_owner.into_iter().find(|(node, _)| node.id() == primary.id());
    let own: Vec<&String> = own.into_iter().flat_map(|(_, own)| own).copied().collect();
    world.tell(&format!("{} keys of {} are spared", own.len(), primary.server().address()));
    for key in world.keys.iter().filter(|key| own.contains(&&key.name)) {
        key.log.lock().unwrap().spare();
    }
}

fn until_replaced(world: &World, primary: &Node) {
    let deadline = Instant::now() + TAKEOVER_LIMIT;
    let is_replaced = || {
        let primaries = world.cluster.primaries().unwrap_or_default();
        !primaries.is_empty() && primaries.iter().all(|node| node.id() != primary.id())
    };
    while !is_replaced() {
        if Instant::now() > deadline {
            world.tell("nobody took over");
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn move_slot(world: &World, random: &mut Rng) {
    let key = &world.keys[random.usize(..world.keys.len())];
    let slot = Slot::of(key.name.as_bytes());
    let from = world.cluster.owner_of(slot).unwrap();
    let primaries = world.cluster.primaries().unwrap();
    let others: Vec<&Node> = primaries.into_iter().filter(|node| node.id() != from.id()).collect();
    let migration = world.cluster.begin_migration(slot, others[random.usize(..others.len())]).unwrap();
    while migration.move_keys(1).unwrap() > 0 {
        wait(random, 1..150);
    }
    migration.finish().unwrap();
    wait(random, 1..300);
}

/// All keys at once, on the nodes themselves or through a daemon. Nobody writes meanwhile, so that the order
/// is known.
fn flush_all(world: &World, random: &mut Rng) {
    let through = random.usize(..=ENTRANCES.len());
    let through = (through < ENTRANCES.len()).then_some(through);
    // In a namespace it is about the keys of this namespace.
    let keys = through.map_or_else(|| (0..world.keys.len()).collect(), |entrance| world.keys_at(entrance));
    let keys: Vec<&Key> = keys.into_iter().map(|number| &world.keys[number]).collect();
    let _alone: Vec<_> = keys.iter().map(|key| key.writing.lock().unwrap()).collect();
    let begin = |key: &Key| {
        let mut log = key.log.lock().unwrap();
        if log.is_in_doubt() {
            // Whether a write in doubt comes before or after the flush cannot be told.
            log.spare();
        }
        log.begin(true, clock::now())
    };
    let states: Vec<usize> = keys.iter().copied().map(begin).collect();
    let is_done = match through {
        Some(entrance) => flush(&mut world.client(entrance, 3)),
        None => {
            world.cluster.primaries().unwrap().iter().all(|node| flush(&mut node.server().connect().unwrap()))
        }
    };
    for (key, state) in keys.iter().zip(states) {
        let mut log = key.log.lock().unwrap();
        if is_done { log.acknowledge(state, clock::now(), through) } else { log.doubt() }
    }
}

fn flush(client: &mut SandboxClient) -> bool {
    client.command(&["FLUSHALL"]).is_ok_and(|reply| reply.is_ok())
}
