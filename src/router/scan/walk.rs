//! SCAN and KEYS: a walk over the keys of all primaries that misses none, whatever happens to nodes and slots
//! meanwhile.
//!
//! A node is scanned with its own SCAN. When it began and when it has ended, the node is asked for its slots.
//! What it owned at both times, and was giving away at neither, is done: every key that was there all the
//! time was seen. What it has given away is looked for at its new owner, and what it is giving away at the
//! node that takes it, once the keys that were left have been seen. A process that takes the place of another
//! has its keys in another order: its pass begins anew. So keys may come twice, as Redis may give them twice,
//! and none is lost.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::cursors::{Pass, Progress, ScanCursor, ScanCursors, ScanState};
use super::page::{ScanOptions, page_reply, parse_cursor, read_options, read_page};
use super::slot_set::{SlotSet, all_slots};
use crate::clock;
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::node_instance::NodeInstance;
use crate::router::replies::{failure_reply, odd_reply, stopped};
use crate::upstream::{Call, NodeIndex, NodeView, Outcome, PendingReply, Right};

/// Keys that a node is asked for at a time, whatever the client asked for: more would keep it from its other
/// work.
pub(super) const COUNT_MAX: u64 = 10_000;

/// Steps in one SCAN: then the client gets what there is, be it nothing, and a cursor to go on with.
const STEPS_MAX: usize = 64;

/// Passes in a row that may bring a walk no further, because the nodes disagree about the owner of a slot.
const VAIN_PASSES_MAX: u32 = 16;

/// How long a step waits for the owners of the slots to be known better.
const REFRESH_TIME_MAX: Duration = Duration::from_secs(1);

/// What a key takes beside its bytes while KEYS gathers.
const KEY_OVERHEAD_BYTES: usize = 64;

/// A step of a walk: the keys that it brought, as they came, and how far the walk has come.
pub(super) struct ScanStep {
    pub(super) keys: Vec<Bytes>,
    /// Where to go on; none at the end.
    pub(super) next: Option<(ScanCursor, u64)>,
}

/// Walks over all keys.
#[derive(Debug)]
pub(in crate::router) struct KeyWalks {
    pub(super) context: Rc<RouterContext>,
    cursors: Arc<ScanCursors>,
}

// === impl KeyWalks ===

impl KeyWalks {
    /// Remembers in `cursors` how far walks have come.
    pub(in crate::router) fn new(context: Rc<RouterContext>, cursors: Arc<ScanCursors>) -> Rc<KeyWalks> {
        Rc::new(KeyWalks { context, cursors })
    }

    /// SCAN: a page of a walk over all slots, or over one.
    pub(in crate::router) fn scan(
        self: &Rc<KeyWalks>,
        request: &Request<'_>,
        slot: Option<Slot>,
        caller: Caller<'_>,
    ) -> Answer {
        let Some(cursor) = parse_cursor(request.arg(1)) else {
            return Answer::Now(encode::error_reply("ERR invalid cursor"));
        };
        let Some((wish, count)) = read_options(request, caller.inflight.database(), slot) else {
            return self.syntax_error(request);
        };
        let this = self.clone();
        Answer::exclusive(async move { this.page(cursor, &wish, count).await.unwrap_or_else(|error| error) })
    }

    /// All keys that match, of all slots or of one. Gathered by a walk, so that no node has to name all of
    /// its keys in one breath.
    pub(in crate::router) fn keys(
        self: &Rc<KeyWalks>,
        request: &Request<'_>,
        slot: Option<Slot>,
        caller: Caller<'_>,
    ) -> Answer {
        let pattern = Bytes::copy_from_slice(request.arg(1));
        let wish = ScanOptions::matching(pattern, caller.inflight.database(), slot);
        let this = self.clone();
        Answer::exclusive(async move { this.all_keys(&wish).await.unwrap_or_else(|error| error) })
    }

