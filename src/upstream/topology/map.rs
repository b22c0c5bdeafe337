//! The owners of the slots as one node reports them: its answer to CLUSTER SLOTS, read whole or not at all.
//!
//! Four levels of the reply are read: ranges, the parts of a range, a node, and what else it says of itself.
//! What is nested deeper is stepped over without recursion, so no depth costs anything.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::node::NodeId;
use crate::protocol::key::SLOT_COUNT;
use crate::protocol::resp::cursor::{self, Elements, ReplyHead};
use crate::upstream::redirects::redirect::address;
use crate::upstream::topology::address_map::AddressMap;
use crate::upstream::topology::node_numbers::NodeEntry;

/// Nodes of one cluster, replicas too. Redis is made for a thousand.
const NODES_MAX: usize = 4096;

/// No id is longer: it has 40 digits.
const ID_BYTES_MAX: usize = 64;

/// The owners of the slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotMap {
    /// Slots and the node that owns them.
    pub owned: Vec<(RangeInclusive<u16>, NodeId)>,
    /// Every node, replicas too, each address once.
    pub members: Vec<NodeEntry>,
}

/// Takes the nodes of a map, each address once.
#[derive(Default)]
struct MapNodes {
    members: Vec<NodeEntry>,
    seen: HashSet<NodeId>,
}

// === impl SlotMap ===

impl SlotMap {
    /// The map of one server without a cluster.
    pub fn of_one(node: NodeId) -> SlotMap {
        let owned = vec![(0..=(SLOT_COUNT - 1) as u16, node.clone())];
        SlotMap { owned, members: vec![NodeEntry { node, id: None }] }
    }

    /// The ids of its nodes.
    pub(super) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members.iter().filter_map(|member| member.id.as_ref())
    }

    /// Reads the reply of `asked` to CLUSTER SLOTS. If anything in it cannot be, none of it is taken.
    ///
    /// # Errors The map is impossible; the text says why.
    pub(super) fn read(reply: &[u8], asked: &NodeId, addresses: &AddressMap) -> Result<SlotMap, String> {
        let wrong = |what: &str| format!("CLUSTER SLOTS has {what}");
        let unknown = || wrong("an unknown shape");
        let no_address = || wrong("a node that has no address");
        let (mut owned, mut members) = (Vec::new(), MapNodes::default());
        let mut given = vec![false; SLOT_COUNT];
        for range in items(reply).ok_or_else(unknown)? {
            let mut range = range.and_then(items).ok_or_else(unknown)?;
            let mut slot = || number(range.next()??);
            let (Some(first), Some(last)) = (slot(), slot()) else {
                return Err(wrong("a slot that is no number"));
            };
            if first > last || last >= SLOT_COUNT as u64 {
                return Err(wrong(&format!("slots {first} to {last}")));
            }
            let slots = first as u16..=last as u16;
            for given in &mut given[first as usize..=last as usize] {
                if std::mem::replace(given, true) {
                    return Err(wrong(&format!("slots {first} to {last}, one of them for the second time")));
                }
            }
            for (index, node) in range.enumerate() {
                let (node, id) =
                    node.and_then(|node| place(node, asked, addresses)).ok_or_else(no_address)?;
                if index == 0 {
                    owned.push((slots.clone(), node.clone()));
                }
                members.add(&node, id);
                if members.members.len() > NODES_MAX {
                    return Err(wrong(&format!(
                        "more than {NODES_MAX} nodes, which are too many (NODES_MAX)"
                    )));
                }
            }
        }
        Ok(SlotMap { owned, members: members.members })
    }
}

// === impl MapNodes ===

impl MapNodes {
    fn add(&mut self, node: &NodeId, id: Option<Arc<str>>) {
        if self.seen.insert(node.clone()) {
            self.members.push(NodeEntry { node: node.clone(), id });
        }
    }
}

