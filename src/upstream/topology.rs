//! Keeps the slot table true: who owns what, asked on a timer and whenever a connection has reason to doubt.
//!
//! This is fred's part, and the only file that names it: one client to one node (or sentinel) at a time, never more,
//! off the data path, each call under a deadline, and replaced when it misses one. It sees fixed shapes only, no
//! user's data. It is a client of one server even in a cluster: fred's own cluster client would open a connection to
//! every node, cannot be told which node to ask, and waits for dead ones.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::{Config, ServerConfig};
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use tokio::time::{self, Instant};

use super::SharedUpstream;
use super::backoff::Backoff;
use super::login::Login;
use super::options::Deployment;
use super::redirect::address;
use super::words;
use crate::key::{SLOT_COUNT, Slot};
use crate::node::NodeId;

/// What the topology needs to know.
#[derive(Clone, Debug)]
pub struct TopologyOptions {
    /// What is asked.
    pub deployment: Deployment,
    /// Who we are there.
    pub login: Login,
    /// How long one attempt at one node may take.
    pub attempt_timeout: Duration,
    /// How often it is asked without a reason.
    pub refresh_interval: Duration,
    /// How much time lies between two refreshes at least, whatever the reasons.
    pub refresh_gap_min: Duration,
    /// The first delay after a failed refresh.
    pub backoff_min: Duration,
    /// The longest such delay.
    pub backoff_max: Duration,
}

/// Nodes of one cluster, replicas too. Redis is made for a thousand.
const NODES_MAX: usize = 4096;

/// Slots and the node that owns them.
pub type Owned = Vec<(RangeInclusive<u16>, NodeId)>;

/// What the upstream says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// Who owns which slots.
    pub owned: Owned,
    /// Every node that is named, replicas too: nobody else is ever connected to.
    pub nodes: Vec<NodeId>,
}

/// Asks one node after another, and stays with the one that answered.
struct Asker {
    options: TopologyOptions,
    /// The client that answered last, and whom it is connected to.
    present: Option<(NodeId, Client)>,
    /// Whom else to ask: nodes that the upstream named, then those of the configuration.
    known: Vec<NodeId>,
}

/// Puts what was answered into the slot table, and says when to ask again.
struct Keeper<F> {
    shared: Arc<SharedUpstream>,
    refresh_interval: Duration,
    refresh_gap_min: Duration,
    backoff: Backoff,
    failing: bool,
    on_moved: F,
}

/// Fills the slot table and keeps it true, for as long as it is polled. `on_moved` is called with the slots that have
/// another owner than before, after the table says so.
pub async fn keep(options: TopologyOptions, shared: Arc<SharedUpstream>, on_moved: impl Fn(Vec<Slot>)) {
    let mut keeper = Keeper::new(&options, shared, on_moved);
    let mut asker = Asker { options, present: None, known: Vec::new() };
    loop {
        let (asked, began) = keeper.begin();
        let answer = asker.ask().await;
        keeper.shared.board.post_control(asker.present.is_some());
        keeper.take(asked, began, answer).await;
    }
}

/// The same, asking whoever `ask` asks: the nodes of the simulator are none that fred could reach.
pub async fn keep_by(
    options: TopologyOptions,
    shared: Arc<SharedUpstream>,
    mut ask: impl AsyncFnMut() -> Result<Map, String>,
    on_moved: impl Fn(Vec<Slot>),
) {
    let mut keeper = Keeper::new(&options, shared, on_moved);
    loop {
        let (asked, began) = keeper.begin();
        let answer = ask().await;
        keeper.take(asked, began, answer).await;
    }
}

// === impl Map ===

impl Map {
    /// That of one server.
    pub fn of_one(node: NodeId) -> Map {
        Map { owned: vec![(0..=(SLOT_COUNT - 1) as u16, node.clone())], nodes: vec![node] }
    }
}

// === impl Keeper ===

