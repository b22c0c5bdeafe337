//! Walks of the daemon's own, to their end: what acts on all keys of a namespace is done step by step.

use std::rc::Rc;

use bytes::Bytes;

use super::cursors::ScanCursor;
use super::page::ScanOptions;
use super::walk::{COUNT_MAX, KeyWalks, frame_of};
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::router::replies::{odd_reply, stopped};
use crate::upstream::NodeIndex;

/// A walk over names.
#[derive(Debug)]
pub(in crate::router) struct NameWalk {
    walks: Rc<KeyWalks>,
    wish: ScanOptions,
    /// Where it goes on; none at its end.
    place: Option<(ScanCursor, u64)>,
}

// === impl NameWalk ===

impl NameWalk {
    /// A walk over what `wish` asks for.
    pub(in crate::router) fn begin(walks: Rc<KeyWalks>, wish: ScanOptions) -> NameWalk {
        NameWalk { place: Some((wish.beginning(), 0)), walks, wish }
    }

    /// The names that the next step finds, maybe some again; `None` at the end.
    ///
    /// # Errors
    /// The reply for the client.
    pub(in crate::router) async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Bytes> {
        let Some((from, position)) = self.place.take() else { return Ok(None) };
        let step = self.walks.step(from, position, &self.wish, COUNT_MAX).await?;
        self.place = step.next;
        Ok(Some(step.keys.iter().filter_map(name).collect()))
    }
}

// === impl KeyWalks ===

impl KeyWalks {
    /// What `wish` asks for at one place of a node, among `count` keys.
    ///
    /// # Errors
    /// The reply for the client.
    pub(in crate::router) async fn glance(
        &self,
        node: NodeIndex,
        place: u64,
        wish: &ScanOptions,
        count: u64,
    ) -> Result<Vec<Bytes>, Bytes> {
        let sent = self.send_scan(node, place, wish, count);
        let frame = frame_of(sent.reply.await.unwrap_or_else(stopped))?;
        let keys = cursor::elements(&frame).and_then(|parts| parts.flatten().nth(1));
        let names = keys.and_then(cursor::elements);
        let names = names.ok_or_else(|| odd_reply("SCAN", &frame))?;
        Ok(names.flatten().filter_map(|element| name(&frame.slice_ref(element))).collect())
    }
}

/// The name in an element of a reply.
fn name(element: &Bytes) -> Option<Bytes> {
    match cursor::head(element)? {
        ReplyHead::Blob { body, .. } => Some(element.slice_ref(body)),
        _ => None,
    }
}
