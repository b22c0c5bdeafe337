//! Reads through one entrance, one by one, in pipelines and by MGET, and has every value judged by the log of
//! its key.

use std::collections::HashMap;
use std::slice;

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nearside::clock::{self, Nanos};
use nearside::sandbox::Reply;
use nearside::sandbox::client::encode;

use crate::entrance::ENTRANCES;
use crate::oracle::{Glance, Judged, Seen};
use crate::report::Readings;
use crate::world::{BOUNDS, World};

/// Requests in one pipeline at most, and keys of one MGET.
const DEPTH_MAX: usize = 32;
const MGET_MAX: usize = 12;

const PAUSE_MAX_MICROS: u64 = 1_500;

/// How long a reader waits for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As long as the daemon may take. No reply is a violation.
    Waits,
    /// Not at all, and one key at a time: who waited for a node that is away would see nothing of what is
    /// served meanwhile of others of its keys.
    Leaves,
}

const IMPATIENCE: Duration = Duration::from_millis(15);

/// One reader: a session at one entrance.
struct Reader<'a> {
    world: &'a World,
    entrance: usize,
    /// The keys of the entrance, by number.
    own: Vec<usize>,
    version: u8,
    readings: Readings,
    /// What this session was last served of each key, and how late that was.
    last: HashMap<usize, Last>,
}

#[derive(Clone, Copy)]
struct Last {
    state: usize,
    /// Which of several absences was seen cannot be told, so how late one ends is not measured.
    is_value: bool,
    stale_for: Nanos,
}

/// One request: its keys by number, each with what it must heed.
struct Asked {
    keys: Vec<(usize, Glance)>,
    is_mget: bool,
}

/// Reads until it is over.
pub(crate) fn run(world: &World, entrance: usize, version: u8, manner: Manner, mut random: Rng) -> Readings {
    let mut reader = Reader {
        world,
        entrance,
        own: world.keys_at(entrance),
        version,
        readings: Readings::new(),
        last: HashMap::new(),
    };
    let connect = || {
        let client = world.client(entrance, version);
        if manner == Manner::Leaves {
            client.set_timeout(IMPATIENCE).unwrap();
        }
        client
    };
    let mut client = connect();
    while !world.is_over() {
        let depth = if manner == Manner::Leaves || random.bool() { 1 } else { random.usize(1..=DEPTH_MAX) };
        let pipeline: Vec<Asked> = (0..depth).map(|_| reader.ask(manner, &mut random)).collect();
        let bytes: Vec<u8> = pipeline.iter().flat_map(|asked| asked.bytes(world, entrance)).collect();
        let asked_at = clock::now();
        let mut is_lost = client.send_raw(&bytes).is_err();
        let mut earlier = HashMap::new();
        for asked in &pipeline {
            let Some(reply) = (!is_lost).then(|| client.receive().ok()).flatten() else {
                is_lost = true;
                break;
            };
            reader.check(asked, &reply, asked_at, &mut earlier);
        }
        if is_lost {
            match manner {
                Manner::Waits => {
                    world.violated(&format!(
                        "daemon {} gave no reply, or closed a session",
                        ENTRANCES[entrance].daemon
                    ));
                }
                Manner::Leaves => reader.readings.left += 1,
            }
            client = connect();
        }
        thread::sleep(Duration::from_micros(random.u64(..PAUSE_MAX_MICROS)));
    }
    reader.readings
}

// === impl Reader ===

impl Reader<'_> {
    fn ask(&self, manner: Manner, random: &mut Rng) -> Asked {
        let keys = &self.own;
        let is_mget = manner == Manner::Waits && random.u8(..3) == 0;
        let count = if is_mget { random.usize(1..=MGET_MAX) } else { 1 };
        // Half of all reads are of few keys, so that they meet each other.
        let limit = if random.bool() { keys.len() } else { keys.len() / 10 };
        let ask = |key: usize| (key, self.world.keys[key].log.lock().unwrap().glance(self.entrance));
        Asked { keys: (0..count).map(|_| ask(keys[random.usize(..limit)])).collect(), is_mget }
    }

    fn check(&mut self, asked: &Asked, reply: &Reply, asked_at: Nanos, earlier: &mut HashMap<usize, usize>) {
        let received_at = clock::now();
        if reply.is_error() {
            self.readings.errors += 1;
            return;
        }
        let values = if asked.is_mget { reply.items() } else { slice::from_ref(reply) };
        if values.len() != asked.keys.len() {
            self.world.violated(&format!("{} keys gave {reply:?}", asked.keys.len()));
            return;
        }
        for ((number, glance), value) in asked.keys.iter().zip(values) {
            let outcome =
                self.judge(*number, *glance, earlier.get(number).copied(), value, (asked_at, received_at));
            match outcome {
                Ok(Judged::Spared) => self.readings.spared += 1,
                Ok(Judged::State { number: state, .. }) => {
                    earlier.insert(*number, state);
                    self.readings.reads += 1;
                }
                Err(what) => self.tell(asked, *number, &what, (asked_at, received_at)),
            }
        }
    }

    fn judge(
        &mut self,
        number: usize,
        glance: Glance,
        earlier: Option<usize>,
        value: &Reply,
        times: (Nanos, Nanos),
    ) -> Result<Judged, String> {
        let key = &self.world.keys[number];
        let seen = key.read(value)?;
        let mut log = key.log.lock().unwrap();
        let judged = log.judge(self.entrance, glance, earlier, seen, times, BOUNDS)?;
        if let Judged::State { number: state, replaced_at } = judged {
            let stale_for = replaced_at.map_or(0, |at| times.0 - at);
            let now = Last { state, is_value: seen != Seen::Absent, stale_for };
            let last = self.last.entry(number).or_insert(now);
            if state > last.state {
                let replaced = log.replaced_elsewhere(last.state, self.entrance).filter(|_| last.is_value);
                if let Some(at) = replaced {
                    self.readings.note(last.stale_for, self.world.weather.was_bad(at));
                }
                *last = now;
            } else if state == last.state {
                last.stale_for = last.stale_for.max(stale_for);
            }
        }
        Ok(judged)
    }

    fn tell(&self, asked: &Asked, number: usize, what: &str, (asked_at, received_at): (Nanos, Nanos)) {
        let key = &self.world.keys[number];
        let command = if asked.is_mget { "MGET" } else { "GET" };
        let took = Duration::from_nanos(received_at - asked_at);
        let states = key.log.lock().unwrap().shown(asked_at);
        self.world.violated(&format!(
            "{} by {command} through daemon {}, RESP{}: {what}. The reply took {took:.3?}. States, ms before the read: {states}",
            key.name, ENTRANCES[self.entrance].daemon, self.version
        ));
    }
}

// === impl Asked ===

impl Asked {
    fn bytes(&self, world: &World, entrance: usize) -> Vec<u8> {
        let name = if self.is_mget { "MGET" } else { "GET" };
        let name_of = |key: &usize| ENTRANCES[entrance].name_of(&world.keys[*key].name);
        let keys = self.keys.iter().filter_map(|(key, _)| name_of(key));
        encode(&std::iter::once(name).chain(keys).collect::<Vec<_>>())
    }
}
