//! Where nodes are reached that announce other addresses than those that lead to them from here: behind NAT,
//! in containers, at the far end of a tunnel.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::node::NodeId;

/// A host, and a port if the rule is about one endpoint and not about all of the host.
pub type AddressPattern = (String, Option<u16>);

/// Announced addresses, and the ones that lead there from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressMap {
    endpoints: HashMap<(String, u16), NodeId>,
    hosts: HashMap<String, String>,
}

// === impl AddressMap ===

impl AddressMap {
    /// The map of these rules, each from what is announced to what is reachable.
    pub fn new(rules: impl IntoIterator<Item = (AddressPattern, AddressPattern)>) -> AddressMap {
        let mut map = AddressMap::default();
        for ((announced, announced_port), (reachable, port)) in rules {
            match announced_port.zip(port) {
                Some((announced_port, port)) => {
                    map.endpoints.insert((plain(&announced), announced_port), at(&reachable, port));
                }
                None => {
                    map.hosts.insert(plain(&announced), reachable);
                }
            }
        }
        map
    }

    /// Where to go for a node that is announced to be at `host` and `port`. A rule about the endpoint wins
    /// over one about the host; where there is none, it is what it says.
    pub(in crate::upstream) fn reach(&self, host: &str, port: u16) -> NodeId {
        if self.endpoints.is_empty() && self.hosts.is_empty() {
            return at(host, port);
        }
        let name = plain(host);
        let endpoint = self.endpoints.get(&(name.clone(), port)).cloned();
        endpoint.unwrap_or_else(|| at(self.hosts.get(&name).map_or(host, String::as_str), port))
    }
}

/// The normal form of a host: names know no case, and an IPv6 address is written in many ways.
fn plain(host: &str) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().map_or_else(|_| bare.to_ascii_lowercase(), |address| address.to_string())
}

/// IPv6 addresses get their brackets.
fn at(host: &str, port: u16) -> NodeId {
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    NodeId::new(if bare_ipv6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rules: &[(&str, Option<u16>, &str, Option<u16>)]) -> AddressMap {
        AddressMap::new(rules.iter().map(|(announced, from, reachable, to)| {
            (((*announced).to_owned(), *from), ((*reachable).to_owned(), *to))
        }))
    }

    #[test]
    fn an_endpoint_wins_over_its_host_and_both_over_what_is_announced() {
        let map = map(&[
            ("10.0.0.1", Some(6379), "127.0.0.1", Some(7001)),
            ("10.0.0.1", None, "gate.example", None),
            ("Node-2.invalid", None, "::1", None),
            ("fd00::0:3", Some(6379), "127.0.0.1", Some(7003)),
        ]);
        let cases = [
            ("10.0.0.1", 6379, "127.0.0.1:7001"),
            ("10.0.0.1", 6380, "gate.example:6380"),
            ("node-2.INVALID", 6379, "[::1]:6379"),
            ("fd00::3", 6379, "127.0.0.1:7003"),
            ("[fd00::3]", 6379, "127.0.0.1:7003"),
            ("fd00::3", 1, "[fd00::3]:1"),
            ("10.0.0.4", 6379, "10.0.0.4:6379"),
            ("127.0.0.1", 7001, "127.0.0.1:7001"),
        ];
        for (host, port, wanted) in cases {
            assert_eq!(map.reach(host, port), NodeId::new(wanted));
        }
        assert_eq!(AddressMap::default().reach("::1", 1), NodeId::new("[::1]:1"));
    }
}
