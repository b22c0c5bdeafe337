//! The model of a cluster: nodes, slots, keys, and who tracks what. The truth is kept in one place, whichever
//! node holds a key at the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nearside::node::NodeId;
use nearside::protocol::key::{SLOT_COUNT, Slot};
use nearside::upstream::NodeEntry;
use nearside::upstream::topology::SlotMap;

use crate::conn::{Conn, Mark};
use crate::history::{ConnId, History, Ms, NEVER, Token};
use crate::log::Log;
use crate::pipe::Lag;
use crate::words;

/// Parts of the cluster, each with a primary and a replica.
pub(crate) const SHARDS: usize = 3;

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) database: u8,
    pub(crate) name: String,
    /// The first key of this name, in any database: a node tracks names, and an invalidation has no database.
    pub(crate) tracked_as: usize,
    pub(crate) slot: u16,
    /// The shard that has it, or would have it if it were there.
    pub(crate) holder: usize,
    pub(crate) history: History,
    /// It has expired, and nobody was told yet: when that happens at the latest.
    pub(crate) untold_until: Ms,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: String,
    pub(crate) listener: Option<UnixListener>,
    pub(crate) shard: usize,
    /// Carries nothing out before this.
    pub(crate) stopped_until: Ms,
    /// New connections to it are accepted and never answered.
    pub(crate) swallows: bool,
    /// Its address was given to a node of another cluster.
    pub(crate) is_replaced: bool,
    /// How often it was started.
    pub(crate) starts: u32,
    /// Which connections have read each key since it was last told of.
    pub(crate) table: BTreeMap<usize, BTreeSet<ConnId>>,
}

