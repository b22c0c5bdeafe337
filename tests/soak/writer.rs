//! Writes numbered values, on the nodes themselves and through the daemons, and notes in the log what became
//! of each.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nearside::clock;
use nearside::sandbox::{Reply, SandboxClient};

use crate::entrance::ENTRANCES;
use crate::world::{Key, World};

/// Between two writes of one writer.
const PAUSE_MAX_MICROS: u64 = 6_000;

/// Lives of keys that expire.
const LIFE_MILLIS: std::ops::Range<u64> = 20..600;

/// How often a write follows the cluster's directions.
const DIRECTIONS_MAX: usize = 5;

/// One writer and its conversations.
struct Writer<'a> {
    world: &'a World,
    /// Where each key was last found, by its number.
    owners: HashMap<usize, usize>,
    nodes: HashMap<usize, SandboxClient>,
    /// One at each entrance.
    clients: Vec<SandboxClient>,
}

/// What became of a write.
enum Outcome {
    Done(Reply),
    /// It was certainly not executed.
    Refused,
    Doubtful,
}

/// What a write does.
#[derive(Clone, Copy)]
enum Change {
    Set,
    SetForAWhile(u64),
    Expire(u64),
    Delete,
}

/// Writes the keys of this writer until it is over.
pub(crate) fn run(world: &World, number: usize, writers: usize, mut random: Rng) {
    let clients =
        (0..ENTRANCES.len()).map(|entrance| world.client(entrance, 2 + (number % 2) as u8)).collect();
    let mut writer = Writer { world, owners: HashMap::new(), nodes: HashMap::new(), clients };
    let own: Vec<usize> = (number..world.keys.len()).step_by(writers).collect();
    for key in &own {
        writer.write(*key, Change::Set, None);
    }
    while !world.is_over() {
        // One of the entrances where the key is known, or past all daemons.
        let key = own[random.usize(..own.len())];
        let is_known = |entrance: &usize| ENTRANCES[*entrance].name_of(&world.keys[key].name).is_some();
        let known: Vec<usize> = (0..ENTRANCES.len()).filter(is_known).collect();
        let through = known.get(random.usize(..=known.len())).copied();
        let change = match random.u8(..20) {
            0..=12 => Change::Set,
            13 | 14 => Change::SetForAWhile(random.u64(LIFE_MILLIS)),
            15 => Change::Expire(random.u64(LIFE_MILLIS)),
            _ => Change::Delete,
        };
        writer.write(key, change, through);
        thread::sleep(Duration::from_micros(random.u64(..PAUSE_MAX_MICROS)));
    }
}

// === impl Writer ===

