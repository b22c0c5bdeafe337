//! What the user that the daemon is upstream may not do: learned from the nodes that refuse the daemon's own
//! commands.
//!
//! The daemon works without each of these rights, except for the feature that needs it. A refusal is logged
//! once, and shown in INFO and EXPLAIN until the node allows the command. docs/rights.md lists them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::clock::{self, Nanos};
use crate::node::NodeId;

/// What a node refused is asked for again after so long, where a client's request is the occasion.
const ASKED_AGAIN_AFTER: Nanos = 10_000_000_000;

macro_rules! rights {
    ($($(#[$meta:meta])* $name:ident = $command:literal, $without:literal;)*) => {
        /// The right to send one of the daemon's own commands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Right { $($(#[$meta])* $name,)* }

        impl Right {
            /// All of them.
            pub const ALL: &[Right] = &[$(Right::$name),*];

            /// The command.
            pub fn command(self) -> &'static str {
                match self { $(Right::$name => $command,)* }
            }

            /// What is missing without it, for the log.
            pub fn without(self) -> &'static str {
                match self { $(Right::$name => $without,)* }
            }
        }
    };
}

rights! {
    /// To get invalidations.
    Tracking = "CLIENT TRACKING", "L1 is off for the node";
    /// Not to get some of them.
    Caching = "CLIENT CACHING", "the node also tracks what policies keep out of L1";
    /// To see which process a node is.
    Info = "INFO", "a process is known by its connection, broadcast policies track by key, and INFO has no memory and keyspace";
    /// To stay where a node has no room for its clients.
    NoEvict = "CLIENT NO-EVICT", "the node may hang up on nearside where maxmemory-clients is reached";
    /// To see the limits of a node.
    ConfigGet = "CONFIG GET", "what the node hangs up on is not refused before it is sent";
    /// To see how long a reply may become.
    MemoryUsage = "MEMORY USAGE", "what may have a long reply takes a connection of its own where the node limits replies";
    /// To see whether the cluster is whole.
    ClusterInfo = "CLUSTER INFO", "L1 is off for the node";
    /// To check that a node is the one in the topology.
    MyId = "CLUSTER MYID", "a node is known by its address alone";
    /// To see which slots move.
    ClusterNodes = "CLUSTER NODES", "SCAN and KEYS may miss keys of slots that move meanwhile";
    /// To ask a slot that moves at the node that takes it.
    Asking = "ASKING", "keys of slots that move fail";
    /// To know how long a key lives.
    Pttl = "PTTL", "L1 keeps only what policies with mode capped cover";
    /// To know how long fields of hashes live.
    EvalRo = "EVAL_RO", "L1 keeps no replies about fields of hashes";
    /// To give keys a time to live.
    Pexpire = "PEXPIRE", "writes other than SET leave keys without the default_ttl of their policy";
    /// To walk over keys.
    Scan = "SCAN", "KEYS and SCAN are refused";
    /// To see the keys of a pinned namespace.
    KeysInSlot = "CLUSTER GETKEYSINSLOT", "a walk over a pinned namespace is one over all keys of its node";
    /// To learn of commands of modules.
    CommandInfo = "COMMAND INFO", "commands that nearside does not know are refused";
    /// To find functions.
    FunctionList = "FUNCTION LIST", "functions are not brought to nodes that lack them";
    /// To bring functions.
    FunctionLoad = "FUNCTION LOAD", "functions are not brought to nodes that lack them";
    /// To write something that changes nothing.
    FunctionRestore = "FUNCTION RESTORE", "WAIT and WAITAOF are refused after writes";
    /// To see that a node has lost a script.
    ScriptExists = "SCRIPT EXISTS", "EVALSHA of a script that a node has lost is answered with NOSCRIPT";
    /// To find scripts.
    ScriptShow = "SCRIPT SHOW", "EVALSHA finds only scripts that clients of this daemon have sent";
    /// To see that databases were swapped.
    LatencyHistogram = "LATENCY HISTOGRAM", "L1 does not notice that a script swaps databases";
    /// To end the wait of a client.
    ClientUnblock = "CLIENT UNBLOCK", "a blocked client is unblocked by what it waits for alone";
}

/// The rights that are missing.
#[derive(Debug, Default)]
pub struct Rights {
    missing: Mutex<BTreeMap<(NodeId, Right), Nanos>>,
    /// How many there are: nearly always none.
    count: AtomicUsize,
}

