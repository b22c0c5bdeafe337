//! Topology requests: which nodes are asked, and which answer is believed.
//!
//! One node is asked for a while, then another one, so that no node answers all daemons. If it does not
//! answer at once the next is asked beside it, and so on: a silent node delays nothing. A node that the
//! cluster named may be another cluster's by now, if its address was given away. Its map is not believed
//! then; the configured names decide.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time;

use super::cluster_identity::ClusterIdentity;
use super::control::Control;
use super::map::SlotMap;
use super::sentinel;
use crate::node::NodeId;
use crate::upstream::conn::expected::ExpectedReplies;
use crate::upstream::options::{Deployment, TopologyOptions};
use crate::upstream::shared::SharedUpstream;
use crate::upstream::topology::node_numbers::NodeEntry;
use crate::upstream::truncate;

/// Nodes that are asked at a time.
const ASKED_AT_A_TIME: usize = 8;

/// The next node is asked when those before have not answered for this long.
const HEAD_START: Duration = Duration::from_millis(100);

/// Nodes that the cluster named which are asked before the configured names.
const NODES_FIRST: usize = 3;

/// Nodes that the cluster named which are asked at all before the attempt has failed.
const NODES_ASKED_MAX: usize = 16;

/// Answers of one node after which another one is asked.
const ANSWERS_OF_ONE: u32 = 12;

/// Asks for the topology, again and again.
pub(super) struct TopologyQuery {
    options: TopologyOptions,
    shared: Arc<SharedUpstream>,
    /// The connection to the node that answered last.
    present: Option<Control>,
    /// The nodes of the map that was believed last.
    members: Vec<NodeEntry>,
    identity: ClusterIdentity,
    /// The nodes that described another cluster the last time: each is logged once.
    unrecognised: HashSet<NodeId>,
}

/// A node to ask.
struct Candidate {
    node: NodeId,
    configured: bool,
    /// The connection, if there is one.
    present: Option<Control>,
}

/// The answer of a node.
struct CandidateAnswer {
    map: SlotMap,
    /// Why it may be wrong, if it may.
    doubt: Option<String>,
    control: Control,
}

/// The answers so far that are believed only if no better one comes.
#[derive(Default)]
struct QueryRound {
    /// The answer of a node that says that the cluster is not ok.
    doubtful: Option<CandidateAnswer>,
    /// The answer of a configured name that leads to another cluster now.
    elsewhere: Option<CandidateAnswer>,
    causes: Vec<String>,
}

// === impl TopologyQuery ===

impl TopologyQuery {
    pub(super) fn new(options: TopologyOptions, shared: Arc<SharedUpstream>) -> TopologyQuery {
        let (members, identity, unrecognised) = (Vec::new(), ClusterIdentity::default(), HashSet::new());
        TopologyQuery { options, shared, present: None, members, identity, unrecognised }
    }

    /// Whether a connection is open over which the topology is asked for.
    pub(super) fn is_connected(&self) -> bool {
        self.present.is_some()
    }

    /// The owners of the slots, from the first answer that is believed.
    pub(super) async fn ask(&mut self) -> Result<SlotMap, String> {
        if let Deployment::Single { address } = &self.options.deployment {
            return Ok(SlotMap::of_one(NodeId::new(address.as_str())));
        }
        let mut candidates = self.candidates().into_iter().peekable();
        let (options, shared) = (self.options.clone(), self.shared.clone());
        let (mut running, mut round) = (FuturesUnordered::new(), QueryRound::default());
        loop {
            if running.len() < ASKED_AT_A_TIME
                && let Some(candidate) = candidates.next()
            {
                running.push(ask_one(candidate, &options, &shared));
            }
            if running.is_empty() {
                return self.conclude(round);
            }
            let more = running.len() < ASKED_AT_A_TIME && candidates.peek().is_some();
            tokio::select! {
                Some((node, configured, answer)) = running.next() => {
                    if let Some(answer) = self.judge(&node, configured, answer, &mut round) {
                        return Ok(self.believe(answer));
                    }
                }
                () = time::sleep(HEAD_START), if more => {}
            }
        }
    }

    /// The nodes to ask, in order: the one that answered last, some of those that the cluster named, the
    /// configured names, more of those nodes.
    fn candidates(&mut self) -> Vec<Candidate> {
        let configured: &[String] = match &self.options.deployment {
            Deployment::Cluster { seeds } => seeds,
            Deployment::Sentinel { sentinels, .. } => sentinels,
            Deployment::Single { .. } => &[],
        };
        let mut configured: Vec<NodeId> = configured.iter().map(|seed| NodeId::new(&**seed)).collect();
        fastrand::shuffle(&mut configured);
        let mut present = self.present.take().filter(Control::is_quiet);
        let mut order = Vec::new();
        match &mut present {
            Some(control) if control.answers < ANSWERS_OF_ONE => order.push(control.node().clone()),
            Some(control) => control.answers = 0,
            None => {}
        }
        let mut nodes = self.named();
        let later = nodes.split_off(nodes.len().min(NODES_FIRST));
        order.extend(nodes.into_iter().chain(configured.iter().cloned()).chain(later));
        let mut seen = HashSet::new();
        order.retain(|node| seen.insert(node.clone()));
        let candidate = |node: NodeId| Candidate {
            configured: configured.contains(&node),
            present: present.take_if(|control| *control.node() == node),
            node,
        };
        order.into_iter().map(candidate).collect()
    }