impl Writer<'_> {
    fn write(&mut self, number: usize, change: Change, through: Option<usize>) {
        let world = self.world;
        let key = &world.keys[number];
        let _alone = key.writing.lock().unwrap();
        let mut log = key.log.lock().unwrap();
        if log.is_in_doubt() && !log.is_spared() {
            return;
        }
        let change = match change {
            Change::Expire(_) if log.may_expire() => Change::Delete,
            change => change,
        };
        let sent_at = clock::now();
        let state = match change {
            Change::Expire(_) => None,
            Change::Delete => Some(log.begin(true, sent_at)),
            Change::Set | Change::SetForAWhile(_) => Some(log.begin(false, sent_at)),
        };
        let life = match change {
            Change::SetForAWhile(millis) | Change::Expire(millis) => Some(Duration::from_millis(millis)),
            _ => None,
        };
        let expiry = life.map(|life| log.begin_expiry(sent_at + clock::nanos(life)));
        drop(log);

        let entrance = through.map(|entrance| ENTRANCES[entrance]);
        let name = entrance.map_or(Some(&*key.name), |entrance| entrance.name_of(&key.name)).unwrap();
        let mut request = request(key, name, change, state);
        if entrance.is_some_and(|entrance| entrance.has_scripts) && matches!(change, Change::Set) {
            request = in_script(name, request);
        }
        let outcome = self.send(number, &request, through);
        let acked_at = clock::now();
        let mut log = key.log.lock().unwrap();
        match outcome {
            Outcome::Done(reply) => {
                world.writes.fetch_add(1, Ordering::Relaxed);
                if let Some(state) = state {
                    log.acknowledge(state, acked_at, through);
                }
                match (expiry, life) {
                    // There was nothing to expire.
                    (Some(expiry), _) if reply == Reply::Integer(0) => log.refuse(expiry),
                    (Some(expiry), Some(life)) => {
                        log.expires_by(expiry, acked_at + clock::nanos(life));
                        if state.is_none() {
                            log.expiry_set(expiry, acked_at, through);
                        }
                    }
                    _ => {}
                }
            }
            Outcome::Refused => {
                world.refused_writes.fetch_add(1, Ordering::Relaxed);
                state.into_iter().chain(expiry).for_each(|number| log.refuse(number));
            }
            Outcome::Doubtful => {
                world.doubted_writes.fetch_add(1, Ordering::Relaxed);
                log.doubt();
            }
        }
    }

    fn send(&mut self, number: usize, request: &[String], through: Option<usize>) -> Outcome {
        let Some(entrance) = through else { return self.send_to_owner(number, request) };
        match self.clients[entrance].command(request) {
            Ok(reply) => outcome(reply),
            Err(_) => {
                self.clients[entrance] = self.world.client(entrance, 2);
                Outcome::Doubtful
            }
        }
    }

    /// Writes past the daemons, and goes where the nodes say.
    fn send_to_owner(&mut self, number: usize, request: &[String]) -> Outcome {
        let mut node = self.owners.get(&number).copied().unwrap_or_default();
        let mut is_asking = false;
        for _ in 0..DIRECTIONS_MAX {
            if !self.nodes.contains_key(&node) {
                let Some(client) = self.world.connect(node) else {
                    // Somebody else will know who took its place.
                    self.owners.insert(number, (node + 1) % self.world.relays.len());
                    return Outcome::Refused;
                };
                self.nodes.insert(node, client);
            }
            let Some(client) = self.nodes.get_mut(&node) else { return Outcome::Refused };
            let asked = !is_asking || client.command(&["ASKING"]).is_ok();
            let Ok(reply) = client.command(request) else {
                self.nodes.remove(&node);
                return Outcome::Doubtful;
            };
            let text = if reply.is_error() && asked { reply.text() } else { String::new() };
            let Some(other) = direction(&text).and_then(|port| self.world.node_at(port)) else {
                return outcome(reply);
            };
            is_asking = text.starts_with("ASK");
            if !is_asking {
                self.owners.insert(number, other);
            }
            node = other;
        }
        Outcome::Refused
    }
}

/// What `request` does, by a script that gets the name of the key as an argument.
fn in_script(name: &str, request: Vec<String>) -> Vec<String> {
    let eval = ["EVAL", "return redis.call(unpack(ARGV))", "1", name].map(str::to_owned);
    eval.into_iter().chain(request).collect()
}

fn request(key: &Key, name: &str, change: Change, state: Option<usize>) -> Vec<String> {
    let value = || key.value(state.unwrap_or_default());
    match change {
        Change::Set => vec!["SET".into(), name.into(), value()],
        Change::SetForAWhile(millis) => {
            vec!["SET".into(), name.into(), value(), "PX".into(), millis.to_string()]
        }
        Change::Expire(millis) => vec!["PEXPIRE".into(), name.into(), millis.to_string()],
        Change::Delete => vec!["DEL".into(), name.into()],
    }
}

/// The port in `MOVED 1 host:port` or `ASK 1 host:port`.
fn direction(error: &str) -> Option<u16> {
    let words: Vec<&str> = error.split(' ').collect();
    let ["MOVED" | "ASK", _, address] = words.as_slice() else { return None };
    address.rsplit_once(':')?.1.parse().ok()
}

/// Whether this error says that nothing was written.
fn refuses(error: &str) -> bool {
    const CODES: [&str; 7] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN"];
    let code = error.split(' ').next().unwrap_or_default();
    CODES.contains(&code) || error.contains("was not executed")
}

fn outcome(reply: Reply) -> Outcome {
    match reply.is_error() {
        false => Outcome::Done(reply),
        true if refuses(&reply.text()) => Outcome::Refused,
        true => Outcome::Doubtful,
    }
}
