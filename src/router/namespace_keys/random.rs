//! RANDOMKEY: a few looks at random places, and a walk if none of them finds a key.

use std::rc::Rc;

use bytes::Bytes;

use super::database_names::DatabaseNames;
use crate::protocol::db::DbIndex;
use crate::protocol::key::Slot;
use crate::router::context::RouterContext;
use crate::router::replies::failure_reply;
use crate::router::scan::names::NameWalk;
use crate::router::scan::page::ScanOptions;
use crate::router::scan::walk::KeyWalks;

/// Looks at random places before a walk is begun.
const LOOKS: usize = 8;

/// Keys of the server that one look goes over.
const LOOK_KEYS: u64 = 1_000;

/// Some key of `names`, if there is one.
pub(super) async fn random_key(
    context: Rc<RouterContext>,
    walks: Rc<KeyWalks>,
    wish: ScanOptions,
    names: DatabaseNames,
    slot: Option<Slot>,
    database: DbIndex,
) -> Result<Option<Bytes>, Bytes> {
    let is_own = |name: &Bytes| names.database_of(name).is_some();
    let one_of = |mut found: Vec<Bytes>| {
        found.retain(is_own);
        fastrand::choice(found)
    };
    if let Some(slot) = slot
        && let Some(mut found) = walks.names_of_small_slot(slot, database).await
    {
        found.retain(is_own);
        fastrand::shuffle(&mut found);
        for name in &found {
            // Nearly always the first: the time of a key may be over.
            if let Some([name]) =
                walks.present(slot, std::slice::from_ref(name), None, database).await.as_deref()
            {
                return Ok(Some(name.clone()));
            }
        }
        return Ok(None);
    }
    for _ in 0..LOOKS {
        let node = match slot {
            Some(slot) => context.upstream.owner(slot),
            None => fastrand::choice(context.upstream.primaries().iter().copied()),
        };
        let Some(node) = node else { return Err(failure_reply(&context.upstream.no_topology())) };
        let found = walks.glance(node, fastrand::u64(..1 << 40), &wish, LOOK_KEYS).await?;
        if let Some(name) = one_of(found) {
            return Ok(Some(name));
        }
    }
    let mut walk = NameWalk::begin(walks, wish);
    while let Some(found) = walk.next().await? {
        if let Some(name) = one_of(found) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
