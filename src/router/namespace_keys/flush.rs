//! FLUSHDB and FLUSHALL: the keys that a walk finds are removed in batches.
//!
//! Every key that was there at the beginning is gone at the end. A key that is written meanwhile may stay.
//! Each batch is a write like any other: L1 drops its keys before and after it, and the servers push their
//! invalidations.

use std::rc::Rc;

use bytes::Bytes;

use super::database_names::DatabaseNames;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{self, Join, Spec};
use crate::protocol::resp::reply::ok;
use crate::protocol::resp::request::OwnedRequest;
use crate::protocol::resp::{cursor, encode};
use crate::router::answer::ExclusiveEnd;
use crate::router::caller::OwnedCaller;
use crate::router::multi_key::commands::MultiKey;
use crate::router::replies::name_for_clients;
use crate::router::reply_bound::ReplyBound;
use crate::router::scan::names::NameWalk;
use crate::router::turns::AT_ONCE;

/// Bytes of names in one batch. A longer name is a batch of its own.
const BATCH_BYTES: usize = 64 * 1024;

/// The bound of a reply that is a number.
const ANY_REPLY: ReplyBound = ReplyBound { bytes: usize::MAX, name: "" };

/// A command that removes all keys with some names.
pub(super) struct KeyRemoval {
    pub(super) spec: &'static Spec,
    pub(super) names: DatabaseNames,
    pub(super) multi_key: Rc<MultiKey>,
    pub(super) caller: OwnedCaller,
}

// === impl KeyRemoval ===

impl KeyRemoval {
    /// Removes what `walk` finds; the reply.
    pub(super) async fn carry_out(self, mut walk: NameWalk) -> Bytes {
        let mut removed = 0;
        loop {
            let found = match walk.next().await {
                Ok(Some(found)) => found,
                Ok(None) => return ok(),
                Err(error) => return self.stopped(removed, error),
            };
            let own: Vec<Bytes> =
                found.into_iter().filter(|name| self.names.database_of(name).is_some()).collect();
            let mut rest = &own[..];
            while !rest.is_empty() {
                let (batch, behind) = rest.split_at(batch_length(rest));
                let reply = self.unlink(batch).await;
                match cursor::integer(&reply) {
                    Some(count) => removed += count,
                    None => return self.stopped(removed, reply),
                }
                rest = behind;
            }
        }
    }

    async fn unlink(&self, names: &[Bytes]) -> Bytes {
        let word = Bytes::from_static(b"UNLINK");
        let Some(spec) = command::numbered(command::number_of("unlink")) else { return Bytes::new() };
        let request = OwnedRequest::from_args(std::iter::once(&word).chain(names));
        let mut out = WriteQueue::default();
        let caller = self.caller.as_caller();
        let answer =
            self.multi_key.answer(spec, Join::Sum, &request.as_request(), caller, ANY_REPLY, &mut out);
        match answer.end(&mut out).await {
            ExclusiveEnd::Reply(reply) => reply,
            ExclusiveEnd::Sent(reply) => reply.await,
            ExclusiveEnd::Step => Bytes::new(),
        }
    }

    /// The error for a flush that stopped on `error`. If nothing is gone yet, that says all.
    fn stopped(&self, removed: i64, error: Bytes) -> Bytes {
        if removed == 0 {
            return error;
        }
        let (name, error) = (name_for_clients(self.spec), error.trim_ascii_end());
        let cause = String::from_utf8_lossy(error.strip_prefix(b"-").unwrap_or(error));
        encode::error_reply(format!(
            "ERR nearside: {name} has removed {removed} keys of the namespace, not all: {cause}"
        ))
    }
}

/// How many of the names are removed together.
fn batch_length(names: &[Bytes]) -> usize {
    let mut bytes = 0;
    let fits = |name: &&Bytes| {
        bytes += name.len();
        bytes <= BATCH_BYTES
    };
    names.iter().take(AT_ONCE).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_in_names_and_bytes() {
        let names = |count: usize, bytes: usize| vec![Bytes::from(vec![b'k'; bytes]); count];
        assert_eq!(batch_length(&names(1_000, 10)), AT_ONCE);
        assert_eq!(batch_length(&names(1_000, BATCH_BYTES / 4)), 4);
        assert_eq!(batch_length(&names(3, BATCH_BYTES * 2)), 1);
        assert_eq!(batch_length(&names(3, 10)), 3);
    }
}