// === impl Rights ===

impl Rights {
    /// Takes note of what `node` answered to the command that needs `right`. Whether it refused it.
    pub fn judge(&self, node: &NodeId, right: Right, reply: &[u8]) -> bool {
        if !self.may_change(reply) {
            return false;
        }
        let refused = is_refusal(reply);
        let mut missing = self.missing.lock();
        match missing.entry((node.clone(), right)) {
            Entry::Vacant(entry) if refused => {
                entry.insert(clock::now());
                let (command, without) = (right.command(), right.without());
                tracing::warn!(%node, command, without, "upstream user lacks permission for a command of nearside's own");
            }
            Entry::Occupied(mut entry) if refused => drop(entry.insert(clock::now())),
            Entry::Occupied(entry) => {
                entry.remove();
                tracing::info!(%node, command = right.command(), "upstream user has permission for the command again");
            }
            Entry::Vacant(_) => {}
        }
        self.count.store(missing.len(), Ordering::Relaxed);
        refused
    }

    /// Whether [`Rights::judge`] would have anything to take note of: a refusal, or the end of one.
    #[inline]
    pub fn may_change(&self, reply: &[u8]) -> bool {
        reply.first() == Some(&b'-') || self.count.load(Ordering::Relaxed) > 0
    }

    /// Whether `node` has refused this a moment ago, so that it need not be asked now.
    pub fn is_missing(&self, node: impl FnOnce() -> Option<NodeId>, right: Right, now: Nanos) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let Some(node) = node() else { return false };
        self.missing.lock().get(&(node, right)).is_some_and(|since| now < since + ASKED_AGAIN_AFTER)
    }

    /// What is missing at which node.
    pub fn missing(&self) -> Vec<(NodeId, Right)> {
        self.missing.lock().keys().cloned().collect()
    }

    /// A node is no part of the upstream any more.
    pub(super) fn forget(&self, node: &NodeId) {
        let mut missing = self.missing.lock();
        missing.retain(|(of, _), _| of != node);
        self.count.store(missing.len(), Ordering::Relaxed);
    }
}

/// Whether a reply says that the command itself is not allowed, and not merely its key or channel. A script
/// says so of the commands in it.
pub(super) fn is_refusal(reply: &[u8]) -> bool {
    let says = |words: &[u8]| memchr::memmem::find(reply, words).is_some();
    reply.starts_with(b"-NOPERM") && (says(b" to run ") || says(b"can't run"))
        || reply.starts_with(b"-ERR") && says(b"ACL failure in script")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_refused_is_told_from_a_key_that_is() {
        for refusal in [
            "-NOPERM User app has no permissions to run the 'pttl' command\r\n",
            "-NOPERM this user has no permissions to run the 'pttl' command or its subcommand\r\n",
            "-NOPERM The user executing the script can't run this command or subcommand script: 5a\r\n",
            "-ERR ACL failure in script: User app has no permissions to run the 'pttl' command script: 5a\r\n",
        ] {
            assert!(is_refusal(refusal.as_bytes()), "{refusal}");
        }
        for other in [
            "-NOPERM No permissions to access a key\r\n",
            "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n",
            "-ERR unknown command 'PTTL'\r\n",
            "$7\r\n to run \r\n",
            ":5\r\n",
        ] {
            assert!(!is_refusal(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_missing_is_known_by_node_until_it_is_there() {
        let (rights, one, other) = (Rights::default(), NodeId::new("a:1"), NodeId::new("b:1"));
        let refusal = b"-NOPERM User app has no permissions to run the 'pttl' command\r\n";
        assert!(!rights.judge(&one, Right::Pttl, b":5\r\n"));
        assert!(rights.judge(&one, Right::Pttl, refusal));
        assert!(rights.judge(&other, Right::Info, refusal));
        assert_eq!(rights.missing(), [(one.clone(), Right::Pttl), (other.clone(), Right::Info)]);
        let now = clock::now();
        let is_missing = |node: &NodeId, now| rights.is_missing(|| Some(node.clone()), Right::Pttl, now);
        assert!(is_missing(&one, now) && !is_missing(&other, now));
        assert!(!is_missing(&one, now + ASKED_AGAIN_AFTER), "it is asked again");
        assert!(!rights.judge(&one, Right::Pttl, b":5\r\n"));
        rights.forget(&other);
        assert_eq!(rights.missing(), []);
    }
}
