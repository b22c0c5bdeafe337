//! The bodies of scripts that were seen, by their SHA1, and on which nodes they are: one cache for all
//! workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::clock::Nanos;
use crate::protocol::command::Flags;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::router::node_instance::NodeInstance;

/// What keeping a script takes beside its body, roughly.
const OVERHEAD_BYTES: usize = 256;

/// Hashes of unknown scripts that are remembered; beyond that all are forgotten, since clients can invent
/// hashes.
const UNKNOWN_MAX: usize = 1024;

/// Nodes that are known to have a script; the earliest is forgotten first. On any other node the script is
/// searched again.
const HOSTS_MAX: usize = 1024;

/// How long a script counts as unknown to all nodes.
const UNKNOWN_NANOS_MAX: Nanos = 10_000_000_000;

/// The SHA1 of a script in lower-case digits, as EVALSHA names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sha([u8; 40]);

/// The cache.
#[derive(Debug)]
pub(in crate::router) struct ScriptCache {
    known: Mutex<KnownScripts>,
    bytes_max: usize,
    /// Whether the servers have no command that gives the body of a script.
    silent: AtomicBool,
}

#[derive(Debug, Default)]
struct KnownScripts {
    scripts: HashMap<Sha, CachedScript>,
    bytes: usize,
    /// Counts uses, so that the one that was not used for longest goes first.
    turn: u64,
    /// How often all was forgotten: a script that was sent before is not kept after.
    flushes: u64,
    unknown: HashMap<Sha, Nanos>,
}

#[derive(Debug)]
struct CachedScript {
    body: Bytes,
    used: u64,
    on: Vec<NodeInstance>,
}

// === impl Sha ===

impl Sha {
    /// The name of the script `body`.
    pub(in crate::router) fn of(body: &[u8]) -> Sha {
        let mut digits = [0; 40];
        let text = sha1_smol::Sha1::from(body).digest().to_string();
        digits.copy_from_slice(&text.as_bytes()[..40]);
        Sha(digits)
    }

    /// The name that a client wrote; it may use capitals.
    pub(in crate::router) fn named(text: &[u8]) -> Option<Sha> {
        let digits: [u8; 40] = text.try_into().ok()?;
        digits.iter().all(u8::is_ascii_hexdigit).then(|| Sha(digits.map(|digit| digit.to_ascii_lowercase())))
    }

    pub(in crate::router) fn as_bytes(&self) -> &[u8; 40] {
        &self.0
    }
}

// === impl ScriptCache ===

impl ScriptCache {
    /// A cache of `bytes_max` bytes.
    pub(in crate::router) fn new(bytes_max: usize) -> ScriptCache {
        ScriptCache { known: Mutex::default(), bytes_max, silent: AtomicBool::new(false) }
    }

    /// The body of a script.
    pub(in crate::router) fn body(&self, sha: Sha) -> Option<Bytes> {
        let mut known = self.known.lock();
        known.turn += 1;
        let turn = known.turn;
        let script = known.scripts.get_mut(&sha)?;
        script.used = turn;
        Some(script.body.clone())
    }

    /// The body of the script that EVALSHA names `sha`, if it is known: EVAL with it works on any node.
    pub(in crate::router) fn named(&self, sha: &[u8]) -> Option<Bytes> {
        self.body(Sha::named(sha)?)
    }

    /// A number that changes when all is forgotten.
    pub(in crate::router) fn flushes(&self) -> u64 {
        self.known.lock().flushes
    }

    /// Keeps a script that was sent when [`ScriptCache::flushes`] was `flushes`, and which is on `hosts` now.
    /// One that is too large for the cache is not kept.
    pub(in crate::router) fn learn(
        &self,
        body: &[u8],
        flushes: u64,
        hosts: impl IntoIterator<Item = NodeInstance>,
    ) {
        let sha = Sha::of(body);
        let mut known = self.known.lock();
        let bytes = body.len() + OVERHEAD_BYTES;
        if known.flushes != flushes || bytes > self.bytes_max {
            return;
        }
        known.unknown.remove(&sha);
        known.turn += 1;
        let turn = known.turn;
        if !known.scripts.contains_key(&sha) {
            while known.bytes + bytes > self.bytes_max && known.forget_oldest() {}
            known.bytes += bytes;
        }
        let fresh = || CachedScript { body: Bytes::copy_from_slice(body), used: turn, on: Vec::new() };
        let script = known.scripts.entry(sha).or_insert_with(fresh);
        hosts.into_iter().for_each(|host| script.note(host));
    }

    /// A script ran on `host`.
    pub(in crate::router) fn note(&self, sha: Sha, flushes: u64, host: NodeInstance) {
        let mut known = self.known.lock();
        if known.flushes != flushes {
            return;
        }
        if let Some(script) = known.scripts.get_mut(&sha) {
            script.note(host);
        }
    }

    /// Whether a script is believed to be on `host`.
    pub(in crate::router) fn is_on(&self, sha: Sha, host: &NodeInstance) -> bool {
        self.known.lock().scripts.get(&sha).is_some_and(|script| script.on.contains(host))
    }

    /// `host` did not have a script.
    pub(in crate::router) fn gone_from(&self, sha: Sha, host: &NodeInstance) {
        if let Some(script) = self.known.lock().scripts.get_mut(&sha) {
            script.on.retain(|on| on != host);
        }
    }

