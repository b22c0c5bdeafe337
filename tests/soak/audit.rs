//! Asks the owners themselves what the keys are, once nothing is under way, and whether every daemon says the
//! same.

use std::thread;
use std::time::Duration;

use nearside::clock;
use nearside::protocol::key::Slot;
use nearside::sandbox::SandboxClient;
use tokio::time::Instant;

use crate::entrance::ENTRANCES;
use crate::oracle::Seen;
use crate::world::{BOUNDS, Key, World};

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
    world.cluster.wait_until_stable().unwrap();
    thread::sleep(BOUNDS.stale);
    audit(world, &world.keys.iter().collect::<Vec<_>>());
}

fn audit(world: &World, keys: &[&Key]) {
    let mut clients: Vec<SandboxClient> =
        (0..ENTRANCES.len()).map(|entrance| world.client(entrance, 3)).collect();
    for key in keys {
        let _alone = key.writing.lock().unwrap();
        // What was written just before may be on its way to a daemon.
        let deadline = Instant::now() + BOUNDS.stale;
        while let Err(what) = look(world, key, &mut clients) {
            if Instant::now() > deadline {
                let shown = key.log.lock().unwrap().shown(clock::now());
                world.violated(&format!("{}, though nothing is under way: {what}; {shown}", key.name));
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Asks the owner, every daemon, and the owner again; if all say the same, the key begins anew from there.
fn look(world: &World, key: &Key, clients: &mut [SandboxClient]) -> Result<(), String> {
    let node = world.cluster.owner_of(Slot::of(key.name.as_bytes())).unwrap();
    let mut owner = node.server().connect().unwrap();
    let ask = |client: &mut SandboxClient, name: &str| key.read(&client.command(&["GET", name]).unwrap());
    let truth = ask(&mut owner, &key.name)?;
    for (entrance, client) in ENTRANCES.iter().zip(clients) {
        let Some(name) = entrance.name_of(&key.name) else { continue };
        let served = ask(client, name)?;
        if served != truth {
            return Err(format!("daemon {} says {served:?} and the owner {truth:?}", entrance.daemon));
        }
    }
    let again = ask(&mut owner, &key.name)?;
    if again != truth {
        return Err(format!("the owner says {truth:?} and then {again:?}"));
    }
    rebase(world, key, &mut owner, truth);
    Ok(())
}

fn rebase(world: &World, key: &Key, owner: &mut SandboxClient, truth: Seen) {
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
