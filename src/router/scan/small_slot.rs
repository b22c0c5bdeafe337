//! A slot with few keys: its node names all of them at once, so that no walk over the keys of the node is
//! needed.

use bytes::{Bytes, BytesMut};

use super::page::ScanOptions;
use super::walk::{KeyWalks, owns};
use crate::clock;
use crate::protocol::db::DbIndex;
use crate::protocol::glob;
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;
use crate::router::turns::AT_ONCE;
use crate::upstream::{Call, NodeIndex, PendingReply, Right};

/// Keys up to which a slot has few.
const FEW_KEYS: usize = 1_000;

// === impl KeyWalks ===

impl KeyWalks {
    /// The keys of `slot` that `wish` asks for, as elements of a reply; `None` if they have to be walked
    /// over.
    pub(super) async fn keys_of_small_slot(&self, slot: Slot, wish: &ScanOptions) -> Option<Vec<Bytes>> {
        let (pattern, kind) = wish.conditions()?;
        let mut names = self.names_of_small_slot(slot, wish.database).await?;
        names.retain(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name)));
        if !wish.with_expired || kind.is_some() {
            names = self.present(slot, &names, kind, wish.database).await?;
        }
        let element = |name: &Bytes| {
            let mut out = BytesMut::with_capacity(name.len() + 16);
            encode::bulk(&mut out, name);
            out.freeze()
        };
        Some(names.iter().map(element).collect())
    }

    /// All names in `slot`, of keys whose time is over too. `None` if there are many, if the slot is moving,
    /// or if its node does not say.
    pub(in crate::router) async fn names_of_small_slot(
        &self,
        slot: Slot,
        database: DbIndex,
    ) -> Option<Vec<Bytes>> {
        let upstream = &self.context.upstream;
        let node = upstream.owner(slot)?;
        let rights = &upstream.shared().rights;
        if rights.is_missing(|| Some(upstream.node(node)), Right::KeysInSlot, clock::now()) {
            return None;
        }
        self.has_all_of(node, slot).await?;
        let words = ["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &(FEW_KEYS + 1).to_string()];
        let sent = upstream.send_to(node, Call::question(encode::request(&words)).on(database));
        let frame = sent.reply.await.ok()?.ok()?.frame;
        self.context.is_refused(Some(node), Right::KeysInSlot, &frame);
        let names = cursor::elements(&frame)?.map(|element| match cursor::head(element?)? {
            ReplyHead::Blob { body, .. } => Some(frame.slice_ref(body)),
            _ => None,
        });
        let names = names.collect::<Option<Vec<Bytes>>>().filter(|names| names.len() <= FEW_KEYS)?;
        self.has_all_of(node, slot).await?;
        Some(names)
    }

    /// Those of `names`, all in `slot`, whose keys are there, and have this type if one is given. `None` if
    /// the server does not say.
    pub(in crate::router) async fn present(
        &self,
        slot: Slot,
        names: &[Bytes],
        kind: Option<&[u8]>,
        database: DbIndex,
    ) -> Option<Vec<Bytes>> {
        let ask = |name: &Bytes| {
            let request = encode::request(&[&b"TYPE"[..], name]);
            let call = Call::new(database, KeySlots::One(slot), request, true);
            self.context.upstream.send_untracked(Some(slot), call)
        };
        let mut present = Vec::new();
        for names in names.chunks(AT_ONCE) {
            let sent: Vec<PendingReply> = names.iter().map(ask).collect();
            for (name, sent) in names.iter().zip(sent) {
                let frame = sent.reply.await.ok()?.ok()?.frame;
                let found = cursor::text(&frame)?;
                if found != b"none" && kind.is_none_or(|kind| kind == found) {
                    present.push(name.clone());
                }
            }
        }
        Some(present)
    }

    /// Whether the node owns the slot and has not begun to give it away.
    async fn has_all_of(&self, node: NodeIndex, slot: Slot) -> Option<()> {
        let view = self.read_view(node, self.send_view(node)).await.ok()?;
        (owns(&view, slot) && view.leaving.iter().all(|(leaving, _)| *leaving != slot)).then_some(())
    }
}
