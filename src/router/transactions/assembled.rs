//! A transaction as it goes upstream: its bytes, and what is known of its keys.

use bytes::{BufMut, Bytes, BytesMut};

use super::part::ExecElement;
use crate::protocol::command::{Flags, TtlEffect};
use crate::router::coherence::inflight::InflightKeys;
use crate::router::forward::default_ttl::{DefaultTtl, DueKeys};
use crate::router::forward::multi_exec::{EXEC, MULTI};

/// A transaction as it goes upstream, as far as it was put together.
pub(super) struct AssembledTransaction {
    pub(super) out: BytesMut,
    /// How many commands are in it.
    pub(super) count: usize,
    /// What is to have a time to live behind it.
    pub(super) due: DueKeys,
    /// The keys that it may write, and those that it only reads.
    pub(super) written: InflightKeys,
    pub(super) read: InflightKeys,
    /// Whether it may write keys that it does not name.
    pub(super) opaque: bool,
    /// A command of it may have a long reply.
    pub(super) grows: bool,
    /// Whether it has SELECT, so that what follows is executed in another database.
    pub(super) selects: bool,
    /// Whether it has SWAPDB, so that all of L1 may be stale.
    pub(super) swaps: bool,
}

// === impl AssembledTransaction ===

impl AssembledTransaction {
    /// No part yet.
    pub(super) fn new() -> AssembledTransaction {
        let (written, read) = (InflightKeys::new(), InflightKeys::new());
        let (out, due) = (BytesMut::from(MULTI), DueKeys::new());
        AssembledTransaction {
            out,
            count: 0,
            due,
            written,
            read,
            opaque: false,
            grows: false,
            selects: false,
            swaps: false,
        }
    }

    /// Adds a part, if the server has to carry it out.
    pub(super) fn add(&mut self, default_ttl: &DefaultTtl, element: &ExecElement) {
        let ExecElement::Sent(part, _) = element else { return };
        let request = part.request.as_request();
        let (bytes, of_part) = default_ttl.apply(part.route, &request, part.request.bytes());
        self.out.put_slice(&bytes);
        self.count += 1;
        let keys = if part.only_reads() { &mut self.read } else { &mut self.written };
        keys.extend(part.route.keys_of(&request));
        self.opaque |= part.opaque;
        self.grows |= part.route.flags.has(Flags::GROWS);
        self.selects |= part.selects();
        self.swaps |= part.swaps();
        if self.selects {
            // The time to live is given in the database in which the transaction begins.
            return default_ttl.note_other_database(of_part.map_or(0, |due| due.len()));
        }
        // The last word on a key counts.
        if !self.due.is_empty() && matches!(part.route.ttl_effect, TtlEffect::Explicit | TtlEffect::Options) {
            for key in part.route.keys_of(&request) {
                self.due.remove(&key);
            }
        }
        self.due.extend(of_part.into_iter().flatten());
    }
}

/// The bytes of a transaction that is put together.
pub(super) fn ended(mut out: BytesMut) -> Bytes {
    out.put_slice(EXEC);
    out.freeze()
}
