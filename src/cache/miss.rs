//! What follows a miss: whether the reply is worth an entry, the ticket of a fill, and joining a fill.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::entry::CacheQuery;
use super::fill::{Lead, Ticket};
use super::generation::MissToken;
use super::miss_reason::MissReason;
use super::near_cache::NearCache;
use super::policy::{AdmissionRule, CacheTerms};
use crate::clock::{self, Nanos};
use crate::node::Epoch;

/// How long a fill may be joined. The key may have expired since the node read it, which is unknown until the
/// fill ends: a later read is sent again (I5).
pub const COALESCE_WINDOW: Duration = Duration::from_millis(10);

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Whether the reply to a miss is worth keeping on these terms. Counts the call, so call it once for each
    /// miss.
    pub fn admits(&self, missed: &MissToken, terms: &CacheTerms) -> bool {
        if self.shared.inserts_paused.load(Ordering::Relaxed) {
            self.note(missed.hash, MissReason::NoMemory);
            return false;
        }
        if terms.admission.unwrap_or(self.shared.limits.admission) == AdmissionRule::Always {
            return true;
        }
        if !self.shared.scores.admits(missed.hash) {
            self.stats.l1_unworthy.add(1);
            self.note(missed.hash, MissReason::WriteHeavy);
            return false;
        }
        true
    }

    /// The ticket of a fill whose command goes out on the connection of `epoch`. `missed` must be from before
    /// the command was sent (I1).
    pub fn ticket(&self, missed: &MissToken, epoch: Epoch) -> Ticket {
        let terms = CacheTerms::default();
        Ticket { hash: missed.hash, generation: missed.generation, epoch, began: missed.at, terms }
    }

    /// Joins the fill that runs for `query` in this worker, if it may be joined (I3). Also returns when it
    /// was sent.
    ///
    /// With several workers, one that was committed since may have brought in something newer, and it may
    /// have been served already.
    pub fn join(
        &self,
        missed: &MissToken,
        query: &CacheQuery<'_>,
        now: Nanos,
    ) -> Option<(oneshot::Receiver<T>, u64)> {
        let is_good = |ticket: &Ticket| {
            let young = now < ticket.began + clock::nanos(COALESCE_WINDOW);
            young
                && ticket.generation == missed.generation
                && ticket.epoch.is_live(now)
                && ticket.began > self.shared.commits_of(missed.hash).latest.load(Ordering::Acquire)
        };
        let mut fills = self.fills.borrow_mut();
        let joined = fills.join(self.query_hash(query), query, missed.behind, is_good)?;
        self.stats.l1_coalesced.add(1);
        self.shared.scores.note_end(missed.hash, true);
        Some(joined)
    }

    /// A number for a command that is sent upstream in this worker; later commands get higher numbers.
    pub fn next_number(&self) -> u64 {
        self.fills.borrow_mut().next_number()
    }

    /// Makes the caller the leader of the fill of `query`; `tail` has its arguments.
    pub fn begin_fill(&self, query: &CacheQuery<'_>, tail: Bytes, ticket: Ticket) -> Lead<T> {
        self.fills.borrow_mut().begin(self.query_hash(query), query.command, tail, ticket)
    }

    /// Ends a fill: all followers get `outcome`.
    pub fn finish_fill(&self, lead: Lead<T>, outcome: &T) {
        self.fills.borrow_mut().finish(lead, outcome);
    }
}
