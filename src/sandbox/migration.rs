//! Moving one slot from its owner to another node, in steps, so that tests can look in between.

use crate::protocol::key::Slot;

use super::cluster::{Cluster, Node, SETTLE_LIMIT};
use super::error::DevError;
use super::reply::Reply;
use super::view::view;
use super::wait;

/// A slot on the move: keys that are gone from the owner are answered with ASK.
#[derive(Debug)]
pub struct Migration<'a> {
    cluster: &'a Cluster,
    slot: Slot,
    from: &'a Node,
    to: &'a Node,
}

/// How many keys go in one MIGRATE.
const BATCH: usize = 100;

// === impl Cluster ===

impl Cluster {
    /// Opens the move of `slot` to `to`; no key has moved yet.
    pub fn begin_migration<'a>(&'a self, slot: Slot, to: &'a Node) -> Result<Migration<'a>, DevError> {
        let from = self.owner_of(slot)?;
        until_known(from, to)?;
        let number = slot.to_string();
        to.server().command(&["CLUSTER", "SETSLOT", &number, "IMPORTING", from.id()])?;
        from.server().command(&["CLUSTER", "SETSLOT", &number, "MIGRATING", to.id()])?;
        Ok(Migration { cluster: self, slot, from, to })
    }

    /// Moves `slot` and everything in it to `to`.
    pub fn migrate(&self, slot: Slot, to: &Node) -> Result<(), DevError> {
        self.begin_migration(slot, to)?.finish()
    }
}

/// Waits until the taker knows the giver's latest epoch. The taker claims the slot with an epoch above all
/// that it knows. If the giver's epoch were above that, an older message of the giver would take the slot
/// back, and no node would own it.
fn until_known(giver: &Node, taker: &Node) -> Result<(), DevError> {
    let epoch = |of: &Node, seen_by: &Node| -> Result<Option<u64>, DevError> {
        Ok(view(seen_by.server())?.iter().find(|seen| seen.id == of.id()).map(|seen| seen.epoch))
    };
    wait::until("the taker of a slot knows the epoch of its owner", SETTLE_LIMIT, || {
        let (own, known) = (epoch(giver, giver)?, epoch(giver, taker)?);
        Ok(if known >= own { Ok(()) } else { Err(format!("{known:?} of {own:?}")) })
    })
}

// === impl Migration ===

impl<'a> Migration<'a> {
    /// The node that gives the slot away.
    pub fn from(&self) -> &'a Node {
        self.from
    }

    /// The node that takes it.
    pub fn to(&self) -> &'a Node {
        self.to
    }

    /// Moves up to `count` keys; how many it moved.
    pub fn move_keys(&self, count: usize) -> Result<usize, DevError> {
        let listed = self.from.server().command(&[
            "CLUSTER",
            "GETKEYSINSLOT",
            &self.slot.to_string(),
            &count.to_string(),
        ])?;
        let keys: Vec<&[u8]> = listed.items().iter().filter_map(Reply::bytes).collect();
        if keys.is_empty() {
            return Ok(0);
        }
        let address = self.to.server().address();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut order: Vec<&[u8]> =
            vec![b"MIGRATE", host.as_bytes(), port.as_bytes(), b"", b"0", b"5000", b"KEYS"];
        order.extend(&keys);
        self.from.server().command(&order)?;
        Ok(keys.len())
    }

    /// Moves the remaining keys, then sets the new owner on all primaries: on the taker first, so that the
    /// slot always has an owner.
    pub fn finish(self) -> Result<(), DevError> {
        while self.move_keys(BATCH)? > 0 {}
        let number = self.slot.to_string();
        let order = ["CLUSTER", "SETSLOT", &number, "NODE", self.to.id()];
        self.to.server().command(&order)?;
        self.from.server().command(&order)?;
        for node in self.cluster.primaries()? {
            if node.server().is_running() && node.id() != self.to.id() && node.id() != self.from.id() {
                node.server().command(&order)?;
            }
        }
        Ok(())
    }
}