/// What a write was called by its client, so that its reply can be matched with what it did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    Set(Token),
    Del(String),
    Expire(usize, u64),
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) now: Ms,
    pub(crate) rng: fastrand::Rng,
    pub(crate) log: Log,
    pub(crate) keys: Vec<Key>,
    /// What the names of keys begin with on the nodes, and not in what clients send: the prefix of their namespace.
    pub(crate) prefix: String,
    /// The scripts that nodes have: the node, how often it was started, and the name.
    pub(crate) loaded: BTreeSet<(usize, u32, String)>,
    pub(crate) nodes: Vec<Node>,
    /// The node that is the primary of each shard.
    pub(crate) primaries: [usize; SHARDS],
    /// Slots that another shard owns than the one that their number says.
    pub(crate) moved: BTreeMap<u16, usize>,
    /// Slots on their way to another shard.
    pub(crate) moving: BTreeMap<u16, usize>,
    pub(crate) epoch: u64,
    pub(crate) conns: Vec<Conn>,
    pub(crate) lag: Lag,
    /// What each write made of its key, and how often it was carried out.
    pub(crate) deeds: BTreeMap<Deed, (usize, u32)>,
    /// Nobody names this address but words that are forged.
    pub(crate) stranger: String,
    strangers_door: UnixListener,
    /// What scripts wrote, the epoch of the cluster at that time, and whether the slot was on its way.
    pub(crate) scripts: BTreeMap<Token, (u64, bool)>,
    /// What the daemon did because words were forged.
    pub(crate) fooled: Vec<String>,
    pub(crate) next_token: Token,
    /// How many commands on keys were carried out in another database than the first one.
    pub(crate) in_others: u64,
    /// What clients asked for with PEXPIRE: no two ask for the same of one key.
    pub(crate) lifetimes: BTreeSet<(usize, u64)>,
    /// No client sends FLUSHALL before.
    pub(crate) next_flush_at: Ms,
    /// A node sends commands away with words that are not true, until then.
    pub(crate) lies: Option<(usize, Ms)>,
    /// How often that happened.
    pub(crate) forged: u64,
    /// What the daemon holds in memory that nobody counts.
    pub(crate) unseen: usize,
    /// How many clients the daemon has dropped because memory was scarce, and how many have seen it.
    pub(crate) dropped: u64,
    pub(crate) drops_seen: u64,
    /// How many replies it has passed over because memory was scarce, and when it did so last.
    pub(crate) replies_refused: (u64, Ms),
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new(
        directory: &Path,
        mut rng: fastrand::Rng,
        log: Log,
        prefix: &str,
        databases: u8,
    ) -> Cluster {
        let mut names = ["{a}1", "{a}2", "{b}1", "{b}2", "c", "d", "e", "f", "{g}1", "{g}2"];
        if !prefix.is_empty() {
            // Behind a prefix only a tag keeps a marker in the slot of its key.
            names[4..8].copy_from_slice(&["{c}", "{d}", "{e}", "{f}"]);
        }
        // With several databases there are fewer names, so that the same ones meet.
        let count = if databases > 1 { 5 } else { names.len() };
        let keys = (0..databases)
            .flat_map(|database| names[..count].iter().enumerate().map(move |name| (database, name)));
        let keys = keys.map(|(database, (tracked_as, name))| {
            let name = format!("{prefix}{name}");
            let slot = Slot::of(name.as_bytes()).number();
            let holder = native_shard(slot);
            Key { database, name, tracked_as, slot, holder, history: History::default(), untold_until: NEVER }
        });
        let nodes = (0..2 * SHARDS).map(|index| {
            let address = format!("{}/n:{}", directory.display(), 7000 + index);
            Node {
                listener: Some(listen(&address)),
                address,
                shard: index % SHARDS,
                stopped_until: 0,
                swallows: false,
                is_replaced: false,
                starts: 1,
                table: BTreeMap::new(),
            }
        });
        let stranger = format!("{}/n:6999", directory.display());
        let lag = Lag { min: 0, max: rng.u64(0..6), stalled_until: 0, slow_until: 0 };
        Cluster {
            now: 0,
            rng,
            log,
            keys: keys.collect(),
            prefix: prefix.to_owned(),
            loaded: BTreeSet::new(),
            nodes: nodes.collect(),
            primaries: [0, 1, 2],
            moved: BTreeMap::new(),
            moving: BTreeMap::new(),
            epoch: 1,
            conns: Vec::new(),
            lag,
            deeds: BTreeMap::new(),
            strangers_door: listen(&stranger),
            stranger,
            scripts: BTreeMap::new(),
            fooled: Vec::new(),
            next_token: 1,
            in_others: 0,
            lifetimes: BTreeSet::new(),
            // In a namespace it is a walk over all keys, which the model does not have.
            next_flush_at: if prefix.is_empty() { 1_000 } else { NEVER },
            lies: None,
            forged: 0,
            unseen: 0,
            dropped: 0,
            drops_seen: 0,
            replies_refused: (0, 0),
        }
    }

    /// One millisecond: what has arrived is carried out, and what is due is delivered.
    pub(crate) fn step(&mut self, now: Ms) {
        self.now = now;
        self.accept();
        self.expire();
        let mut order: Vec<ConnId> = (0..self.conns.len()).filter(|id| !self.conns[*id].is_spent()).collect();
        self.rng.shuffle(&mut order);
        for id in order {
            self.conns[id].read(now, &mut self.rng);
            self.serve(id);
            for mark in self.conns[id].write(now) {
                self.delivered(id, mark);
            }
        }
    }

    fn accept(&mut self) {
        if self.strangers_door.accept().is_ok() {
            self.fooled.push("the daemon went to an address that no node names".to_owned());
        }
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            while let Some(Ok((stream, _))) = node.listener.as_ref().map(UnixListener::accept) {
                let mut conn = Conn::new(index, stream, self.lag);
                conn.is_stranger = node.is_replaced;
                if node.swallows {
                    conn.replies.kill();
                    conn.requests.kill();
                }
                self.log.note(self.now, format_args!("#{} to node {index}", self.conns.len()));
                self.conns.push(conn);
            }
        }
    }

    fn serve(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        if self.nodes[conn.node].stopped_until > self.now || self.nodes[conn.node].listener.is_none() {
            return;
        }
        while let Some((bytes, _)) = conn.requests.take(self.now) {
            conn.arrived.extend(bytes);
        }
        while let Some(args) = words::take_request(&mut self.conns[id].arrived) {
            self.carry_out(id, &args);
        }
    }

    fn delivered(&mut self, id: ConnId, mark: Mark) {
        let now = self.now;
        match mark {
            Mark::Key { key, sent } => {
                self.log.note(now, format_args!("#{id} told of {key}, sent {sent}"));
                let named = |one: &&mut Key| one.tracked_as == key;
                self.keys.iter_mut().filter(named).for_each(|one| one.history.told(sent, now));
            }
            Mark::Everything { sent } => {
                self.log.note(now, format_args!("#{id} told of everything, sent {sent}"));
                self.conns[id].flushes.push((sent, now));
            }
            Mark::Lifetime(fill) => {
                self.keys[fill.key].history.states[fill.state].sources[fill.source].settled = now;
            }
        }
    }

    /// Keys whose time has come are gone; who read them is told some time later, or when somebody looks for
    /// them.
    fn expire(&mut self) {
        for key in 0..self.keys.len() {
            let expires = self.keys[key].history.now().expires;
            if expires <= self.now {
                self.keys[key].history.become_at(expires, None, NEVER);
                self.keys[key].untold_until = self.now + self.rng.u64(0..300);
                self.log.note(self.now, format_args!("{key} expired"));
            }
            if self.keys[key].untold_until <= self.now {
                self.look_for(key);
            }
        }
    }

    /// What has expired is found out when somebody looks.
    pub(crate) fn look_for(&mut self, key: usize) {
        if self.keys[key].untold_until != NEVER {
            self.keys[key].untold_until = NEVER;
            self.tell(key, None);
        }
    }

    /// Tells those who read a key that it changed. Who changed it hears after its own reply: returns whether
    /// it has to.
    pub(crate) fn tell(&mut self, key: usize, by: Option<ConnId>) -> bool {
        let node = self.primaries[self.keys[key].holder];
        let tracked_as = self.keys[key].tracked_as;
        let mut told = self.nodes[node].table.remove(&tracked_as).unwrap_or_default();
        told.extend((0..self.conns.len()).filter(|id| self.listens(*id, node, key)));
        let mut own = false;
        for id in told {
            if Some(id) == by {
                own = true;
            } else {
                self.push_key(id, key);
            }
        }
        own
    }

    /// Whether a node tells a connection of every change of a key.
    fn listens(&self, id: ConnId, node: usize, key: usize) -> bool {
        let (conn, name) = (&self.conns[id], &self.keys[key].name);
        conn.node == node && conn.is_open() && conn.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    /// The connection that a node tells of every change of a key, if there is one.
    pub(crate) fn listener(&self, node: usize, key: usize) -> Option<ConnId> {
        (0..self.conns.len()).rev().find(|id| self.listens(*id, node, key))
    }

    /// Sends the invalidation of one key.
    pub(crate) fn push_key(&mut self, id: ConnId, key: usize) {
        let bytes = format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n{}", words::bulk(&self.keys[key].name));
        let mark = Mark::Key { key: self.keys[key].tracked_as, sent: self.now };
        self.conns[id].say(bytes.into_bytes(), Some(mark), self.now, &mut self.rng);
    }

    /// A write, by a connection of the daemon or by somebody else.
    pub(crate) fn write(
        &mut self,
        key: usize,
        value: Option<Token>,
        expires: Ms,
        by: Option<ConnId>,
    ) -> bool {
        self.look_for(key);
        let elsewhere = self.moving.contains_key(&self.keys[key].slot)
            && self.keys[key].history.now().value.is_none()
            && value.is_some();
        if elsewhere {
            // Whoever read at the former owner that there is none is not told: that node knows nothing of
            // this.
            self.keys[key].holder = self.moving[&self.keys[key].slot];
        }
        let own = self.tell(key, by);
        let state = self.keys[key].history.become_at(self.now, value, expires);
        state.elsewhere = elsewhere;
        self.log.note(self.now, format_args!("{key} is {value:?} until {expires}, by {by:?}"));
        own
    }

    /// All keys of a shard go. Returns whether `by` has to be told after its reply.
    pub(crate) fn flush(&mut self, shard: usize, by: Option<ConnId>) -> bool {
        for key in 0..self.keys.len() {
            if self.keys[key].holder == shard && self.keys[key].history.now().value.is_some() {
                let state = self.keys[key].history.become_at(self.now, None, NEVER);
                state.by_flush = by.is_some();
                self.keys[key].untold_until = NEVER;
            }
        }
        self.log.note(self.now, format_args!("shard {shard} is flushed, by {by:?}"));
        let node = self.primaries[shard];
        self.nodes[node].table.clear();
        let mut own = false;
        for id in 0..self.conns.len() {
            if self.conns[id].node == node && self.conns[id].tracking {
                if Some(id) == by {
                    own = true;
                } else {
                    self.push_everything(id);
                }
            }
        }
        own
    }

    /// Sends the invalidation of everything.
    pub(crate) fn push_everything(&mut self, id: ConnId) {
        let mark = Mark::Everything { sent: self.now };
        self.conns[id].say(b">2\r\n$10\r\ninvalidate\r\n_\r\n".to_vec(), Some(mark), self.now, &mut self.rng);
    }

    /// The shard that owns a slot.
    pub(crate) fn shard(&self, slot: u16) -> usize {
        self.moved.get(&slot).copied().unwrap_or_else(|| native_shard(slot))
    }

    /// What a node says of all nodes: CLUSTER NODES.
    pub(crate) fn nodes_seen_by(&self, asked: usize) -> String {
        let mut text = String::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let is_primary = self.primaries[node.shard] == index;
            let role = if is_primary { "master" } else { "slave" };
            let myself = if index == asked { "myself," } else { "" };
            text += &format!("id-{index} {}@1 {myself}{role} - 0 0 {} connected", node.address, self.epoch);
            if is_primary {
                self.slots_of(node.shard)
                    .iter()
                    .for_each(|(first, last)| text += &format!(" {first}-{last}"));
            }
            for (slot, taker) in &self.moving {
                let (giver, taker) = (self.primaries[self.shard(*slot)], self.primaries[*taker]);
                if index == giver {
                    text += &format!(" [{slot}->-id-{taker}]");
                } else if index == taker {
                    text += &format!(" [{slot}-<-id-{giver}]");
                }
            }
            text += "\n";
        }
        text
    }

    fn slots_of(&self, shard: usize) -> Vec<(u16, u16)> {
        let mut slots: Vec<(u16, u16)> = Vec::new();
        for slot in (0..SLOT_COUNT as u16).filter(|slot| self.shard(*slot) == shard) {
            match slots.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => slots.push((slot, slot)),
            }
        }
        slots
    }

    /// Words that read like a redirect of `slot`, or of another one, to some node or to a stranger.
    pub(crate) fn forged(&mut self, slot: u16) -> String {
        let kind = if self.rng.bool() { "MOVED" } else { "ASK" };
        let slot = if self.rng.u8(..4) == 0 { (slot + 1) % SLOT_COUNT as u16 } else { slot };
        let node = self.rng.usize(..=self.nodes.len());
        let address = self.nodes.get(node).map_or(&self.stranger, |node| &node.address);
        format!("{kind} {slot} {address}")
    }

    /// Words that send a command on `slot` to nobody who could answer it: to a stranger, or about another
    /// slot.
    pub(crate) fn lie(&mut self, slot: u16) -> String {
        self.forged += 1;
        loop {
            let words = self.forged(slot);
            if words.ends_with(&*self.stranger) || words.split(' ').nth(1) != Some(&*slot.to_string()) {
                return words;
            }
        }
    }

    /// A script has written `token` to a key of `slot`. It runs twice only if its slot has gone elsewhere
    /// meanwhile, or goes.
    pub(crate) fn script_ran(&mut self, token: Token, slot: u16) {
        let is_moving = self.moving.contains_key(&slot);
        let Some((epoch, was_moving)) = self.scripts.insert(token, (self.epoch, is_moving)) else { return };
        if epoch == self.epoch && !is_moving && !was_moving {
            self.fooled.push(format!("the script that writes v{token} ran twice"));
        }
    }

    /// The name of a key as clients have it.
    pub(crate) fn bare(&self, key: usize) -> String {
        self.keys[key].name[self.prefix.len()..].to_owned()
    }

    /// The key that a connection names so; markers are none.
    pub(crate) fn key(&self, id: ConnId, name: &str) -> Option<usize> {
        let database = self.conns[id].database;
        self.keys.iter().position(|key| key.database == database && key.name == name)
    }

    /// The keys of a database.
    pub(crate) fn keys_of(&self, database: u8) -> std::ops::Range<usize> {
        let count = self.keys.iter().filter(|key| key.database == database).count();
        usize::from(database) * count..(usize::from(database) + 1) * count
    }

    /// A value that was never written before.
    pub(crate) fn token(&mut self) -> Token {
        self.next_token += 1;
        self.next_token
    }

    /// Who owns what, as CLUSTER SLOTS would say; later ranges win.
    pub(crate) fn map(&self) -> SlotMap {
        let node = |shard: usize| NodeId::new(&*self.nodes[self.primaries[shard]].address);
        let native = (0..SHARDS).map(|shard| (first_slot(shard)..=first_slot(shard + 1) - 1, node(shard)));
        let owned = native.chain(self.moved.iter().map(|(slot, shard)| (*slot..=*slot, node(*shard))));
        let members = self.nodes.iter().enumerate().map(|(index, node)| NodeEntry {
            node: NodeId::new(&*node.address),
            id: Some(format!("id-{index}").into()),
        });
        SlotMap { owned: owned.collect(), members: members.collect() }
    }
}

/// Listens at the address of a node.
pub(crate) fn listen(address: &str) -> UnixListener {
    let _ = std::fs::remove_file(address);
    let listener = UnixListener::bind(address).expect("a socket in a directory of its own");
    listener.set_nonblocking(true).expect("a socket can be made nonblocking");
    listener
}

fn first_slot(shard: usize) -> u16 {
    (SLOT_COUNT * shard / SHARDS) as u16
}

fn native_shard(slot: u16) -> usize {
    (0..SHARDS).rev().find(|shard| first_slot(*shard) <= slot).unwrap_or(0)
}