impl<F: Fn(Vec<Slot>)> Keeper<F> {
    fn new(options: &TopologyOptions, shared: Arc<SharedUpstream>, on_moved: F) -> Keeper<F> {
        Keeper {
            shared,
            refresh_interval: options.refresh_interval,
            refresh_gap_min: options.refresh_gap_min,
            backoff: Backoff::new(options.backoff_min, options.backoff_max),
            failing: false,
            on_moved,
        }
    }

    /// To be called before anybody is asked.
    fn begin(&self) -> (u64, Instant) {
        (self.shared.table.refresh_asked(), Instant::now())
    }

    /// Takes an answer to what was asked since `begin`, and waits until it is time to ask again.
    async fn take(&mut self, asked: u64, began: Instant, answer: Result<Map, String>) {
        let table = &self.shared.table;
        match answer {
            Ok(Map { owned, nodes }) => {
                let first = table.refreshes() == 0;
                let moved = table.replace(&owned, &nodes, asked);
                if first || self.failing {
                    let slots: usize = owned.iter().map(|(slots, _)| slots.len()).sum();
                    tracing::info!(slots, "the upstream is known");
                } else if !moved.is_empty() {
                    tracing::info!(slots = moved.len(), "slots have another owner");
                }
                (self.on_moved)(moved);
                self.failing = false;
                self.backoff.reset();
                let _ = time::timeout(self.refresh_interval, table.refresh_wanted()).await;
                time::sleep_until(began + self.refresh_gap_min).await;
            }
            Err(cause) => {
                if !self.failing {
                    tracing::warn!(
                        cause,
                        "the upstream cannot be asked who owns what; trying again and again"
                    );
                }
                self.failing = true;
                table.attempt_failed(cause);
                time::sleep(self.backoff.next_delay()).await;
            }
        }
    }
}

// === impl Asker ===

impl Asker {
    /// Who owns what, from whoever answers first.
    async fn ask(&mut self) -> Result<Map, String> {
        let Deployment::Single { address } = &self.options.deployment else { return self.ask_around().await };
        Ok(Map::of_one(NodeId::new(address.as_str())))
    }

    async fn ask_around(&mut self) -> Result<Map, String> {
        let mut causes = Vec::new();
        let mut doubtful = None;
        for node in self.candidates() {
            let attempt = time::timeout(self.options.attempt_timeout, self.ask_node(&node)).await;
            let cause = match attempt {
                Ok(Ok((map, None))) => return Ok(map),
                Ok(Ok((map, Some(doubt)))) => {
                    doubtful = doubtful.or(Some(map));
                    doubt
                }
                // It may be what the node said.
                Ok(Err(cause)) => words::cut(cause.as_bytes()),
                Err(_) => format!("no answer within {} ms", self.options.attempt_timeout.as_millis()),
            };
            causes.push(format!("{node}: {cause}"));
            self.present = None;
        }
        // When every node doubts itself, what they say is still the best there is: the nodes themselves refuse what
        // they do not serve, and no connection to them is trusted for L1.
        doubtful.ok_or_else(|| words::joined(&causes))
    }

    fn candidates(&self) -> Vec<NodeId> {
        let configured: &[String] = match &self.options.deployment {
            Deployment::Cluster { seeds } => seeds,
            Deployment::Sentinel { sentinels, .. } => sentinels,
            Deployment::Single { .. } => &[],
        };
        let present = self.present.iter().map(|(node, _)| node.clone());
        let all = present
            .chain(self.known.iter().cloned())
            .chain(configured.iter().map(|seed| NodeId::new(&**seed)));
        let mut seen = HashSet::new();
        all.filter(|node| seen.insert(node.clone())).collect()
    }

    /// What one node says, and why it may be wrong, if it may.
    async fn ask_node(&mut self, node: &NodeId) -> Result<(Map, Option<String>), String> {
        let client = self.client(node).await?;
        let result = match &self.options.deployment {
            Deployment::Sentinel { service, .. } => {
                ask_sentinel(&client, node, service).await.map(|map| (map, None))
            }
            _ => ask_cluster(&client, node, &mut self.known).await,
        };
        if result.is_ok() {
            self.present = Some((node.clone(), client));
        }
        result
    }

