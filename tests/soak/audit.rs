//! Asks the owners themselves what the keys are, once nothing is under way, and whether every daemon says the same.

use std::thread;
use std::time::Duration;

use nearside::clock;
use nearside::dev::Client;
use nearside::key::Slot;

use crate::oracle::Seen;
use crate::world::{BOUNDS, Key, World};

/// A key may expire between two looks; not so often.
const LOOKS_MAX: usize = 10;

/// Settles the keys that are spared or in doubt; how many they were.
pub(crate) fn settle(world: &World) -> usize {
    let is_open = |key: &&Key| {
        let log = key.log.lock().unwrap();
        log.is_spared() || log.is_in_doubt()
    };
    let keys: Vec<&Key> = world.keys.iter().filter(is_open).collect();
    audit(world, &keys);
    keys.len()
}

/// The last look at everything: nobody writes any more, and what was written may no longer be under way.
pub(crate) fn audit_all(world: &World) {
    world.cluster.settle().unwrap();
    thread::sleep(BOUNDS.stale);
    audit(world, &world.keys.iter().collect::<Vec<_>>());
}

fn audit(world: &World, keys: &[&Key]) {
    let mut daemons: Vec<Client> = (0..world.daemons.len()).map(|daemon| world.client(daemon, 3)).collect();
    for key in keys {
        let _alone = key.writing.lock().unwrap();
        if !(0..LOOKS_MAX).any(|_| look(world, key, &mut daemons)) {
            world.violated(&format!(
                "{}: its owner never said the same twice, though nobody writes",
                key.name
            ));
        }
    }
}

/// Asks the owner, every daemon, and the owner again; whether the owner said the same both times.
fn look(world: &World, key: &Key, daemons: &mut [Client]) -> bool {
    let node = world.cluster.owner_of(Slot::of(key.name.as_bytes())).unwrap();
    let mut owner = node.server().connect().unwrap();
    let mut truth = || key.read(&owner.command(&["GET", &key.name]).unwrap());
    let before = truth();
    let served: Vec<_> =
        daemons.iter_mut().map(|daemon| daemon.command(&["GET", &key.name]).unwrap()).collect();
    if before != truth() {
        return false;
    }
    let Ok(truth) = before else {
        world.violated(&format!("{}: the owner has {before:?}", key.name));
        return true;
    };
    let was_open = {
        let log = key.log.lock().unwrap();
        log.is_spared() || log.is_in_doubt()
    };
    for (daemon, reply) in served.iter().enumerate() {
        if key.read(reply) != Ok(truth) {
            let shown = key.log.lock().unwrap().shown(clock::now());
            let text = format!("{:.80?}", key.read(reply));
            world.violated(&format!(
                "{}: nothing is under way, and daemon {daemon} says {text} where the owner says {truth:?}; was open {was_open}; {shown}",
                key.name
            ));
        }
    }
    rebase(world, key, &mut owner, truth);
    true
}

fn rebase(world: &World, key: &Key, owner: &mut Client, truth: Seen) {
    let asked_at = clock::now();
    let left = owner.command(&["PTTL", &key.name]).unwrap().integer().unwrap_or(-1);
    let answered_at = clock::now();
    let mut log = key.log.lock().unwrap();
    let shown = log.shown(asked_at);
    if let Err(what) = log.settle(truth, asked_at) {
        world.violated(&format!("{}: {what}; {shown}", key.name));
    }
    if let Ok(left) = u64::try_from(left) {
        let left = clock::nanos(Duration::from_millis(left));
        let expiry = log.begin_expiry(asked_at.saturating_add(left));
        log.expires_by(expiry, answered_at.saturating_add(left));
    } else if left == -2 && truth != Seen::Absent {
        // It has expired meanwhile.
        let expiry = log.begin_expiry(asked_at);
        log.expires_by(expiry, answered_at);
    }
}
