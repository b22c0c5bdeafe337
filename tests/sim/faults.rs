//! What goes wrong in the model, and what changes there without the daemon: drawn from the seed.

use crate::cluster::{Cluster, SHARDS, listen};
use crate::history::{Ms, NEVER};
use crate::run::MEMORY_MAX;

/// How likely each thing is in one millisecond, in millionths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) write: u32,
    pub(crate) flush: u32,
    pub(crate) forget: u32,
    pub(crate) cut: u32,
    pub(crate) mute: u32,
    pub(crate) late: u32,
    pub(crate) slow: u32,
    pub(crate) stop: u32,
    pub(crate) fail: u32,
    pub(crate) migrate: u32,
    pub(crate) epoch: u32,
    /// In some of the runs only.
    pub(crate) memory: u32,
    pub(crate) forge: u32,
    pub(crate) halt: u32,
}

/// The second half of something that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// The replica takes over with what it had heard until then.
    Promote { shard: usize, heard_until: Ms },
    /// A node that was down comes back.
    Restart { node: usize },
    /// The next key of a slot moves, or the slot is handed over.
    Move { slot: u16 },
}

/// The faults of one run.
#[derive(Debug)]
pub(crate) struct Faults {
    weather: Weather,
    plans: Vec<(Ms, Plan)>,
    /// Shards that are about to get another primary.
    failing: [bool; SHARDS],
}

// === impl Weather ===

impl Weather {
    /// Every run has a weather of its own: some are calm but for one thing.
    pub(crate) fn draw(rng: &mut fastrand::Rng) -> Weather {
        let mut odds = |usual: u32| match rng.u8(..4) {
            0 => 0,
            1 => usual * 3,
            _ => usual,
        };
        Weather {
            write: odds(40_000) + 5_000,
            flush: odds(300),
            forget: odds(10_000),
            cut: odds(600),
            mute: odds(500),
            late: odds(2_000),
            slow: odds(2_000),
            stop: odds(300),
            fail: odds(300),
            migrate: odds(800),
            epoch: odds(100),
            memory: 0,
            forge: 0,
            halt: odds(600),
        }
    }
}

// === impl Faults ===

impl Faults {
    pub(crate) fn new(weather: Weather) -> Faults {
        Faults { weather, plans: Vec::new(), failing: [false; SHARDS] }
    }

