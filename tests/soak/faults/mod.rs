//! Rounds of faults: something happens to the cluster, something to the network, all is made whole, and it is
//! calm.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nearside::sandbox::DevError;

use crate::audit;
use crate::deck::Deck;
use crate::world::{BOUNDS, World};

mod cluster;
mod network;

use cluster::Happening;
use network::Trouble;

/// Makes the faults of a run, round by round.
pub(crate) struct Faults<'a> {
    world: &'a World,
    random: Rng,
    happenings: Deck<Happening>,
    troubles: Deck<Trouble>,
    pub(crate) counts: Counts,
}

/// How often each kind happened.
#[derive(Default)]
pub(crate) struct Counts(BTreeMap<String, u64>);

/// Each waits for 20 s.
const SETTLE_ATTEMPTS: usize = 6;

/// After a round everything stays whole so much longer than a stale reply may.
const CALM: Duration = Duration::from_secs(1);

// === impl Faults ===

impl<'a> Faults<'a> {
    pub(crate) fn new(world: &'a World, random: Rng) -> Faults<'a> {
        let (happenings, troubles) = (Deck::of(cluster::ALL), Deck::of(network::ALL));
        Faults { world, random, happenings, troubles, counts: Counts::default() }
    }

    /// One happening beside one or two troubles; then it is calm, and what was in doubt is asked for.
    ///
    /// # Errors
    /// The cluster is not whole again, and so nothing can be said of what comes after.
    pub(crate) fn round(&mut self) -> Result<(), DevError> {
        let (world, random) = (self.world, &mut self.random);
        let happening = self.happenings.draw(random);
        let troubles: Vec<Trouble> = (0..random.usize(1..=2)).map(|_| self.troubles.draw(random)).collect();
        world.tell(&format!("{happening:?} with {troubles:?}"));
        world.weather.breaks();
        let (mut own, is_over) = (random.fork(), AtomicBool::new(false));
        let mut did = thread::scope(|scope| {
            let is_over = &is_over;
            let making = scope.spawn(move || {
                let mut did = Vec::new();
                for trouble in troubles {
                    did.push((format!("{trouble:?}"), network::make(world, trouble, &mut own)));
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                }
                did
            });
            cluster::happen(world, happening, random);
            is_over.store(true, Ordering::SeqCst);
            making.join().unwrap()
        });
        did.push((format!("{happening:?}"), 1));
        did.into_iter().for_each(|(kind, count)| *self.counts.0.entry(kind).or_default() += count);
        settle(world)?;
        world.weather.clears();
        thread::sleep(BOUNDS.stale);
        let settled = audit::settle(world);
        world.tell(&format!("calm, {settled} keys asked for"));
        thread::sleep(CALM);
        Ok(())
    }
}

/// Waits until the cluster is whole again, which after some faults takes a busy machine long.
fn settle(world: &World) -> Result<(), DevError> {
    let mut settled = world.cluster.wait_until_stable();
    for _ in 1..SETTLE_ATTEMPTS {
        let Err(error) = &settled else { break };
        world.tell(&format!("not whole yet: {error}"));
        close_slots(world);
        settled = world.cluster.wait_until_stable();
    }
    if settled.is_err() {
        for node in world.cluster.nodes() {
            let seen = node.server().command(&["CLUSTER", "NODES"]).map(|seen| seen.text());
            world.tell(&format!("{} sees {seen:?}", node.server().address()));
        }
    }
    settled
}

/// Ends what a node still believes of a slot's way to it or away, as `redis-cli --cluster fix` does. A node
/// that was killed comes back with what it believed of that before, and takes no other owner for a slot on
/// its way to it.
fn close_slots(world: &World) {
    for node in world.cluster.nodes() {
        let Ok(seen) = node.server().command(&["CLUSTER", "NODES"]) else { continue };
        let text = seen.text();
        let open = text.split_whitespace().filter_map(|word| {
            let way = word.strip_prefix('[')?;
            way.split_once("-<-").or_else(|| way.split_once("->-")).map(|(slot, _)| slot)
        });
        for slot in open {
            let closed = node.server().command(&["CLUSTER", "SETSLOT", slot, "STABLE"]);
            world.tell(&format!("{} forgets that {slot} moves: {closed:?}", node.server().address()));
        }
    }
}

// === impl Counts ===

impl Counts {
    pub(crate) fn shown(&self) -> String {
        let all: Vec<String> = self.0.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        all.join(", ")
    }

    /// The kinds that never happened.
    pub(crate) fn missing(&self) -> Vec<String> {
        let happenings = cluster::ALL.iter().map(|kind| format!("{kind:?}"));
        let troubles = network::ALL.iter().map(|kind| format!("{kind:?}"));
        happenings.chain(troubles).filter(|kind| self.0.get(kind).is_none_or(|count| *count == 0)).collect()
    }
}
