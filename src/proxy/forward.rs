//! Commands that go to the node of their keys as they are, and come back as they are.

use std::rc::Rc;

use bytes::Bytes;

use super::{Answer, Caller, Proxy, Route, render, stopped};
use crate::command::Flags;
use crate::invalidation::Invalidation;
use crate::key::Slot;
use crate::resp::encode;
use crate::resp::request::Request;
use crate::upstream::Call;

/// Redis Cluster's own words.
pub(super) const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";

// === impl Proxy ===

impl Proxy {
    /// Forwards a command that touches the keys that it names and no others.
    pub(super) fn forward<'a>(
        self: &'a Rc<Proxy>,
        route: Route,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer<'a> {
        let slot = match self.slot_of(route, request) {
            Ok(slot) => slot,
            Err(reply) => return Answer::Now(Bytes::from_static(reply)),
        };
        let write = route.flags.has(Flags::WRITE).then(|| self.begin_write(keys_of(route, request), caller));
        let request = request.to_owned();
        let call = Call { bytes: request.bytes(), slot, reads_only: route.flags.has(Flags::READ) };
        let sent = match slot {
            Some(slot) => self.upstream.send(slot, call),
            None => self.upstream.send_any(call),
        };
        let resp = caller.resp;
        Answer::Later(Box::pin(async move {
            let outcome = sent.reply.await.unwrap_or_else(stopped);
            // Before the reply leaves, its keys are dropped once more (I6).
            drop(write);
            render(outcome, route.form, &request, resp)
        }))
    }

    /// Forwards a script, or a command that only a module knows: it may write keys that it does not name.
    ///
    /// The pushes that it causes come after its own reply, so that is held back until a PING sent behind it was
    /// answered. Other workers have connections of their own, whose pushes nothing here waits for: they forget all.
    pub(super) fn opaque<'a>(
        self: &'a Rc<Proxy>,
        route: Route,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer<'a> {
        let slot = match self.slot_of(route, request) {
            Ok(slot) => slot,
            Err(reply) => return Answer::Now(Bytes::from_static(reply)),
        };
        let write = self.begin_write(keys_of(route, request), caller).of_anything();
        let request = request.to_owned();
        let fence = Call { bytes: encode::request(&["PING"]), slot: None, reads_only: true };
        let call = Call { bytes: request.bytes(), slot, reads_only: false };
        let (sent, fence) = match slot {
            Some(slot) => (self.upstream.send(slot, call), self.upstream.send(slot, fence)),
            None => self.upstream.send_any_pair(call, fence),
        };
        let (proxy, resp) = (self.clone(), caller.resp);
        Answer::Later(Box::pin(async move {
            let outcome = sent.reply.await.unwrap_or_else(stopped);
            let fenced = fence.reply.await.is_ok_and(|fenced| fenced.is_ok());
            let rerouted = outcome.as_ref().is_ok_and(|reply| reply.rerouted);
            if !fenced || rerouted || !proxy.settings.alone {
                proxy.invalidate_all();
            }
            drop(write);
            render(outcome, route.form, &request, resp)
        }))
    }

    pub(super) fn invalidate_all(&self) {
        if let Some(cache) = &self.cache {
            cache.shared().invalidate(&Invalidation::All, &self.stats);
        }
    }

    /// The slot of all keys; `None` when there are none, or the arguments are so broken that they cannot be told:
    /// then any node answers with the error that they deserve.
    pub(super) fn slot_of(&self, route: Route, request: &Request<'_>) -> Result<Option<Slot>, &'static [u8]> {
        let Ok(positions) = route.keys.positions(request) else { return Ok(None) };
        let mut slots = positions.map(|position| Slot::of(request.arg(position)));
        let Some(first) = slots.next() else { return Ok(None) };
        if slots.all(|slot| slot == first) { Ok(Some(first)) } else { Err(CROSS_SLOT) }
    }
}

pub(super) fn keys_of(route: Route, request: &Request<'_>) -> Vec<Bytes> {
    let positions = route.keys.positions(request).into_iter().flatten();
    positions.map(|position| Bytes::copy_from_slice(request.arg(position))).collect()
}