    /// One millisecond of weather.
    pub(crate) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now;
        while let Some(at) = self.plans.iter().position(|(due, _)| *due <= now) {
            let (_, plan) = self.plans.remove(at);
            self.go_on(plan, cluster);
        }
        let weather = self.weather;
        let mut happens = |odds: u32| cluster.rng.u32(..1_000_000) < odds;
        let drawn = [
            (happens(weather.write), Faults::write as fn(&mut Faults, &mut Cluster)),
            (happens(weather.flush), Faults::flush),
            (happens(weather.forget), Faults::forget),
            (happens(weather.cut), Faults::cut),
            (happens(weather.mute), Faults::mute),
            (happens(weather.late), Faults::late),
            (happens(weather.slow), Faults::slow),
            (happens(weather.stop), Faults::stop),
            (happens(weather.fail), Faults::fail),
            (happens(weather.migrate), Faults::migrate),
            (happens(weather.epoch), |_, cluster| cluster.epoch += 1),
            (weather.memory > 0 && happens(weather.memory), Faults::memory),
            (weather.forge > 0 && happens(weather.forge), Faults::forge),
        ];
        for (_, happen) in drawn.iter().filter(|(happens, _)| *happens) {
            happen(self, cluster);
        }
    }

    /// For how long the whole daemon is stopped from now on, if it is.
    pub(crate) fn halt(&self, cluster: &mut Cluster) -> Option<Ms> {
        let halts = cluster.rng.u32(..1_000_000) < self.weather.halt;
        let length = halts.then(|| cluster.rng.u64(15..900));
        if let Some(length) = length {
            cluster.log.note(cluster.now, format_args!("the daemon is stopped for {length} ms"));
        }
        length
    }

    fn plan(&mut self, cluster: &mut Cluster, delay: std::ops::Range<Ms>, plan: Plan) {
        let due = cluster.now + cluster.rng.u64(delay);
        self.plans.push((due, plan));
    }

    /// Somebody else writes.
    fn write(&mut self, cluster: &mut Cluster) {
        let key = cluster.rng.usize(..cluster.keys.len());
        if !cluster.is_up(cluster.primaries[cluster.keys[key].holder]) {
            return;
        }
        let there = cluster.keys[key].history.now().value;
        let soon = cluster.now + cluster.rng.u64(20..2_000);
        match (cluster.rng.u8(..6), there) {
            (0, Some(_)) => cluster.write(key, None, NEVER, None),
            (1, Some(_)) => cluster.write(key, there, soon, None),
            (2, Some(_)) => cluster.write(key, there, NEVER, None),
            (kind, _) => {
                let token = cluster.token();
                cluster.write(key, Some(token), if kind == 3 { soon } else { NEVER }, None)
            }
        };
    }

    fn flush(&mut self, cluster: &mut Cluster) {
        let one = cluster.rng.usize(..SHARDS);
        let all = cluster.rng.bool();
        for shard in 0..SHARDS {
            if (all || shard == one) && cluster.is_up(cluster.primaries[shard]) {
                cluster.flush(shard, None);
            }
        }
    }

    /// The table of a node is full: it forgets a key, and says so.
    fn forget(&mut self, cluster: &mut Cluster) {
        let key = cluster.rng.usize(..cluster.keys.len());
        cluster.tell(key, None);
    }

    fn some_conn(cluster: &mut Cluster) -> Option<usize> {
        let open: Vec<usize> = (0..cluster.conns.len()).filter(|id| cluster.conns[*id].is_open()).collect();
        cluster.rng.choice(open)
    }

    fn cut(&mut self, cluster: &mut Cluster) {
        let Some(id) = Faults::some_conn(cluster) else { return };
        cluster.log.note(cluster.now, format_args!("#{id} is cut"));
        if cluster.rng.bool() {
            cluster.conns[id].requests.kill();
        }
        cluster.conns[id].close(cluster.now);
    }

    /// A connection goes silent in one direction or both: nobody is told.
    fn mute(&mut self, cluster: &mut Cluster) {
        let Some(id) = Faults::some_conn(cluster) else { return };
        let which = cluster.rng.u8(..3);
        cluster.log.note(cluster.now, format_args!("#{id} goes silent: {which}"));
        if which != 0 {
            cluster.conns[id].replies.kill();
        }
        if which != 1 {
            cluster.conns[id].requests.kill();
        }
    }

    fn late(&mut self, cluster: &mut Cluster) {
        let Some(id) = Faults::some_conn(cluster) else { return };
        let until = cluster.now + cluster.rng.u64(10..700);
        let which = cluster.rng.u8(..3);
        cluster.log.note(cluster.now, format_args!("#{id} is late until {until}: {which}"));
        if which != 0 {
            cluster.conns[id].replies_lag.stalled_until = until;
        }
        if which != 1 {
            cluster.conns[id].requests_lag.stalled_until = until;
        }
    }

    /// What comes on a connection comes in pieces, so that something is on its way on it for long.
    fn slow(&mut self, cluster: &mut Cluster) {
        let Some(id) = Faults::some_conn(cluster) else { return };
        let until = cluster.now + cluster.rng.u64(50..1_500);
        let replies = cluster.rng.u8(..4) != 0;
        cluster.log.note(cluster.now, format_args!("#{id} is slow until {until}: {replies}"));
        let conn = &mut cluster.conns[id];
        let lag = if replies { &mut conn.replies_lag } else { &mut conn.requests_lag };
        lag.slow_until = until;
    }

    fn stop(&mut self, cluster: &mut Cluster) {
        let node = cluster.rng.usize(..cluster.nodes.len());
        cluster.nodes[node].stopped_until = cluster.now + cluster.rng.u64(20..1_200);
        cluster.log.note(cluster.now, format_args!("node {node} stops"));
    }

    /// A primary is lost, with a word or without one, and its replica takes over some time later.
    fn fail(&mut self, cluster: &mut Cluster) {
        let shard = cluster.rng.usize(..SHARDS);
        let node = cluster.primaries[shard];
        let migrates = cluster.moving.iter().any(|(slot, to)| *to == shard || cluster.shard(*slot) == shard);
        if self.failing[shard] || migrates || !cluster.is_up((node + SHARDS) % (2 * SHARDS)) {
            return;
        }
        self.failing[shard] = true;
        let silent = cluster.rng.bool();
        cluster.log.note(cluster.now, format_args!("node {node} is lost, silently: {silent}"));
        for conn in cluster.conns.iter_mut().filter(|conn| conn.node == node) {
            conn.requests.kill();
            if silent {
                conn.replies.kill();
            } else {
                conn.close(cluster.now);
            }
        }
        cluster.nodes[node].swallows = silent;
        if !silent {
            let is_replaced = cluster.rng.u8(..3) == 0;
            cluster.log.note(cluster.now, format_args!("its address is given away: {is_replaced}"));
            let address = cluster.nodes[node].address.clone();
            cluster.nodes[node].listener = is_replaced.then(|| listen(&address));
            cluster.nodes[node].is_replaced = is_replaced;
        }
        let loss = if cluster.rng.bool() { 0 } else { cluster.rng.u64(0..200) };
        let heard_until = cluster.now.saturating_sub(loss);
        self.plan(cluster, 100..1_500, Plan::Promote { shard, heard_until });
    }

    fn migrate(&mut self, cluster: &mut Cluster) {
        let key = cluster.rng.usize(..cluster.keys.len());
        let slot = cluster.keys[key].slot;
        let (from, to) = (cluster.shard(slot), cluster.rng.usize(..SHARDS));
        if from == to || cluster.moving.contains_key(&slot) || self.failing[from] || self.failing[to] {
            return;
        }
        cluster.log.note(cluster.now, format_args!("slot {slot} begins to move from {from} to {to}"));
        cluster.moving.insert(slot, to);
        self.plan(cluster, 1..200, Plan::Move { slot });
    }

    /// The daemon holds more in memory, or less, than it knows of.
    fn memory(&mut self, cluster: &mut Cluster) {
        // Far below all marks, between them, and above all.
        let thirty_seconds = [0, 0, 0, 25, 28, 29, 31, 33][cluster.rng.usize(..8)];
        cluster.unseen = MEMORY_MAX / 32 * thirty_seconds;
        cluster.log.note(cluster.now, format_args!("{} bytes are held unseen", cluster.unseen));
    }

    /// A node sends commands away that it could carry out, with words that are not true.
    fn forge(&mut self, cluster: &mut Cluster) {
        let node = cluster.rng.usize(..cluster.nodes.len());
        let until = cluster.now + cluster.rng.u64(5..200);
        cluster.lies = Some((node, until));
        cluster.log.note(cluster.now, format_args!("node {node} lies until {until}"));
    }

    fn go_on(&mut self, plan: Plan, cluster: &mut Cluster) {
        cluster.log.note(cluster.now, format_args!("{plan:?}"));
        match plan {
            Plan::Promote { shard, heard_until } => {
                let old = cluster.primaries[shard];
                cluster.promote(shard, heard_until);
                self.failing[shard] = false;
                self.plan(cluster, 100..2_000, Plan::Restart { node: old });
            }
            Plan::Restart { node } => {
                let address = cluster.nodes[node].address.clone();
                cluster.nodes[node].swallows = false;
                cluster.nodes[node].is_replaced = false;
                let now = cluster.now;
                for conn in cluster.conns.iter_mut().filter(|conn| conn.node == node && conn.is_stranger) {
                    conn.requests.kill();
                    conn.close(now);
                }
                cluster.nodes[node].starts += 1;
                cluster.nodes[node].listener = Some(listen(&address));
            }
            Plan::Move { slot } => {
                if cluster.move_on(slot) {
                    self.plan(cluster, 1..150, Plan::Move { slot });
                }
            }
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// Whether a node can be reached at all.
    pub(crate) fn is_up(&self, node: usize) -> bool {
        self.nodes[node].listener.is_some()
            && !self.nodes[node].swallows
            && !self.nodes[node].is_replaced
            && self.nodes[node].stopped_until <= self.now
    }

    /// The replica takes over. What it had not heard is lost.
    fn promote(&mut self, shard: usize, heard_until: Ms) {
        let old = self.primaries[shard];
        self.primaries[shard] = (old + SHARDS) % (2 * SHARDS);
        self.epoch += 1;
        for node in [old, self.primaries[shard]] {
            self.nodes[node].table.clear();
        }
        let now = self.now;
        for (index, key) in self.keys.iter_mut().enumerate().filter(|(_, key)| key.holder == shard) {
            key.untold_until = NEVER;
            let (mut value, mut expires) = {
                let heard = key.history.at(heard_until);
                (heard.value, heard.expires)
            };
            if expires <= now {
                (value, expires) = (None, NEVER);
            }
            let latest = key.history.now();
            if (latest.value, latest.expires) != (value, expires) {
                key.history.become_at(now, value, expires);
                self.log.note(now, format_args!("{index} is {value:?} until {expires} again"));
            }
        }
    }

    /// One step of a migration; whether there is another one.
    fn move_on(&mut self, slot: u16) -> bool {
        let (from, to) = (self.shard(slot), self.moving[&slot]);
        let left = (0..self.keys.len()).find(|key| {
            let key = &self.keys[*key];
            key.slot == slot
                && key.holder == from
                && key.history.states.last().is_some_and(|state| state.value.is_some())
        });
        if let Some(key) = left {
            self.look_for(key);
            // It is deleted where it was, which tells those who read it there.
            self.tell(key, None);
            self.keys[key].holder = to;
            return true;
        }
        self.moving.remove(&slot);
        self.moved.insert(slot, to);
        for key in self.keys.iter_mut().filter(|key| key.slot == slot) {
            key.holder = to;
        }
        self.epoch += 1;
        false
    }
}
