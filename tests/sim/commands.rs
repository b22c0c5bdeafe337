//! What a node of the model answers.

use crate::cluster::{Cluster, Deed};
use crate::conn::{Fill, Mark};
use crate::history::{ConnId, NEVER, Source};
use crate::words::bulk;

use nearside::protocol::key::Slot;

/// What the node that carried a command out tells the connection that it came on, behind the reply.
#[derive(Default)]
struct Aftermath {
    keys: Vec<usize>,
    everything: bool,
}

// === impl Cluster ===

impl Cluster {
    /// Carries one command of the daemon out, and sends the reply.
    pub(crate) fn carry_out(&mut self, id: ConnId, args: &[String]) {
        let now = self.now;
        self.log.note(now, format_args!("#{id} > {args:?}"));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        if self.conns[id].is_stranger {
            let reply = stranger(self.epoch, &args);
            return self.reply(id, &reply, None);
        }
        if !matches!(args[0], "PTTL" | "CLIENT" | "CONFIG") {
            self.close_fills(id);
        }
        let asking = std::mem::take(&mut self.conns[id].asking);
        self.conns[id].untracked = std::mem::take(&mut self.conns[id].opted_out);
        let (mut after, mut mark) = (Aftermath::default(), None);
        let reply = match (args[0], &args[1..]) {
            ("MULTI", _) => {
                self.conns[id].queued = Some(Ok(Vec::new()));
                "+OK\r\n".to_owned()
            }
            ("EXEC", _) => self.execute(id, &mut after),
            (name, rest) if self.conns[id].queued.is_some() => self.queue(id, name, rest),
            ("HELLO", _) => format!("%2\r\n{}:{id}\r\n{}:3\r\n", bulk("id"), bulk("proto")),
            ("CLIENT", ["TRACKING", "ON", "OPTOUT"]) => {
                self.conns[id].tracking = true;
                "+OK\r\n".to_owned()
            }
            ("CLIENT", ["TRACKING", "ON", "BCAST", prefixes @ ..]) => {
                let prefixes = prefixes.chunks(2).map(|pair| pair[1].to_owned()).collect();
                (self.conns[id].tracking, self.conns[id].prefixes) = (true, prefixes);
                "+OK\r\n".to_owned()
            }
            ("CLIENT", ["NO-EVICT", "ON"]) => "+OK\r\n".to_owned(),
            ("CONFIG", _) => "-NOPERM\r\n".to_owned(),
            ("CLIENT", ["CACHING", "NO"]) => {
                self.conns[id].opted_out = true;
                "+OK\r\n".to_owned()
            }
            ("INFO", _) => {
                let node = self.conns[id].node;
                bulk(&format!("run_id:{node}-{}\r\n", self.nodes[node].starts))
            }
            ("CLUSTER", ["INFO"]) => {
                bulk(&format!("cluster_state:ok\r\ncluster_current_epoch:{}\r\n", self.epoch))
            }
            ("CLUSTER", ["NODES"]) => bulk(&self.nodes_seen_by(self.conns[id].node)),
            ("CLUSTER", ["MYID"]) => bulk(&format!("id-{}", self.conns[id].node)),
            ("PING", _) => "+PONG\r\n".to_owned(),
            ("SELECT", [database]) => {
                self.conns[id].database = database.parse().expect("a number");
                "+OK\r\n".to_owned()
            }
            ("ASKING", _) => {
                self.conns[id].asking = true;
                "+OK\r\n".to_owned()
            }
            ("FLUSHALL", _) => self.flushall(id, &mut after),
            ("SCRIPT", ["EXISTS", sha]) => format!("*1\r\n:{}\r\n", u8::from(self.has_script(id, sha))),
            (name, rest) => {
                match self.lied(id, name, rest).or_else(|| self.refusal(id, name, rest, asking)) {
                    Some(refusal) => refusal,
                    None => self.on_keys(id, name, rest, &mut after, &mut mark),
                }
            }
        };
        // Redis tells a client of its own writes after the reply. Nothing may depend on that.
        let first = self.rng.u8(..4) == 0;
        if !first {
            self.reply(id, &reply, mark);
        }
        for key in after.keys {
            self.push_key(id, key);
        }
        if after.everything {
            self.push_everything(id);
        }
        if first {
            self.reply(id, &reply, mark);
        }
    }

