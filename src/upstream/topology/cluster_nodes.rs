//! What a node of a cluster says of itself in CLUSTER NODES: the slots that it owns, gives away and takes.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use super::address_map::AddressMap;
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::upstream::redirects::redirect::address;

/// The slots of one node, as the node itself reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// What it owns. A slot on its way to another node is still owned.
    pub owned: Vec<RangeInclusive<u16>>,
    /// The slots that it is giving away, and to which node.
    pub leaving: Vec<(Slot, NodeId)>,
    /// What it takes at the moment.
    pub arriving: Vec<Slot>,
    /// All nodes that it knows, each under every name that it gives.
    pub names: HashSet<NodeId>,
}

// === impl NodeView ===

impl NodeView {
    /// Reads the reply to CLUSTER NODES. Nodes are where the topology says that those with their ids are
    /// (`place_of`). One that it does not know is where this reply says; if it does not say its host,
    /// that is the host of `asked`, which gave it. `None` when it is none.
    pub(in crate::upstream) fn read(
        frame: &[u8],
        asked: &NodeId,
        map: &AddressMap,
        place_of: impl Fn(&str) -> Option<NodeId>,
    ) -> Option<NodeView> {
        let text = match cursor::head(frame)? {
            ReplyHead::Blob { kind: b'$', body } => body,
            ReplyHead::Blob { kind: b'=', body } => body.get(4..)?,
            _ => return None,
        };
        let text = std::str::from_utf8(text).ok()?;
        let lines = || text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let addresses: HashMap<&str, NodeId> = lines()
            .filter_map(|words| Some((*words.first()?, node_at(words.get(1)?, asked, map)?)))
            .collect();
        let own = lines()
            .find(|words| words.get(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself")))?;
        let names = lines().filter(|words| words.get(2).is_some_and(|flags| is_known(flags)));
        let names =
            names.filter_map(|words| words.get(1).copied()).flat_map(|text| names_of(text, asked, map));
        let mut view = NodeView { names: names.collect(), ..NodeView::default() };
        for word in own.iter().skip(8) {
            view.add(word, |id| place_of(id).or_else(|| addresses.get(id).cloned()));
        }
        Some(view)
    }

    /// Whether it owns `slot`.
    pub(in crate::upstream) fn owns(&self, slot: Slot) -> bool {
        self.owned.iter().any(|slots| slots.contains(&slot.number()))
    }

    /// Whether it is giving `slot` away.
    pub(in crate::upstream) fn is_leaving(&self, slot: Slot) -> bool {
        self.leaving.iter().any(|(leaving, _)| *leaving == slot)
    }

    /// Adds `5-9`, `12`, `[93->-id]` or `[77-<-id]`.
    fn add(&mut self, word: &str, place_of: impl Fn(&str) -> Option<NodeId>) {
        let slot = |number: &str| Slot::from_number(number.parse().ok()?);
        if let Some(moving) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
            if let Some((number, id)) = moving.split_once("->-") {
                let target = place_of(id).unwrap_or_else(|| NodeId::new("?"));
                self.leaving.extend(slot(number).map(|slot| (slot, target)));
            } else if let Some((number, _)) = moving.split_once("-<-") {
                self.arriving.extend(slot(number));
            }
            return;
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
            self.owned.push(first..=last);
        }
    }
}

/// The node at `host:port@bus,hostname`, whose host may be missing.
fn node_at(text: &str, asked: &NodeId, map: &AddressMap) -> Option<NodeId> {
    let text = text.split(['@', ',']).next()?;
    let (host, port) = text.rsplit_once(':')?;
    let host = if host.is_empty() { asked.address().rsplit_once(':')?.0 } else { host };
    address(host, port.parse().ok()?, asked, map)
}

/// The names of the node at `host:port@bus,hostname,field=value`.
fn names_of(text: &str, asked: &NodeId, map: &AddressMap) -> Vec<NodeId> {
    let hostname = text.split(',').nth(1).filter(|name| !name.is_empty() && !name.contains('='));
    let port = || text.split(['@', ',']).next()?.rsplit_once(':')?.1.parse().ok();
    let named = hostname.and_then(|host| address(host, port()?, asked, map));
    node_at(text, asked, map).into_iter().chain(named).collect()
}

/// Whether a node with these flags is part of the cluster: a node in handshake may be any server that CLUSTER
/// MEET named.
fn is_known(flags: &str) -> bool {
    !flags.split(',').any(|flag| matches!(flag, "handshake" | "noaddr"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_tells_of_its_slots() {
        let text = "ab 10.0.0.2:7001@17001,name master - 0 14 2 connected 0-4\n\
                    07 :7000@17000 myself,master - 0 14 3 connected 5-9 12 [12->-ab] [77-<-ab]\n\
                    cd 10.0.0.3:7001@17001,,shard-id=1 slave ab 0 14 2 connected\n\
                    ef 10.0.0.9:7001@17001 handshake - 0 14 0 disconnected\n";
        let frame = format!("={}\r\ntxt:{text}\r\n", text.len() + 4);
        let asked = NodeId::new("10.0.0.1:7000");
        let slot = |number| Slot::from_number(number).unwrap();
        let expected = NodeView {
            owned: vec![5..=9, 12..=12],
            leaving: vec![(slot(12), NodeId::new("10.0.0.2:7001"))],
            arriving: vec![slot(77)],
            names: ["10.0.0.1:7000", "10.0.0.2:7001", "name:7001", "10.0.0.3:7001"].map(NodeId::new).into(),
        };
        assert!(expected.owns(slot(12)) && expected.is_leaving(slot(12)) && !expected.owns(slot(10)));
        let map = AddressMap::default();
        assert_eq!(NodeView::read(frame.as_bytes(), &asked, &map, |_| None).as_ref(), Some(&expected));
        let place_of = |id: &str| (id == "ab").then(|| NodeId::new("name:7001"));
        let leaving = vec![(slot(12), NodeId::new("name:7001"))];
        let expected = NodeView { leaving, ..expected };
        assert_eq!(NodeView::read(frame.as_bytes(), &asked, &map, place_of), Some(expected));
        for other in [&b"-ERR no\r\n"[..], b"$2\r\nab\r\n", b"+OK\r\n"] {
            assert_eq!(NodeView::read(other, &asked, &map, |_| None), None);
        }
    }
}