    async fn client(&mut self, node: &NodeId) -> Result<Client, String> {
        if let Some((_, client)) = self.present.take_if(|(present, _)| present == node) {
            return Ok(client);
        }
        let (host, port) = node.address().rsplit_once(':').ok_or("not an address")?;
        let port = port.parse().map_err(|_| "not a port".to_owned())?;
        let mut config = Config { server: ServerConfig::new_centralized(host, port), ..Config::default() };
        config.version = fred::types::RespVersion::RESP3;
        // The account is the data nodes'; sentinels have accounts of their own.
        if let (Some(credentials), Deployment::Cluster { .. }) =
            (self.options.login.present(), &self.options.deployment)
        {
            (config.username, config.password) = (credentials.username, Some(credentials.password));
        }
        let timeout = self.options.attempt_timeout;
        let client = Builder::from_config(config)
            .with_connection_config(|connection| {
                connection.connection_timeout = timeout;
                connection.internal_command_timeout = timeout;
                connection.max_command_attempts = 1;
            })
            .build()
            .map_err(|error| error.to_string())?;
        client.init().await.map_err(|error| {
            self.options.login.note(error.details());
            error.details().to_owned()
        })?;
        Ok(client)
    }
}

async fn ask_sentinel(client: &Client, asked: &NodeId, service: &str) -> Result<Map, String> {
    let command = CustomCommand::new_static("SENTINEL", ClusterHash::Random, false);
    let args = vec!["GET-MASTER-ADDR-BY-NAME", service];
    let reply: Value = client.custom(command, args).await.map_err(|error| error.to_string())?;
    let unknown = || format!("the sentinel knows no service {service:?}");
    let Value::Array(parts) = reply else { return Err(unknown()) };
    let master = endpoint(&parts, asked).ok_or_else(unknown)?;
    Ok(Map::of_one(master))
}

async fn ask_cluster(
    client: &Client,
    asked: &NodeId,
    known: &mut Vec<NodeId>,
) -> Result<(Map, Option<String>), String> {
    let info: String = client.cluster_info().await.map_err(|error| error.to_string())?;
    let slots: Value = client.cluster_slots().await.map_err(|error| error.to_string())?;
    let map = read_slots(&slots, asked)?;
    known.clone_from(&map.nodes);
    let ok = info.lines().any(|line| line.trim_start_matches("txt:") == "cluster_state:ok");
    let doubt = (!ok).then(|| "the node says that the cluster is not ok".to_owned());
    if map.owned.is_empty() {
        return Err("the node knows no slots".to_owned());
    }
    Ok((map, doubt))
}

/// Reads the reply of CLUSTER SLOTS: who owns what, and every node in it, replicas too. If anything in it cannot be, none
/// of it is taken.
fn read_slots(reply: &Value, asked: &NodeId) -> Result<Map, String> {
    let wrong = |what: &str| format!("CLUSTER SLOTS has {what}");
    let unknown = || wrong("an unknown shape");
    let Value::Array(ranges) = reply else { return Err(unknown()) };
    let (mut owned, mut count) = (Vec::new(), 0);
    let (mut nodes, mut seen) = (Vec::new(), HashSet::new());
    for range in ranges {
        let Value::Array(range) = range else { return Err(unknown()) };
        let number = |index: usize| range.get(index).and_then(Value::as_u64);
        let (Some(first), Some(last)) = (number(0), number(1)) else {
            return Err(wrong("a slot that is no number"));
        };
        if first > last || last >= SLOT_COUNT as u64 {
            return Err(wrong(&format!("slots {first} to {last}")));
        }
        let slots = first as u16..=last as u16;
        count += slots.len();
        if count > SLOT_COUNT {
            return Err(wrong(&format!("more than {SLOT_COUNT} slots")));
        }
        for (index, node) in range.iter().skip(2).enumerate() {
            let Value::Array(node) = node else { return Err(wrong("a node that has no address")) };
            let node = endpoint(node, asked).ok_or_else(|| wrong("a node that has no address"))?;
            if index == 0 {
                owned.push((slots.clone(), node.clone()));
            }
            if seen.insert(node.clone()) {
                nodes.push(node);
            }
            if nodes.len() > NODES_MAX {
                return Err(wrong(&format!("more than {NODES_MAX} nodes, which are too many (NODES_MAX)")));
            }
        }
    }
    Ok(Map { owned, nodes })
}