    fn reply(&mut self, id: ConnId, reply: &str, mark: Option<Mark>) {
        self.conns[id].say(reply.as_bytes().to_vec(), mark, self.now, &mut self.rng);
    }

    /// Whose lifetime nobody asked for right behind it, is none to keep.
    fn close_fills(&mut self, id: ConnId) {
        for fill in std::mem::take(&mut self.conns[id].open) {
            self.keys[fill.key].history.states[fill.state].sources[fill.source].bypass = true;
        }
    }

    /// Queues a command of a transaction, unless the node would not carry it out.
    fn queue(&mut self, id: ConnId, name: &str, rest: &[&str]) -> String {
        let refusal = self.lied(id, name, rest).or_else(|| self.refusal(id, name, rest, false));
        let queued = &mut self.conns[id].queued;
        if let Some(refusal) = refusal {
            *queued = Some(Err(()));
            return refusal;
        }
        if let Some(Ok(commands)) = queued {
            commands.push(std::iter::once(name).chain(rest.iter().copied()).map(str::to_owned).collect());
        }
        "+QUEUED\r\n".to_owned()
    }

    /// Carries out what was queued, in one piece or not at all.
    fn execute(&mut self, id: ConnId, after: &mut Aftermath) -> String {
        let Some(Ok(commands)) = self.conns[id].queued.take() else {
            return "-EXECABORT Transaction discarded because of previous errors.\r\n".to_owned();
        };
        let commands: Vec<Vec<&str>> =
            commands.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        // A slot may have left since.
        if let Some(refusal) =
            commands.iter().find_map(|words| self.refusal(id, words[0], &words[1..], false))
        {
            return refusal;
        }
        let mut reply = format!("*{}\r\n", commands.len());
        for words in &commands {
            reply += &self.on_keys(id, words[0], &words[1..], after, &mut None);
            // What is read in a transaction is none to keep.
            self.close_fills(id);
        }
        reply
    }

    fn flushall(&mut self, id: ConnId, after: &mut Aftermath) -> String {
        let node = self.conns[id].node;
        let shard = self.nodes[node].shard;
        if self.primaries[shard] != node {
            return "-READONLY You can't write against a read only replica.\r\n".to_owned();
        }
        after.everything = self.flush(shard, Some(id));
        "+OK\r\n".to_owned()
    }

    /// What a node that lies answers, now and then, to a command that is no script.
    fn lied(&mut self, id: ConnId, name: &str, rest: &[&str]) -> Option<String> {
        let (node, until) = self.lies?;
        if node != self.conns[id].node || until < self.now || name == "EVAL" || self.rng.u8(..4) != 0 {
            return None;
        }
        let words = self.lie(Slot::of(rest[0].as_bytes()).number());
        Some(format!("-{words}\r\n"))
    }

    /// Why the node does not carry out a command on these keys, if it does not.
    fn refusal(&self, id: ConnId, name: &str, rest: &[&str], asking: bool) -> Option<String> {
        let names = match name {
            "MGET" | "DEL" => rest,
            "EVAL" | "EVALSHA" => &rest[2..3],
            _ => &rest[..1],
        };
        let slot = Slot::of(names[0].as_bytes()).number();
        assert!(names.iter().all(|name| Slot::of(name.as_bytes()).number() == slot), "{name} {rest:?}");
        let (node, owner) = (self.conns[id].node, self.shard(slot));
        let taker = self.moving.get(&slot).copied();
        let to = |shard: usize| &self.nodes[self.primaries[shard]].address;
        // A marker is a key that is never there; it goes with the others.
        let keys: Vec<usize> = names.iter().filter_map(|name| self.key(id, name)).collect();
        let here = |key: &usize| self.holds(node, *key);
        if self.primaries[owner] == node {
            let taker = taker?;
            let all = keys.iter().all(here) && keys.len() == names.len();
            return match keys.iter().any(here) {
                _ if all => None,
                true => Some("-TRYAGAIN Multiple keys request during rehashing of slot\r\n".to_owned()),
                false => Some(format!("-ASK {slot} {}\r\n", to(taker))),
            };
        }
        let takes = taker.is_some_and(|taker| self.primaries[taker] == node);
        if !(takes && asking) {
            return Some(format!("-MOVED {slot} {}\r\n", to(owner)));
        }
        let torn = names.len() > 1 && !keys.iter().all(here);
        torn.then(|| "-TRYAGAIN Multiple keys request during rehashing of slot\r\n".to_owned())
    }