    /// Forgets all.
    pub(in crate::router) fn flush(&self) {
        let mut known = self.known.lock();
        let flushes = known.flushes + 1;
        *known = KnownScripts { flushes, ..KnownScripts::default() };
    }

    /// Whether it is worth asking the servers for a script that is not known here.
    pub(in crate::router) fn may_be_asked_for(&self, sha: Sha, now: Nanos) -> bool {
        let asked_at = self.known.lock().unknown.get(&sha).copied();
        !self.silent.load(Ordering::Relaxed) && asked_at.is_none_or(|at| now >= at + UNKNOWN_NANOS_MAX)
    }

    /// Notes that no node knew a script.
    pub(in crate::router) fn note_unknown(&self, sha: Sha, now: Nanos) {
        let mut known = self.known.lock();
        if known.unknown.len() >= UNKNOWN_MAX {
            known.unknown.clear();
        }
        known.unknown.insert(sha, now);
    }

    /// Notes that the servers do not return the bodies of scripts.
    pub(in crate::router) fn note_no_bodies(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }
}

// === impl KnownScripts ===

impl KnownScripts {
    /// Forgets the script that was not used for longest; whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.scripts.iter().min_by_key(|(_, script)| script.used).map(|(sha, _)| *sha);
        let Some(script) = oldest.and_then(|sha| self.scripts.remove(&sha)) else { return false };
        self.bytes -= script.body.len() + OVERHEAD_BYTES;
        true
    }
}

// === impl CachedScript ===

impl CachedScript {
    fn note(&mut self, host: NodeInstance) {
        // Each node has one entry: a process that took the place of another has none of its scripts.
        self.on.retain(|on| on.node != host.node);
        if self.on.len() >= HOSTS_MAX {
            self.on.remove(0);
        }
        self.on.push(host);
    }
}

/// EVALSHA as EVAL, and EVALSHA_RO as EVAL_RO.
pub(in crate::router) fn with_body(flags: Flags, request: &Request<'_>, body: &[u8]) -> OwnedRequest {
    let name: &[u8] = if flags.has(Flags::READ) { b"EVAL_RO" } else { b"EVAL" };
    OwnedRequest::from_args([name, body].into_iter().chain(request.args().skip(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_host() -> [NodeInstance; 0] {
        []
    }

    #[test]
    fn a_script_is_named_by_its_sha1() {
        let sha = Sha::of(b"return 1");
        assert_eq!(sha.as_bytes(), b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(Sha::named(b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), Some(sha));
        assert_eq!(Sha::named(b"e0e1"), None);
        assert_eq!(Sha::named(&[b'x'; 40]), None);
    }

    #[test]
    fn the_bodies_stay_within_their_bound_and_the_oldest_go_first() {
        let scripts = ScriptCache::new(3 * (OVERHEAD_BYTES + 1));
        for body in [b"a", b"b", b"c"] {
            scripts.learn(body, 0, no_host());
        }
        assert!(scripts.body(Sha::of(b"a")).is_some(), "it is used, so it stays");
        scripts.learn(b"d", 0, no_host());
        let known = |body: &[u8]| scripts.body(Sha::of(body)).is_some();
        assert!(known(b"a") && !known(b"b") && known(b"c") && known(b"d"));
        scripts.learn(&[b'x'; 4 * OVERHEAD_BYTES], 0, no_host());
        assert!(known(b"a") && known(b"c") && known(b"d"), "one that is too large drives nobody out");
    }

    #[test]
    fn only_so_many_nodes_are_remembered_to_have_a_script() {
        let (scripts, table) = (ScriptCache::new(10_000), crate::upstream::SlotTable::default());
        let host = |at: usize| NodeInstance {
            node: table.index_of(&crate::node::NodeId::new(format!("a:{at}"))),
            run_id: std::sync::Arc::from(at.to_string()),
        };
        for at in 0..=HOSTS_MAX {
            scripts.learn(b"a", 0, [host(at)]);
        }
        let sha = Sha::of(b"a");
        assert!(
            !scripts.is_on(sha, &host(0))
                && scripts.is_on(sha, &host(1))
                && scripts.is_on(sha, &host(HOSTS_MAX))
        );
        assert_eq!(scripts.known.lock().scripts[&sha].on.len(), HOSTS_MAX);
    }

    #[test]
    fn what_was_sent_before_a_flush_is_not_kept_after_it() {
        let scripts = ScriptCache::new(10_000);
        let before = scripts.flushes();
        scripts.learn(b"a", before, no_host());
        scripts.flush();
        assert_eq!(scripts.body(Sha::of(b"a")), None);
        scripts.learn(b"a", before, no_host());
        assert_eq!(scripts.body(Sha::of(b"a")), None);
    }

    #[test]
    fn only_so_many_strangers_are_remembered() {
        let scripts = ScriptCache::new(10_000);
        for number in 0..=UNKNOWN_MAX {
            scripts.note_unknown(Sha::of(number.to_string().as_bytes()), 0);
            assert!(scripts.known.lock().unknown.len() <= UNKNOWN_MAX);
        }
        let latest = Sha::of(UNKNOWN_MAX.to_string().as_bytes());
        assert!(!scripts.may_be_asked_for(latest, 0));
        assert!(scripts.may_be_asked_for(latest, UNKNOWN_NANOS_MAX));
    }
}
