//! DBSIZE: how many keys there are.

use std::collections::HashSet;
use std::hash::BuildHasher;

use bytes::Bytes;
use foldhash::quality::RandomState;

use super::database_names::DatabaseNames;
use crate::protocol::resp::encode;
use crate::router::scan::names::NameWalk;

/// What a name takes while names are counted: a walk may find a key twice, so the hashes of all are kept.
const NAME_BYTES: usize = 16;

/// How many keys each database has.
pub(super) async fn count(
    mut walk: NameWalk,
    names: DatabaseNames,
    bytes_max: usize,
) -> Result<Vec<u64>, Bytes> {
    let hasher = RandomState::default();
    let mut seen: HashSet<u64, RandomState> = HashSet::default();
    let mut counts = vec![0; names.len()];
    while let Some(found) = walk.next().await? {
        for name in found {
            if let Some(database) = names.database_of(&name)
                && seen.insert(hasher.hash_one(&name))
            {
                counts[database] += 1;
            }
        }
        if seen.len() * NAME_BYTES > bytes_max {
            return Err(encode::error_reply(format!(
                "ERR nearside: the namespace has more keys than can be counted in {bytes_max} bytes (keyspace_bytes_max)"
            )));
        }
    }
    Ok(counts)
}