    fn holds(&self, node: usize, key: usize) -> bool {
        let key = &self.keys[key];
        self.primaries[key.holder] == node
            && key.history.states.last().is_some_and(|state| state.value.is_some())
    }

    fn on_keys(
        &mut self,
        id: ConnId,
        name: &str,
        rest: &[&str],
        after: &mut Aftermath,
        mark: &mut Option<Mark>,
    ) -> String {
        self.in_others += u64::from(self.conns[id].database > 0);
        match (name, rest) {
            ("GET", [key]) => self.read(id, key),
            ("MGET", keys) => {
                let values: String = keys.iter().map(|key| self.read(id, key)).collect();
                format!("*{}\r\n{values}", keys.len())
            }
            ("PTTL", [key]) => self.lifetime(id, key, mark),
            ("SET", [key, value, options @ ..]) => {
                let key = self.key(id, key).expect("only keys are set");
                let token = value.strip_prefix('v').and_then(|token| token.parse().ok()).expect("a token");
                let expires = match options {
                    ["PX", ms] => self.now + ms.parse::<u64>().expect("a number"),
                    _ => NEVER,
                };
                if self.write(key, Some(token), expires, Some(id)) {
                    after.keys.push(key);
                }
                self.done(Deed::Set(token), key);
                "+OK\r\n".to_owned()
            }
            ("EVALSHA", [sha, ..]) if !self.has_script(id, sha) => {
                "-NOSCRIPT No matching script.\r\n".to_owned()
            }
            ("EVAL" | "EVALSHA", [script, _, _, value, written])
                if name == "EVALSHA" || script.ends_with(" return writes") =>
            {
                if name == "EVAL" {
                    let node = self.conns[id].node;
                    let sha = sha1_smol::Sha1::from(script).digest().to_string();
                    self.loaded.insert((node, self.nodes[node].starts, sha));
                }
                // The prologue does this on a real server.
                let key = self.key(id, &format!("{}{written}", self.prefix)).expect("only keys are set");
                let token = value.strip_prefix('v').and_then(|token| token.parse().ok()).expect("a token");
                self.look_for(key);
                self.script_ran(token, self.keys[key].slot);
                if self.write(key, Some(token), NEVER, Some(id)) {
                    after.keys.push(key);
                }
                self.done(Deed::Set(token), key);
                "+OK\r\n".to_owned()
            }
            ("EVAL", [_, _, key, value, words]) => {
                let key = self.key(id, key).expect("only keys are set");
                let token = value.strip_prefix('v').and_then(|token| token.parse().ok()).expect("a token");
                self.script_ran(token, self.keys[key].slot);
                if self.write(key, Some(token), NEVER, Some(id)) {
                    after.keys.push(key);
                }
                self.done(Deed::Set(token), key);
                format!("-{words}\r\n")
            }
            ("DEL", [key, marker]) => {
                let key = self.key(id, key).expect("a key and its marker");
                self.look_for(key);
                let there = self.keys[key].history.now().value.is_some();
                if there && self.write(key, None, NEVER, Some(id)) {
                    after.keys.push(key);
                }
                let marker = marker.strip_prefix(&self.prefix).unwrap_or(marker);
                self.done(Deed::Del(marker.to_owned()), key);
                format!(":{}\r\n", u8::from(there))
            }
            ("PEXPIRE", [key, ms]) => {
                let key = self.key(id, key).expect("only keys expire");
                let ms: u64 = ms.parse().expect("a number");
                self.look_for(key);
                let Some(value) = self.keys[key].history.now().value else { return ":0\r\n".to_owned() };
                if self.write(key, Some(value), self.now + ms, Some(id)) {
                    after.keys.push(key);
                }
                self.done(Deed::Expire(key, ms), key);
                ":1\r\n".to_owned()
            }
            other => panic!("the model knows no {other:?}"),
        }
    }

