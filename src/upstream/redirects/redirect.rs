//! MOVED and ASK: a node names another node to ask.

use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::upstream::topology::address_map::AddressMap;

/// Where a node sends a command on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The slot that it is about.
    pub slot: Slot,
    /// The node to ask.
    pub node: NodeId,
    /// ASK: the slot is on its way to the node, and ASKING must go before the command there. Otherwise,
    /// MOVED, the slot belongs to the node now.
    pub asking: bool,
}

/// No name of a host is longer. It is repeated in the log and to clients.
const HOST_BYTES_MAX: usize = 255;

/// Reads an error reply (`-MOVED 3999 127.0.0.1:6381`) as a redirect. A node that does not say its host
/// (`-MOVED 3999 :6381`) has the host of `asked`. Values that merely look like one are not error replies.
pub(in crate::upstream) fn parse(frame: &[u8], asked: &NodeId, map: &AddressMap) -> Option<Redirect> {
    let line = frame.strip_prefix(b"-")?.strip_suffix(b"\r\n")?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let kind = words.next()?;
    if kind != "MOVED" && kind != "ASK" {
        return None;
    }
    let slot = Slot::from_number(words.next()?.parse().ok()?)?;
    let (host, port) = words.next()?.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = match host {
        "" | "?" => asked.address().rsplit_once(':')?.0,
        host => host,
    };
    let node = address(host, port, asked, map)?;
    Some(Redirect { slot, node, asking: kind == "ASK" })
}

/// The node that `asked` says is at this host and port, where `map` says that it is reached, if we may go
/// there.
///
/// No server is at a host with an impossible name. What begins with `/` would be a Unix socket of this
/// machine. Those are named by the configuration, or by a server that is on one itself.
pub(in crate::upstream) fn address(
    host: &str,
    port: u16,
    asked: &NodeId,
    map: &AddressMap,
) -> Option<NodeId> {
    let is_socket = host.starts_with('/') && !asked.address().starts_with('/');
    let is_name = |byte: u8| byte.is_ascii_graphic();
    if is_socket || host.len() > HOST_BYTES_MAX || !host.bytes().all(is_name) {
        return None;
    }
    Some(map.reach(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_read_and_nothing_else_is() {
        let asked = NodeId::new("10.0.0.1:7000");
        let slot = Slot::from_number(3999).unwrap();
        let to = |address: &str, asking| Some(Redirect { slot, node: NodeId::new(address), asking });
        let longest = "h".repeat(HOST_BYTES_MAX);
        let (long, too_long) =
            (format!("-MOVED 3999 {longest}:1\r\n"), format!("-ASK 3999 {longest}h:1\r\n"));
        let cases: [(&[u8], Option<Redirect>); 13] = [
            (b"-MOVED 3999 10.0.0.2:7001\r\n", to("10.0.0.2:7001", false)),
            (b"-ASK 3999 10.0.0.2:7001\r\n", to("10.0.0.2:7001", true)),
            (b"-MOVED 3999 :7001\r\n", to("10.0.0.1:7001", false)),
            (b"-MOVED 3999 ::1:7001\r\n", to("[::1]:7001", false)),
            (b"-MOVED 99999 10.0.0.2:7001\r\n", None),
            (b"-MOVED 3999 /run/other.sock:1\r\n", None),
            (b"-MOVED 3999 10.0.0.2\x1b[2J:7001\r\n", None),
            (long.as_bytes(), to(&format!("{longest}:1"), false)),
            (too_long.as_bytes(), None),
            (b"-MOVED\r\n", None),
            (b"-ERR MOVED 3999 10.0.0.2:7001\r\n", None),
            (b"+MOVED 3999 10.0.0.2:7001\r\n", None),
            (b"$9\r\nASK 1 h:p\r\n", None),
        ];
        for (frame, expected) in cases {
            assert_eq!(parse(frame, &asked, &AddressMap::default()), expected, "{}", frame.escape_ascii());
        }
    }
}