/// The node of `[host, port, …]`; a host that is not given is that of the node that was asked.
fn endpoint(parts: &[Value], asked: &NodeId) -> Option<NodeId> {
    let host = parts.first()?.as_string().filter(|host| !host.is_empty() && host != "?");
    let host = host.or_else(|| asked.address().rsplit_once(':').map(|(host, _)| host.to_owned()))?;
    let port = u16::try_from(parts.get(1)?.as_u64()?).ok()?;
    address(&host, port, asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: i64) -> Value {
        Value::Array(vec![Value::from(host), Value::from(port), Value::from("id")])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([vec![Value::from(first), Value::from(last)], nodes].concat())
    }

    fn read(ranges: Vec<Value>) -> Result<Map, String> {
        read_slots(&Value::Array(ranges), &NodeId::new("10.0.0.1:7000"))
    }

    #[test]
    fn the_slots_are_read_and_every_node_once() {
        let (first, second, replica) = (node("10.0.0.1", 7000), node("", 7001), node("::1", 7002));
        let ranges = vec![
            range(0, 8_191, vec![first.clone(), replica.clone()]),
            range(8_192, 16_382, vec![second, replica]),
            range(16_383, 16_383, vec![first]),
        ];
        let to = NodeId::new;
        let owned = vec![
            (0..=8_191, to("10.0.0.1:7000")),
            (8_192..=16_382, to("10.0.0.1:7001")),
            (16_383..=16_383, to("10.0.0.1:7000")),
        ];
        let nodes = vec![to("10.0.0.1:7000"), to("[::1]:7002"), to("10.0.0.1:7001")];
        assert_eq!(read(ranges), Ok(Map { owned, nodes }));
    }

    #[test]
    fn what_cannot_be_is_refused_as_a_whole_and_said() {
        let one = || node("10.0.0.1", 7000);
        let fine = || range(0, 1, vec![one()]);
        let cases = [
            (range(5, 4, vec![one()]), "slots 5 to 4"),
            (range(16_000, 16_384, vec![one()]), "slots 16000 to 16384"),
            (range(-1, 4, vec![one()]), "a slot that is no number"),
            (range(2, 70_000, vec![one()]), "slots 2 to 70000"),
            (range(0, 16_383, vec![one()]), "more than 16384 slots"),
            (range(2, 4, vec![Value::from("node")]), "a node that has no address"),
            (range(2, 4, vec![node("/run/other.sock", 1)]), "a node that has no address"),
            (range(2, 4, vec![node("h", 70_000)]), "a node that has no address"),
            (Value::from(5), "unknown shape"),
        ];
        for (bad, why) in cases {
            let said = read(vec![fine(), bad]).unwrap_err();
            assert!(said.contains("CLUSTER SLOTS") && said.contains(why), "{said}");
        }
    }

    #[test]
    fn only_so_many_nodes_are_taken() {
        let replicas = |count: i64| (0..count).map(|number| node("h", 1 + number)).collect::<Vec<_>>();
        let most = NODES_MAX as i64;
        assert_eq!(read(vec![range(0, 1, replicas(most))]).unwrap().nodes.len(), NODES_MAX);
        let said = read(vec![range(0, 1, replicas(most + 1))]).unwrap_err();
        assert!(said.contains("more than 4096 nodes"), "{said}");
    }
}