    async fn page(&self, cursor: u64, wish: &ScanOptions, count: u64) -> Result<Bytes, Bytes> {
        let walks = &self.cursors;
        let found = if cursor == 0 { None } else { walks.find(cursor) };
        if cursor != 0 && found.is_none() {
            self.context.stats.scans_restarted.add(1);
        }
        let (mut stand, mut position) = found.unwrap_or_else(|| (wish.beginning(), 0));
        let (mut keys, mut bytes) = (Vec::new(), 0);
        let mut left = count;
        let deadline = clock::now() + clock::nanos(self.context.settings.request_timeout);
        for _ in 0..STEPS_MAX {
            let asked = left.min(COUNT_MAX);
            let step = self.step(stand, position, wish, asked).await?;
            bytes += step.keys.iter().map(Bytes::len).sum::<usize>();
            let brought = step.keys.len() as u64;
            keys.extend(step.keys);
            let Some((next, at)) = step.next else { return Ok(page_reply(0, &keys)) };
            // A node without more keys may have had few: the page continues with the next node.
            left = left.saturating_sub(if next.stand.pass.is_some() { asked } else { brought });
            let vain = next.stand.pass.is_none() && next.stand.vain > 0;
            (stand, position) = (next, at);
            if vain
                || left == 0
                || bytes >= self.context.settings.keyspace_bytes_max
                || clock::now() >= deadline
            {
                break;
            }
        }
        match walks.cursor(stand, position) {
            Some(cursor) => Ok(page_reply(cursor, &keys)),
            None => Err(encode::error_reply("ERR nearside: a node gave a cursor of more than 40 bits")),
        }
    }

    async fn all_keys(&self, wish: &ScanOptions) -> Result<Bytes, Bytes> {
        let bytes_max = self.context.settings.keyspace_bytes_max;
        let (mut stand, mut position) = (wish.beginning(), 0);
        let mut keys = HashSet::new();
        let mut bytes = 0;
        loop {
            let step = self.step(stand, position, wish, COUNT_MAX).await?;
            for key in step.keys {
                let length = key.len();
                // A copy: a slice would hold on to the whole reply.
                if !keys.contains(&key) && keys.insert(Bytes::copy_from_slice(&key)) {
                    bytes += length + KEY_OVERHEAD_BYTES;
                }
            }
            if bytes > bytes_max {
                return Err(encode::error_reply(format!(
                    "ERR nearside: KEYS found more than fits into {bytes_max} bytes (keyspace_bytes_max); use SCAN"
                )));
            }
            let Some(next) = step.next else { break };
            (stand, position) = next;
        }
        let mut out = BytesMut::with_capacity(bytes + 16);
        encode::array(&mut out, keys.len());
        keys.iter().for_each(|key| out.extend_from_slice(key));
        Ok(out.freeze())
    }

    /// Asks one node once, from where the walk has come to.
    pub(super) async fn step(
        &self,
        from: ScanCursor,
        position: u64,
        wish: &ScanOptions,
        count: u64,
    ) -> Result<ScanStep, Bytes> {
        if let Some(slot) = wish.slot.filter(|_| from.stand.pass.is_none())
            && let Some(keys) = self.keys_of_small_slot(slot, wish).await
        {
            return Ok(ScanStep { keys, next: None });
        }
        let (stand, sent) = match &from.stand.pass {
            Some(pass) if self.goes_on(pass, &from.stand.progress) => {
                let sent = self.send_scan(pass.host.node, position, wish, count);
                (from, sent)
            }
            _ => match self.begin_pass(&from.stand, wish, count).await? {
                PassStart::Pass(stand, sent) => (ScanCursor { number: 0, stand: Arc::new(stand) }, sent),
                PassStart::Nothing(progress) => {
                    return Ok(ScanStep { keys: Vec::new(), next: between(&from.stand, progress)? });
                }
            },
        };
        let outcome = sent.reply.await.unwrap_or_else(stopped);
        if let (Some(pass), Ok(reply)) = (&stand.stand.pass, &outcome)
            && self.context.is_refused(Some(pass.host.node), Right::Scan, &reply.frame)
        {
            return Err(encode::error_reply(
                "NOPERM nearside: SCAN and KEYS are walks with SCAN, which the user upstream may not send",
            ));
        }
        let frame = frame_of(outcome)?;
        let Some(pass) = &stand.stand.pass else { return Err(frame) };
        let (next, keys) = read_page(&frame, &pass.covers).ok_or_else(|| odd_reply("SCAN", &frame))?;
        if NodeInstance::of(&self.context.upstream, pass.host.node).as_ref() != Some(&pass.host) {
            // Another process may have answered, to which the place meant nothing.
            return Ok(ScanStep { keys, next: between(&stand.stand, stand.stand.progress.clone())? });
        }
        if next != 0 {
            return Ok(ScanStep { keys, next: Some((stand, next)) });
        }
        let progress = self.end_pass(&stand.stand.progress, pass).await?;
        Ok(ScanStep { keys, next: between(&stand.stand, progress)? })
    }

