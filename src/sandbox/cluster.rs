//! A real cluster on loopback, formed by its own conversation with the nodes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::protocol::key::{SLOT_COUNT, Slot};

use super::directory::Sandbox;
use super::error::DevError;
use super::reply::Reply;
use super::server::Server;
use super::view::{Seen, field, view};
use super::wait;

/// What a cluster is to look like.
#[derive(Clone, Debug)]
pub struct ClusterShape {
    /// How many primaries share the slots.
    pub primaries: usize,
    /// How many replicas each of them has.
    pub replicas_each: usize,
    /// Arguments for every node, on top (`["--maxmemory", "1mb"]`).
    pub extra_args: Vec<String>,
    /// `cluster-node-timeout`: how long a node may be silent before the others call it failed.
    pub node_timeout: Duration,
    /// The server program; `None` is the program of all other servers.
    pub program: Option<PathBuf>,
}

/// A running cluster. Dropping it ends its nodes and removes their files.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

/// A node, primary or replica: which of the two may change while it runs.
#[derive(Debug)]
pub struct Node {
    id: String,
    server: Server,
}

/// The primaries by id, with the ranges of slots that each of them owns.
type Owners = Vec<(String, Vec<(u16, u16)>)>;

/// How long the nodes may take to find each other, or to agree after a change.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(20);

// === impl ClusterShape ===

impl Default for ClusterShape {
    fn default() -> ClusterShape {
        ClusterShape {
            primaries: 3,
            replicas_each: 1,
            extra_args: Vec::new(),
            node_timeout: Duration::from_secs(2),
            program: None,
        }
    }
}

// === impl Node ===

impl Node {
    /// The name that the cluster knows it by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its process.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

// === impl Cluster ===

impl Cluster {
    /// Starts the nodes, joins them, and returns once every one of them says that the cluster is whole.
    pub fn launch(shape: &ClusterShape) -> Result<Cluster, DevError> {
        let sandbox = Arc::new(Sandbox::new()?);
        let count = shape.primaries * (1 + shape.replicas_each);
        let arguments = node_arguments(shape);
        let nodes = (0..count).map(|_| {
            let server = Server::launch_program(&sandbox, shape.program.as_deref(), &arguments)?;
            let id = server.command(&["CLUSTER", "MYID"])?.text();
            Ok(Node { id, server })
        });
        let cluster = Cluster { nodes: nodes.collect::<Result<_, DevError>>()? };
        cluster.share_slots(shape.primaries)?;
        cluster.meet()?;
        cluster.attach_replicas(shape.primaries)?;
        cluster.wait_until_stable()?;
        Ok(cluster)
    }

    /// Every node, running or not.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The addresses of all nodes as `host:port,host:port`, as an upstream URL names them.
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> =
            self.nodes.iter().map(|node| node.server.address().to_string()).collect();
        addresses.join(",")
    }

    /// The nodes that own slots now.
    pub fn primaries(&self) -> Result<Vec<&Node>, DevError> {
        self.those(|seen| !seen.slots.is_empty())
    }

    /// The nodes that are replicas now.
    pub fn replicas(&self) -> Result<Vec<&Node>, DevError> {
        self.those(|seen| seen.primary.is_some())
    }

    /// The replicas of `primary`.
    pub fn replicas_of(&self, primary: &Node) -> Result<Vec<&Node>, DevError> {
        self.those(|seen| seen.primary.as_deref() == Some(primary.id()))
    }

    /// The node that owns `slot` now.
    pub fn owner_of(&self, slot: Slot) -> Result<&Node, DevError> {
        let owners = self.those(|seen| seen.owns(slot.number()))?;
        owners.first().copied().ok_or_else(|| DevError::NoNode(format!("that owns slot {slot}")))
    }

