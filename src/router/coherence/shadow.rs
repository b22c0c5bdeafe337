//! Shadow verification: some of the hits are asked upstream as well, behind the client's back, and compared.
//!
//! A difference alone is no mismatch: the key may have changed a moment ago. It is one if L1 would still
//! serve the entry a whole lease later. By then a heartbeat that was sent after the reply was answered over
//! the connection of the entry, and all earlier pushes have arrived: so the key had changed, and no
//! invalidation was pushed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task;
use tokio::time;

use crate::cache::Sample;
use crate::clock;
use crate::protocol::command::{self, Flags};
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::cursor;
use crate::protocol::resp::request::OwnedRequest;
use crate::router::context::{RouterCache, RouterContext};
use crate::upstream::Call;

/// Samples that are being verified at a time; more are passed over.
const OUTSTANDING_MAX: usize = 256;

/// A lease that begins now is over by then, for certain.
const SLACK: Duration = Duration::from_millis(50);

/// Verifies samples of hits.
#[derive(Debug)]
pub(in crate::router) struct ShadowVerifier {
    context: Rc<RouterContext>,
}

// === impl ShadowVerifier ===

impl ShadowVerifier {
    /// Compares L1 with the upstream of `context`.
    pub(in crate::router) fn new(context: Rc<RouterContext>) -> Rc<ShadowVerifier> {
        Rc::new(ShadowVerifier { context })
    }

    /// Verifies what the near cache samples. Does not end by itself.
    pub(in crate::router) async fn run(self: Rc<ShadowVerifier>, lease: Duration) {
        let Some(cache) = &self.context.cache else { return };
        let outstanding = Rc::new(Cell::new(0));
        loop {
            let sample = cache.next_sample().await;
            if outstanding.get() >= OUTSTANDING_MAX {
                self.context.stats.shadow_skipped.add(1);
                continue;
            }
            outstanding.update(|count| count + 1);
            let (this, outstanding) = (self.clone(), outstanding.clone());
            task::spawn_local(async move {
                if let Some(cache) = &this.context.cache {
                    this.verify(cache, sample, lease).await;
                }
                outstanding.update(|count| count - 1);
            });
        }
    }

    async fn verify(self: &Rc<ShadowVerifier>, cache: &RouterCache, sample: Sample, lease: Duration) {
        let arguments =
            std::iter::once(sample.command.name().as_bytes()).chain(cursor::strings(&sample.tail));
        let bytes = OwnedRequest::from_args(arguments).bytes();
        let slot = Slot::of(sample.key());
        // This reply is not kept, so it needs no tracking.
        let call = Call::new(sample.command.database(), KeySlots::One(slot), bytes, true);
        let sent = self.context.upstream.send_untracked(Some(slot), call);
        let reply = match sent.reply.await {
            Ok(Ok(reply)) if !reply.rerouted && !reply.frame.starts_with(b"-") => reply.frame,
            _ => {
                self.context.stats.shadow_skipped.add(1);
                return;
            }
        };
        let spec = command::cached(sample.command.command());
        let is_unordered = spec.is_some_and(|spec| spec.flags.has(Flags::UNORDERED));
        if is_same(is_unordered, &reply, &sample.served) {
            self.context.stats.shadow_verified.add(1);
            return;
        }
        time::sleep(lease + SLACK).await;
        if !cache.is_still_served(&sample, clock::now()) {
            self.context.stats.shadow_changed.add(1);
            return;
        }
        self.context.stats.shadow_mismatches.add(1);
        let key = sample.key().escape_ascii().to_string();
        tracing::error!(
            key,
            command = sample.command.name(),
            "shadow: what was served is not what the server has, and nothing was heard of a change; the entry is dropped"
        );
        cache.shared().note_mismatch(sample.key());
    }
}

/// Whether two replies to one command say the same, in any order if it `is_unordered`.
fn is_same(is_unordered: bool, one: &Bytes, other: &Bytes) -> bool {
    if one == other {
        return true;
    }
    let sorted = |reply: &'_ Bytes| -> Option<Vec<Vec<u8>>> {
        let mut elements: Vec<Vec<u8>> = cursor::elements(reply)?.flatten().map(<[u8]>::to_vec).collect();
        elements.sort_unstable();
        Some(elements)
    };
    is_unordered && sorted(one).is_some_and(|elements| sorted(other) == Some(elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_order_that_means_nothing_is_passed_over() {
        let two = |one: &str, other: &str| Bytes::from(format!("*2\r\n$1\r\n{one}\r\n$1\r\n{other}\r\n"));
        assert!(is_same(false, &two("a", "b"), &two("a", "b")));
        assert!(!is_same(false, &two("a", "b"), &two("b", "a")));
        assert!(is_same(true, &two("a", "b"), &two("b", "a")));
        assert!(!is_same(true, &two("a", "b"), &two("a", "c")));
        assert!(!is_same(true, &Bytes::from_static(b"_\r\n"), &two("a", "b")));
    }
}