    /// Whether the node of a pass is still the process of its beginning, and part of the cluster.
    fn goes_on(&self, pass: &Pass, progress: &Progress) -> bool {
        let node = pass.host.node;
        NodeInstance::of(&self.context.upstream, node).as_ref() == Some(&pass.host)
            && (self.context.upstream.primaries().contains(&node)
                || progress.drained_to(node).next().is_some())
    }

    /// Begins the next pass: asks the node for its slots, and right behind it for its first keys.
    async fn begin_pass(&self, from: &ScanState, wish: &ScanOptions, count: u64) -> Result<PassStart, Bytes> {
        let progress = &from.progress;
        let Some((slot, taker)) = progress.next() else { return Ok(PassStart::Nothing(progress.clone())) };
        let Some(node) = taker.or_else(|| self.context.upstream.owner(slot)) else {
            return Err(failure_reply(&self.context.upstream.no_owner(slot)));
        };
        let view = self.send_view(node);
        let sent = self.send_scan(node, 0, wish, count);
        let view = self.read_view(node, view).await?;
        let Some(host) = NodeInstance::of(&self.context.upstream, node) else {
            return Ok(PassStart::Nothing(progress.clone()));
        };
        let mut covers = SlotSet::default();
        let owned = all_slots().filter(|slot| owns(&view, *slot));
        owned.filter(|slot| !progress.done.has(*slot)).for_each(|slot| covers.add(slot));
        progress
            .drained_to(node)
            .filter(|slot| view.arriving.contains(slot))
            .for_each(|slot| covers.add(slot));
        let leaving = view.leaving.iter().map(|(slot, _)| *slot).collect();
        let mut progress = progress.clone();
        if covers.is_empty() {
            self.context.upstream.refreshed(REFRESH_TIME_MAX).await;
            progress.drained.retain(|(_, taker)| *taker != node);
            return Ok(PassStart::Nothing(progress));
        }
        let stand = ScanState { progress, pass: Some(Pass { host, covers, leaving }), vain: from.vain };
        Ok(PassStart::Pass(stand, sent))
    }

    /// What a walk has done once a pass has seen all keys of its node.
    async fn end_pass(&self, before: &Progress, pass: &Pass) -> Result<Progress, Bytes> {
        let node = pass.host.node;
        let view = self.read_view(node, self.send_view(node)).await?;
        let mut after = before.clone();
        // The keys of this node were found, or have to be searched again.
        after.drained.retain(|(_, taker)| *taker != node);
        let was_drained = |slot: Slot| before.drained_to(node).any(|drained| drained == slot);
        let mut somewhere_else = false;
        for slot in pass.covers.iter() {
            let taker = view.leaving.iter().find(|(leaving, _)| *leaving == slot).map(|(_, taker)| taker);
            match (owns(&view, slot), taker) {
                (true, Some(taker)) => after.drained.push((slot, self.context.upstream.index_of(taker))),
                // The slot began to leave and did not: what was on the other side may have come back behind
                // us.
                (true, None) if pass.leaving.contains(&slot) => {}
                (true, None) => after.done.add(slot),
                (false, _) if was_drained(slot) && view.arriving.contains(&slot) => after.done.add(slot),
                (false, _) => somewhere_else = true,
            }
        }
        if somewhere_else {
            self.context.upstream.refreshed(REFRESH_TIME_MAX).await;
        }
        Ok(after)
    }