/// The node of `[endpoint, port, id, what else there is]`, and its id.
///
/// No endpoint means the host of the node that was asked. An endpoint that is empty or `?` is not known by
/// the kind of name that is preferred there; the other names are in the last part, under `ip` and `hostname`.
fn place(node: &[u8], asked: &NodeId, addresses: &AddressMap) -> Option<(NodeId, Option<Arc<str>>)> {
    let mut parts = items(node)?;
    let endpoint = parts.next()??;
    let port = u16::try_from(number(parts.next()??)?).ok()?;
    let id = parts.next().flatten().and_then(text);
    let id = id.filter(|id| (1..=ID_BYTES_MAX).contains(&id.len())).map(Arc::from);
    let asked_host = || asked.address().rsplit_once(':').map(|(host, _)| host);
    let host = match cursor::head(endpoint)? {
        ReplyHead::Null { .. } => asked_host()?,
        _ => match text(endpoint)? {
            "" | "?" => parts.next().flatten().and_then(other_name).or_else(asked_host)?,
            host => host,
        },
    };
    Some((address(host, port, asked, addresses)?, id))
}

/// An address, or else a name, in what a node says of itself beside the endpoint that is preferred.
fn other_name(metadata: &[u8]) -> Option<&str> {
    let named = |wanted: &str| {
        let mut words = cursor::elements(metadata)?;
        while let (Some(Some(name)), Some(Some(value))) = (words.next(), words.next()) {
            if text(name) == Some(wanted) {
                return text(value).filter(|value| !matches!(*value, "" | "?"));
            }
        }
        None
    };
    named("ip").or_else(|| named("hostname"))
}

/// The elements of an array.
pub(super) fn items(reply: &[u8]) -> Option<Elements<'_>> {
    match cursor::head(reply)? {
        ReplyHead::Aggregate { kind: b'*', .. } => cursor::elements(reply),
        _ => None,
    }
}

/// A string of any form.
pub(super) fn text(reply: &[u8]) -> Option<&str> {
    let bytes = match cursor::head(reply)? {
        ReplyHead::Blob { kind: b'$', body } | ReplyHead::Line { kind: b'+', text: body } => body,
        ReplyHead::Blob { kind: b'=', body } => body.get(4..)?,
        _ => return None,
    };
    std::str::from_utf8(bytes).ok()
}