    /// Some of the nodes that the cluster named, if they are to be asked: those that are known to be away
    /// come last.
    fn named(&self) -> Vec<NodeId> {
        if self.options.configured_only || !matches!(self.options.deployment, Deployment::Cluster { .. }) {
            return Vec::new();
        }
        let mut nodes: Vec<NodeId> = self.members.iter().map(|member| member.node.clone()).collect();
        fastrand::shuffle(&mut nodes);
        let away = self.shared.status.away();
        nodes.sort_by_key(|node| away.contains(node));
        nodes.truncate(NODES_ASKED_MAX);
        nodes
    }

    /// Gives an answer back that is believed at once, and keeps of another what is worth it.
    fn judge(
        &mut self,
        node: &NodeId,
        configured: bool,
        answer: Result<CandidateAnswer, String>,
        round: &mut QueryRound,
    ) -> Option<CandidateAnswer> {
        let cause = match answer {
            Err(cause) => cause,
            Ok(answer) if !self.identity.includes(&answer.map) => {
                if self.unrecognised.insert(node.clone()) {
                    tracing::warn!(
                        %node,
                        configured,
                        "the node describes another cluster, none of whose nodes was known: the configured names are \
                         asked first"
                    );
                }
                if configured {
                    round.elsewhere.get_or_insert(answer);
                }
                "it describes another cluster, none of whose nodes was known".to_owned()
            }
            Ok(mut answer) => match answer.doubt.take() {
                None => return Some(answer),
                Some(doubt) => {
                    round.doubtful.get_or_insert(answer);
                    doubt
                }
            },
        };
        round.causes.push(format!("{node}: {cause}"));
        None
    }

    /// What is believed when there is no answer without fault.
    fn conclude(&mut self, round: QueryRound) -> Result<SlotMap, String> {
        // When every node doubts itself, what they say is still the best there is: the nodes themselves
        // refuse what they do not serve, and no connection to them is trusted for L1.
        if let Some(answer) = round.doubtful {
            return Ok(self.believe(answer));
        }
        if let Some(answer) = round.elsewhere {
            tracing::warn!(
                node = %answer.control.node(),
                "the configured names lead to another cluster, which is used from now on"
            );
            return Ok(self.believe(answer));
        }
        Err(truncate::joined(&round.causes))
    }

    fn believe(&mut self, mut answer: CandidateAnswer) -> SlotMap {
        self.identity.believe(&answer.map);
        self.members.clone_from(&answer.map.members);
        self.unrecognised.retain(|node| self.members.iter().any(|member| member.node == *node));
        answer.control.answers += 1;
        self.present = Some(answer.control);
        answer.map
    }
}

/// Asks one node or Sentinel; returns it, whether it was configured, and its answer.
async fn ask_one(
    candidate: Candidate,
    options: &TopologyOptions,
    shared: &SharedUpstream,
) -> (NodeId, bool, Result<CandidateAnswer, String>) {
    let Candidate { node, configured, present } = candidate;
    let expected = match options.deployment {
        Deployment::Sentinel { .. } => ExpectedReplies::Sentinel,
        _ => ExpectedReplies::Node,
    };
    let asking = async {
        let mut control = match present {
            Some(present) => present,
            None => Control::open(&node, expected, &options.connection, shared).await?,
        };
        let (map, doubt) = match &options.deployment {
            Deployment::Sentinel { service, .. } => {
                let asked = control.ask([&sentinel::question(service)], &options.connection).await;
                let [reply] = asked.map_err(|cause| sentinel::refusal(&cause))?;
                (sentinel::read(&reply, &node, service, &options.connection.address_map)?, None)
            }
            _ => ask_cluster(&mut control, options).await?,
        };
        Ok(CandidateAnswer { map, doubt, control })
    };
    let answer = asking.await;
    (node, configured, answer)
}

/// What a node of a cluster says, and why it may be wrong, if it may.
async fn ask_cluster(
    control: &mut Control,
    options: &TopologyOptions,
) -> Result<(SlotMap, Option<String>), String> {
    let [info, slots] =
        control.ask([&["CLUSTER", "INFO"], &["CLUSTER", "SLOTS"]], &options.connection).await?;
    if let Some(error) = truncate::error_text(&slots) {
        let hint = if error.contains("cluster support disabled") {
            "; redis://HOST:PORT is the form for one server that is no cluster"
        } else {
            ""
        };
        return Err(format!("{error}{hint}"));
    }
    let map = SlotMap::read(&slots, control.node(), &options.connection.address_map)?;
    if map.owned.is_empty() {
        return Err("the node knows no slots".to_owned());
    }
    let info = String::from_utf8_lossy(&info);
    let ok = info.lines().any(|line| line.trim_start_matches("txt:") == "cluster_state:ok");
    // A user without the right to ask gets an error, which says nothing of the cluster.
    let doubt =
        (!ok && !info.starts_with('-')).then(|| "the node says that the cluster is not ok".to_owned());
    Ok((map, doubt))
}