    /// The primaries, each with the keys of `keys` that it owns.
    pub fn by_owner<'k, K: AsRef<[u8]>>(&self, keys: &'k [K]) -> Result<Vec<(&Node, Vec<&'k K>)>, DevError> {
        let asked = self.first_running()?;
        let grouped = view(&asked.server)?.into_iter().filter_map(|seen| {
            let node = self.nodes.iter().find(|node| node.id == seen.id && !seen.slots.is_empty())?;
            Some((node, keys.iter().filter(|key| seen.owns(Slot::of(key.as_ref()).number())).collect()))
        });
        Ok(grouped.collect())
    }

    /// Asks `node` one command on a connection of its own. An error reply is an `Err`.
    pub fn command<A: AsRef<[u8]>>(&self, node: &Node, arguments: &[A]) -> Result<Reply, DevError> {
        node.server.command(arguments)
    }

    /// Makes `replica` the primary of its shard; returns once the running nodes agree. Where the old primary
    /// does not run, the replica does not wait for it.
    pub fn failover(&self, replica: &Node) -> Result<(), DevError> {
        let of = view(&replica.server)?
            .into_iter()
            .find(|seen| seen.id == replica.id)
            .and_then(|seen| seen.primary);
        let is_orderly =
            self.nodes.iter().any(|node| Some(&node.id) == of.as_ref() && node.server.is_running());
        let order: &[&str] =
            if is_orderly { &["CLUSTER", "FAILOVER"] } else { &["CLUSTER", "FAILOVER", "FORCE"] };
        replica.server.command(order)?;
        wait::until("the replica becomes a primary", SETTLE_LIMIT, || {
            let own = view(&replica.server)?.into_iter().find(|seen| seen.id == replica.id);
            Ok(if own.is_some_and(|own| !own.slots.is_empty()) {
                Ok(())
            } else {
                Err("a replica".to_owned())
            })
        })?;
        self.wait_until_stable()
    }

    /// Waits until every running node says that the cluster is whole, all of them name the same owners, and
    /// running replicas are connected to their primaries.
    pub fn wait_until_stable(&self) -> Result<(), DevError> {
        wait::until("all nodes agree on a whole cluster", SETTLE_LIMIT, || {
            let mut agreed: Option<Owners> = None;
            for node in self.running() {
                if let Err(seen) = is_whole(&node.server)? {
                    return Ok(Err(format!("{}: {seen}", node.server.address())));
                }
                let owners = owners(view(&node.server)?);
                if agreed.get_or_insert_with(|| owners.clone()) != &owners {
                    return Ok(Err(format!("{} names other owners: {owners:?}", node.server.address())));
                }
            }
            Ok(Ok(()))
        })
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.server.is_running())
    }

    fn first_running(&self) -> Result<&Node, DevError> {
        self.running().next().ok_or_else(|| DevError::NoNode("at all".to_owned()))
    }

    /// The nodes that fit, in the eyes of the first running node.
    fn those(&self, fits: impl Fn(&Seen) -> bool) -> Result<Vec<&Node>, DevError> {
        let asked = self.first_running()?;
        let seen = view(&asked.server)?;
        let fitting = |node: &&Node| seen.iter().any(|seen| seen.id == node.id && fits(seen));
        Ok(self.nodes.iter().filter(fitting).collect())
    }

    fn share_slots(&self, primaries: usize) -> Result<(), DevError> {
        for (number, node) in self.nodes.iter().take(primaries).enumerate() {
            let first = SLOT_COUNT * number / primaries;
            let last = SLOT_COUNT * (number + 1) / primaries - 1;
            node.server.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
            // Nodes that meet with equal epochs first have to decide which one changes.
            node.server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        }
        Ok(())
    }

    /// Each meets each, rather than waiting for gossip to carry the names around.
    fn meet(&self) -> Result<(), DevError> {
        for (number, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[number + 1..] {
                let address = other.server.address();
                let (host, port) = (address.ip().to_string(), address.port().to_string());
                node.server.command(&["CLUSTER", "MEET", &host, &port])?;
            }
        }
        self.until_each_knows("all nodes know each other", self.nodes.len(), |seen| !seen.has("handshake"))
    }

    fn attach_replicas(&self, primaries: usize) -> Result<(), DevError> {
        for (number, replica) in self.nodes[primaries..].iter().enumerate() {
            replica.server.command(&["CLUSTER", "REPLICATE", self.nodes[number % primaries].id()])?;
        }
        let replicas = self.nodes.len() - primaries;
        self.until_each_knows("all nodes know who is a replica", replicas, |seen| seen.primary.is_some())
    }

    /// Waits until every node knows `count` nodes that fit.
    fn until_each_knows(
        &self,
        what: &str,
        count: usize,
        fits: impl Fn(&Seen) -> bool,
    ) -> Result<(), DevError> {
        wait::until(what, SETTLE_LIMIT, || {
            for node in &self.nodes {
                let known = view(&node.server)?.iter().filter(|seen| fits(seen)).count();
                if known != count {
                    return Ok(Err(format!("{} knows {known}", node.server.address())));
                }
            }
            Ok(Ok(()))
        })
    }
}

fn node_arguments(shape: &ClusterShape) -> Vec<String> {
    let timeout = shape.node_timeout.as_millis().to_string();
    let own = [
        ("--cluster-enabled", "yes"),
        ("--cluster-config-file", "nodes.conf"),
        ("--cluster-node-timeout", &timeout),
        // A cluster of one node meets no other node from which it could learn its own address.
        ("--cluster-announce-ip", "127.0.0.1"),
        // Replicas of a throwaway cluster have nothing to wait for before they copy.
        ("--repl-diskless-sync-delay", "0"),
    ];
    let own = own.iter().flat_map(|&(name, value)| [name.to_owned(), value.to_owned()]);
    own.chain(shape.extra_args.iter().cloned()).collect()
}

/// Whether `server` sees all slots served and, being a replica, is connected to its primary; or what it sees.
fn is_whole(server: &Server) -> Result<Result<(), String>, DevError> {
    let cluster = server.command(&["CLUSTER", "INFO"])?.text();
    for (name, wanted) in [("cluster_state", "ok"), ("cluster_slots_ok", "16384")] {
        let value = field(&cluster, name).unwrap_or_default();
        if value != wanted {
            return Ok(Err(format!("{name}:{value}")));
        }
    }
    let replication = server.command(&["INFO", "replication"])?.text();
    Ok(match field(&replication, "master_link_status") {
        Some(status) if status != "up" => Err(format!("master_link_status:{status}")),
        _ => Ok(()),
    })
}

fn owners(seen: Vec<Seen>) -> Owners {
    let mut owners: Owners =
        seen.into_iter().filter(|node| !node.slots.is_empty()).map(|node| (node.id, node.slots)).collect();
    owners.sort();
    owners
}