/// A number that is not negative, as an integer or as a string.
pub(super) fn number(reply: &[u8]) -> Option<u64> {
    match cursor::head(reply)? {
        ReplyHead::Line { kind: b':', text } => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => text(reply)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    fn array(items: &[String]) -> String {
        format!("*{}\r\n{}", items.len(), items.concat())
    }

    fn integer(number: i64) -> String {
        format!(":{number}\r\n")
    }

    fn node(host: &str, port: i64) -> String {
        array(&[bulk(host), integer(port), bulk(&format!("id-of-{port}"))])
    }

    fn range(first: i64, last: i64, nodes: &[String]) -> String {
        array(&[vec![integer(first), integer(last)], nodes.to_vec()].concat())
    }

    fn read(ranges: &[String]) -> Result<SlotMap, String> {
        SlotMap::read(array(ranges).as_bytes(), &asked(), &AddressMap::default())
    }

    fn asked() -> NodeId {
        NodeId::new("10.0.0.1:7000")
    }

    #[test]
    fn the_slots_are_read_and_every_node_once() {
        let (first, second, replica) = (node("10.0.0.1", 7000), node("", 7001), node("::1", 7002));
        let map = read(&[
            range(0, 8_191, &[first.clone(), replica.clone()]),
            range(8_192, 16_382, &[second, replica]),
            range(16_383, 16_383, &[first]),
        ]);
        let to = NodeId::new;
        let owned = vec![
            (0..=8_191, to("10.0.0.1:7000")),
            (8_192..=16_382, to("10.0.0.1:7001")),
            (16_383..=16_383, to("10.0.0.1:7000")),
        ];
        let member = |address: &str, id: &str| NodeEntry { node: NodeId::new(address), id: Some(id.into()) };
        let members = vec![
            member("10.0.0.1:7000", "id-of-7000"),
            member("[::1]:7002", "id-of-7002"),
            member("10.0.0.1:7001", "id-of-7001"),
        ];
        assert_eq!(map, Ok(SlotMap { owned, members }));
    }

    #[test]
    fn a_node_that_does_not_say_its_endpoint_is_found_by_what_else_it_says() {
        let (null, mark) = ("_\r\n".to_owned(), || bulk("?"));
        let with = |words: &[&str]| array(&words.iter().map(|word| bulk(word)).collect::<Vec<_>>());
        let as_map = format!("%1\r\n{}{}", bulk("ip"), bulk("10.0.0.7"));
        let cases = [
            (null, Some(with(&["ip", "10.0.0.7"])), "10.0.0.1:7001"),
            (mark(), Some(with(&["ip", "10.0.0.7"])), "10.0.0.7:7001"),
            (mark(), Some(as_map), "10.0.0.7:7001"),
            (mark(), Some(with(&["hostname", "b.example"])), "b.example:7001"),
            (mark(), Some(with(&["hostname", "b.example", "ip", "::7"])), "[::7]:7001"),
            (mark(), Some(with(&["ip", "", "hostname", "?"])), "10.0.0.1:7001"),
            (mark(), Some(with(&["ip"])), "10.0.0.1:7001"),
            (mark(), Some(integer(5)), "10.0.0.1:7001"),
            (mark(), None, "10.0.0.1:7001"),
            (bulk(""), Some(with(&["ip", "10.0.0.7"])), "10.0.0.7:7001"),
            (bulk("a.example"), Some(with(&["ip", "10.0.0.7"])), "a.example:7001"),
        ];
        for (endpoint, metadata, wanted) in cases {
            let node = [vec![endpoint, integer(7001), bulk("id")], metadata.into_iter().collect()].concat();
            let map = read(&[range(0, 5, &[array(&node)])]).unwrap();
            assert_eq!(map.owned, [(0..=5, NodeId::new(wanted))]);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_as_a_whole_and_said() {
        let one = || node("10.0.0.1", 7000);
        let fine = || range(0, 1, &[one()]);
        let deep = "*1\r\n".repeat(100_000) + ":1\r\n";
        let cases = [
            (range(5, 4, &[one()]), "slots 5 to 4"),
            (range(16_000, 16_384, &[one()]), "slots 16000 to 16384"),
            (range(-1, 4, &[one()]), "a slot that is no number"),
            (range(2, 70_000, &[one()]), "slots 2 to 70000"),
            (range(0, 16_383, &[one()]), "one of them for the second time"),
            (range(1, 2, &[one()]), "one of them for the second time"),
            (range(2, 4, &[bulk("node")]), "a node that has no address"),
            (range(2, 4, &[node("/run/other.sock", 1)]), "a node that has no address"),
            (range(2, 4, &[node("h", 70_000)]), "a node that has no address"),
            (range(2, 4, &[node("a\r\nb", 1)]), "a node that has no address"),
            (range(2, 4, &[node("a b", 1)]), "a node that has no address"),
            (integer(5), "unknown shape"),
            (bulk("range"), "unknown shape"),
            ("_\r\n".to_owned(), "unknown shape"),
            (array(&[]), "a slot that is no number"),
            (deep.clone(), "a slot that is no number"),
            (range(2, 4, std::slice::from_ref(&deep)), "a node that has no address"),
            (range(2, 4, &[array(&[deep, integer(1)])]), "a node that has no address"),
        ];
        for (bad, why) in cases {
            let said = read(&[fine(), bad]).unwrap_err();
            assert!(said.contains("CLUSTER SLOTS") && said.contains(why), "{said}");
        }
        for reply in ["+OK\r\n", "%1\r\n:1\r\n:2\r\n", "_\r\n", ":5\r\n", "$2\r\nab\r\n"] {
            let read = SlotMap::read(reply.as_bytes(), &asked(), &AddressMap::default());
            assert!(read.unwrap_err().contains("unknown shape"), "{reply}");
        }
    }

    #[test]
    fn as_many_ranges_as_there_are_slots_are_read() {
        let ranges: Vec<String> = (0..16_384).map(|slot| range(slot, slot, &[node("h", 1 + slot)])).collect();
        let said = read(&ranges).unwrap_err();
        assert!(said.contains("more than 4096 nodes"), "{said}");
        let ranges: Vec<String> =
            (0..16_384).map(|slot| range(slot, slot, &[node("h", 1 + slot % 9)])).collect();
        let map = read(&ranges).unwrap();
        assert_eq!((map.owned.len(), map.members.len()), (16_384, 9));
    }

    #[test]
    fn only_so_many_nodes_are_taken() {
        let replicas = |count: i64| (0..count).map(|number| node("h", 1 + number)).collect::<Vec<_>>();
        let most = NODES_MAX as i64;
        assert_eq!(read(&[range(0, 1, &replicas(most))]).unwrap().members.len(), NODES_MAX);
        let said = read(&[range(0, 1, &replicas(most + 1))]).unwrap_err();
        assert!(said.contains("more than 4096 nodes"), "{said}");
    }
}
