//! What one node says about its cluster: CLUSTER NODES, read.

use super::error::DevError;
use super::server::Server;

/// A node, as another sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: String,
    /// `master`, `slave`, `handshake`, `fail` and so on.
    pub(super) flags: Vec<String>,
    /// The id of its primary, if it is a replica.
    pub(super) primary: Option<String>,
    /// Its configuration epoch: of two that claim a slot, the one with the higher has it.
    pub(super) epoch: u64,
    /// The slots it owns, first and last of each range.
    pub(super) slots: Vec<(u16, u16)>,
}

// === impl Seen ===

impl Seen {
    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|one| one == flag)
    }

    pub(super) fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|&(first, last)| (first..=last).contains(&slot))
    }

    /// Reads a line: `id address flags primary ping pong epoch link slot...`. A slot in brackets is moving,
    /// and still belongs to the node that lists it without brackets.
    fn parse(line: &str) -> Option<Seen> {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, _address, flags, primary, _ping, _pong, epoch, _link, slots @ ..] = words.as_slice() else {
            return None;
        };
        Some(Seen {
            id: (*id).to_owned(),
            flags: flags.split(',').map(str::to_owned).collect(),
            primary: (*primary != "-").then(|| (*primary).to_owned()),
            epoch: epoch.parse().ok()?,
            slots: slots.iter().filter_map(|range| parse_range(range)).collect(),
        })
    }
}

/// The cluster as `server` sees it.
pub(super) fn view(server: &Server) -> Result<Vec<Seen>, DevError> {
    Ok(server.command(&["CLUSTER", "NODES"])?.text().lines().filter_map(Seen::parse).collect())
}

/// A line `name:value` of CLUSTER INFO or INFO.
pub(super) fn field(info: &str, name: &str) -> Option<String> {
    info.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.to_owned()))
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cluster_nodes_is_read() {
        let seen =
            Seen::parse("07c3 127.0.0.1:1@2,h myself,master - 0 14 2 connected 5-9 12 [93->-ab] [77-<-cd]");
        let seen = seen.unwrap();
        assert!(seen.has("myself") && seen.has("master") && seen.primary.is_none());
        assert_eq!(seen.epoch, 2);
        assert!(seen.owns(5) && seen.owns(9) && seen.owns(12));
        assert!(!seen.owns(10) && !seen.owns(93) && !seen.owns(77));
        assert!(Seen::parse("").is_none());
    }
}
