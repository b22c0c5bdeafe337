//! The answer of a Sentinel: which server is the master of a service.

use super::map::{SlotMap, items, number, text};
use crate::node::NodeId;
use crate::upstream::redirects::redirect::address;
use crate::upstream::topology::address_map::AddressMap;
use crate::upstream::truncate;

/// What a Sentinel is asked.
pub(super) fn question(service: &str) -> [&str; 3] {
    ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service]
}

/// Why a Sentinel refused us, and what would help.
pub(super) fn refusal(cause: &str) -> String {
    let hint = if cause.starts_with("NOAUTH") {
        "; the Sentinel wants a password: sentinel_password_file, with sentinel_username if it has users (those of upstream are \
         for the servers alone)"
    } else if cause.starts_with("WRONGPASS") {
        "; it is the Sentinel that refuses sentinel_username and sentinel_password_file"
    } else {
        ""
    };
    format!("{cause}{hint}")
}

/// Reads its answer: the master owns all slots.
///
/// # Errors The Sentinel names no master; the text says why.
pub(super) fn read(
    reply: &[u8],
    asked: &NodeId,
    service: &str,
    addresses: &AddressMap,
) -> Result<SlotMap, String> {
    if let Some(error) = truncate::error_text(reply) {
        return Err(refusal(&error));
    }
    let master = || {
        let mut parts = items(reply)?;
        let host = text(parts.next()??).filter(|host| !host.is_empty())?;
        let port = u16::try_from(number(parts.next()??)?).ok()?;
        address(host, port, asked, addresses)
    };
    let master = master().ok_or_else(|| format!("the Sentinel knows no service {service:?}"))?;
    Ok(SlotMap::of_one(master))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(reply: &[u8]) -> Result<SlotMap, String> {
        read(reply, &NodeId::new("10.0.0.9:26379"), "main", &AddressMap::default())
    }

    #[test]
    fn the_master_owns_every_slot() {
        let map = read_from(b"*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n").unwrap();
        assert_eq!(map.owned, [(0..=16_383, NodeId::new("10.0.0.1:6379"))]);
        let map = read_from(b"*2\r\n$3\r\n::1\r\n$4\r\n6379\r\n").unwrap();
        assert_eq!(map.owned, [(0..=16_383, NodeId::new("[::1]:6379"))]);
    }

    #[test]
    fn what_names_no_master_is_said() {
        let nobody: [&[u8]; 8] = [
            b"_\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"+OK\r\n",
            b"*1\r\n$8\r\n10.0.0.1\r\n",
            b"*2\r\n$8\r\n10.0.0.1\r\n$5\r\n70000\r\n",
            b"*2\r\n$0\r\n\r\n$4\r\n6379\r\n",
            b"*2\r\n*1\r\n$1\r\na\r\n$4\r\n6379\r\n",
        ];
        for reply in nobody {
            let said = read_from(reply).unwrap_err();
            assert!(said.contains("knows no service \"main\""), "{said}");
        }
        assert_eq!(read_from(b"-ERR no\r\n").unwrap_err(), "ERR no");
    }
}
