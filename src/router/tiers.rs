//! The two tiers of a worker: its L1 and its upstream.

use std::time::Duration;

use crate::cache::{NearCache, VersionedReply};
use crate::upstream::UpstreamError;

/// The near cache, whose fills end with a reply or with why there is none.
pub type RouterCache = NearCache<Result<FillResult, UpstreamError>>;

/// What a fill brought in.
#[derive(Clone, Debug)]
pub struct FillResult {
    pub(super) reply: VersionedReply,
    /// As in [`UpstreamReply`](crate::upstream::UpstreamReply).
    pub(super) tracked: bool,
}

/// What the proxy is told.
#[derive(Clone, Copy, Debug)]
pub struct RouterSettings {
    /// How long the first requests wait for the upstream to be known.
    pub patience: Duration,
    /// Whether other workers have upstream connections of their own.
    pub alone: bool,
    /// Bytes of the names of keys that are gathered for one KEYS, or for one page of SCAN.
    pub keyspace_bytes_max: usize,
}