    pub(super) fn send_scan(
        &self,
        node: NodeIndex,
        position: u64,
        wish: &ScanOptions,
        count: u64,
    ) -> PendingReply {
        let (position, count) = (Bytes::from(position.to_string()), Bytes::from(count.to_string()));
        let mut args = vec![Bytes::from_static(b"SCAN"), position];
        args.extend(wish.options.iter().cloned());
        args.extend([Bytes::from_static(b"COUNT"), count]);
        self.context.upstream.send_to(node, Call::question(encode::request(&args)).on(wish.database))
    }

    /// Asks a node for its slots. One that is no node of a cluster has them all; a PING shows that it is
    /// there.
    pub(super) fn send_view(&self, node: NodeIndex) -> PendingReply {
        let words: &[&str] =
            if self.context.upstream.is_cluster() { &["CLUSTER", "NODES"] } else { &["PING"] };
        self.context.upstream.send_to(node, Call::question(encode::request(words)))
    }

    pub(super) async fn read_view(&self, node: NodeIndex, sent: PendingReply) -> Result<NodeView, Bytes> {
        let reply = sent.reply.await.unwrap_or_else(stopped).map_err(|failure| failure_reply(&failure))?;
        if !self.context.upstream.is_cluster() {
            return Ok(NodeView { owned: vec![0..=u16::MAX], ..NodeView::default() });
        }
        if self.context.is_refused(Some(node), Right::ClusterNodes, &reply.frame) {
            return Ok(self.view_from_table(node));
        }
        let frame = frame_of(Ok(reply))?;
        let view = self.context.upstream.view(&frame, &self.context.upstream.node(node));
        view.ok_or_else(|| odd_reply("CLUSTER NODES", &frame))
    }

    /// The view of a node that may not be asked, from the slot table: without the slots that are moving.
    fn view_from_table(&self, node: NodeIndex) -> NodeView {
        let mut owned: Vec<RangeInclusive<u16>> = Vec::new();
        for slot in all_slots().filter(|slot| self.context.upstream.owner(*slot) == Some(node)) {
            let number = slot.number();
            match owned.last_mut().filter(|range| *range.end() + 1 == number) {
                Some(range) => *range = *range.start()..=number,
                None => owned.push(number..=number),
            }
        }
        NodeView { owned, ..NodeView::default() }
    }

    /// The server's error for options that cannot be read here.
    fn syntax_error(&self, request: &Request<'_>) -> Answer {
        let sent = self.context.upstream.send(None, Call::question(request.to_owned().bytes()));
        Answer::Later(Box::pin(async move {
            let said = frame_of(sent.reply.await.unwrap_or_else(stopped)).err();
            said.unwrap_or_else(|| encode::error_reply("ERR syntax error"))
        }))
    }
}

/// How a pass begins.
enum PassStart {
    Pass(ScanState, PendingReply),
    /// No remaining slot is on that node, or none remains.
    Nothing(Progress),
}

/// The state of a walk between two passes; `None` at its end. A walk that comes no further is an error; the
/// same cursor lets it try again.
fn between(before: &ScanState, progress: Progress) -> Result<Option<(ScanCursor, u64)>, Bytes> {
    match before.after(progress) {
        Some(stand) if stand.vain > VAIN_PASSES_MAX => {
            Err(encode::error_reply("ERR nearside: the cluster's nodes disagree on who owns a slot"))
        }
        stand => Ok(stand.map(|stand| (ScanCursor { number: 0, stand: Arc::new(stand) }, 0))),
    }
}

pub(super) fn owns(view: &NodeView, slot: Slot) -> bool {
    view.owned.iter().any(|range| range.contains(&slot.number()))
}

/// The reply, or the error that the client gets.
pub(super) fn frame_of(outcome: Outcome) -> Result<Bytes, Bytes> {
    let reply = outcome.map_err(|failure| failure_reply(&failure))?;
    if reply.frame.starts_with(b"-") { Err(reply.frame) } else { Ok(reply.frame) }
}