    /// Whether the node of a connection has a script.
    fn has_script(&self, id: ConnId, sha: &str) -> bool {
        let node = self.conns[id].node;
        self.loaded.contains(&(node, self.nodes[node].starts, sha.to_owned()))
    }

    fn done(&mut self, deed: Deed, key: usize) {
        let state = self.keys[key].history.latest();
        let times = self.deeds.get(&deed).map_or(0, |(_, times)| *times);
        self.deeds.insert(deed, (state, times + 1));
    }

    fn track(&mut self, id: ConnId, key: usize) {
        if self.conns[id].tracking && !self.conns[id].untracked {
            let node = self.conns[id].node;
            self.nodes[node].table.entry(self.keys[key].tracked_as).or_default().insert(id);
        }
    }

    fn read(&mut self, id: ConnId, name: &str) -> String {
        let key = self.key(id, name).expect("only keys are read");
        self.look_for(key);
        self.track(id, key);
        let state = self.keys[key].history.latest();
        // What the node does not track is kept for as long as another connection is told of all changes.
        let heard = self.conns[id].untracked.then(|| self.listener(self.conns[id].node, key));
        let (conn, bypass) =
            heard.map_or((id, false), |listener| (listener.unwrap_or(id), listener.is_none()));
        let now = self.keys[key].history.now();
        now.sources.push(Source { conn, settled: NEVER, bypass });
        let fill = Fill { key, state, source: now.sources.len() - 1 };
        let reply = now.value.map_or_else(|| "_\r\n".to_owned(), |token| bulk(&format!("v{token}")));
        self.conns[id].open.push(fill);
        reply
    }

    fn lifetime(&mut self, id: ConnId, name: &str, mark: &mut Option<Mark>) -> String {
        let key = self.key(id, name).expect("only keys have a lifetime");
        self.look_for(key);
        self.track(id, key);
        if let Some(at) = self.conns[id].open.iter().position(|fill| fill.key == key) {
            *mark = Some(Mark::Lifetime(self.conns[id].open.remove(at)));
        }
        let now = self.now;
        let state = self.keys[key].history.now();
        match (state.value, state.expires) {
            (None, _) => ":-2\r\n".to_owned(),
            (_, NEVER) => ":-1\r\n".to_owned(),
            (_, expires) => format!(":{}\r\n", expires - now),
        }
    }
}

/// What a node of another cluster answers. It is as well as any, and carries out what it is told, with what
/// it has.
fn stranger(epoch: u64, args: &[&str]) -> String {
    // No client of the model writes it.
    let value = bulk("v1");
    match (args[0], &args[1..]) {
        ("HELLO", _) => format!("%2\r\n{}:1\r\n{}:3\r\n", bulk("id"), bulk("proto")),
        ("INFO", _) => bulk("run_id:stranger\r\n"),
        ("CLUSTER", ["MYID"]) => bulk("id-stranger"),
        ("CLUSTER", ["INFO"]) => bulk(&format!("cluster_state:ok\r\ncluster_current_epoch:{epoch}\r\n")),
        ("CONFIG", _) => "-NOPERM no\r\n".to_owned(),
        ("PING", _) => "+PONG\r\n".to_owned(),
        ("GET", _) => value,
        ("MGET", keys) => format!("*{}\r\n{}", keys.len(), value.repeat(keys.len())),
        ("PTTL", _) => ":-1\r\n".to_owned(),
        ("DEL" | "PEXPIRE", _) => ":1\r\n".to_owned(),
        _ => "+OK\r\n".to_owned(),
    }
}
