//! RANDOMKEY: each key as likely as any other, wherever it is.

use bytes::Bytes;

use super::gather::is_null;
use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::protocol::resp::encode::null_reply;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::replies::{failure_reply, odd_reply};
use crate::upstream::Call;

/// Asks every primary for a key and for how many it has. There is no key only if all of them have none.
pub(in crate::router) fn random_key(context: &RouterContext, caller: Caller<'_>) -> Answer {
    let (resp, database) = (caller.resp, caller.inflight.database());
    let ask = |word| context.ask_every(&Call::question(encode::request(&[word])).on(database));
    let (sizes, keys) = (ask("DBSIZE"), ask("RANDOMKEY"));
    if keys.is_empty() {
        return Answer::Now(failure_reply(&context.upstream.no_topology()));
    }
    Answer::Later(Box::pin(async move {
        let (mut found, mut error) = (Vec::new(), None);
        for ((_, size), (_, key)) in sizes.into_iter().zip(keys) {
            let size = size.await.ok().and_then(|reply| cursor::integer(&reply.frame));
            match key.await {
                Ok(reply) if reply.frame.starts_with(b"-") => error = Some(reply.frame),
                Ok(reply) if is_null(&reply.frame) => {}
                Ok(reply) if reply.frame.first() != Some(&b'$') => {
                    error = Some(odd_reply("RANDOMKEY", &reply.frame));
                }
                // The size is from a moment before: a node that has a key counts, whatever it was.
                Ok(reply) => found.push((size.unwrap_or(1).max(1) as u64, reply.frame)),
                Err(failure) => error = Some(failure_reply(&failure)),
            }
        }
        let null = || Bytes::from_static(null_reply(resp));
        chosen(&found, fastrand::u64(..)).or(error).unwrap_or_else(null)
    }))
}

/// A key of `found`, the likelier the larger the node that it is from.
fn chosen(found: &[(u64, Bytes)], lot: u64) -> Option<Bytes> {
    let total = found.iter().fold(0, |total: u64, (size, _)| total.saturating_add(*size));
    let mut place = lot.checked_rem(total)?;
    found.iter().find_map(|(size, key)| {
        let is_here = place < *size;
        place = place.wrapping_sub(*size);
        is_here.then(|| key.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_a_node_the_likelier_its_key() {
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let found = [(1, a.clone()), (3, b.clone())];
        let keys: Vec<Bytes> = (0..4).filter_map(|lot| chosen(&found, lot)).collect();
        assert_eq!(keys, [a, b.clone(), b.clone(), b]);
        assert_eq!(chosen(&[], 7), None);
        let vast = [i64::MAX as u64; 3].map(|size| (size, Bytes::from_static(b"a")));
        assert!(chosen(&vast, u64::MAX - 1).is_some());
    }
}
