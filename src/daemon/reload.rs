//! Reads the policies again when SIGHUP says so: the one part of the configuration that changes while the daemon runs as a
//! whole.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::{self, JoinHandle};
use tokio::time;

use super::house::broadcast_prefixes;
use crate::config::{Config, Faults, Sources};
use crate::invalidation::Invalidation;
use crate::near_cache::SharedCache;
use crate::policy::{CurrentPolicies, Policies};
use crate::stats::WorkerStats;
use crate::tracker::Tracker;

/// How long the files may take to be read: one may be a pipe, or on a disk that hangs.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A configuration that is being read.
type Reading = JoinHandle<Result<Config, Faults>>;

/// What a reload reads, and what it changes.
pub(super) struct Reload {
    /// Where the configuration was read from.
    pub(super) sources: Sources,
    pub(super) policies: Arc<CurrentPolicies>,
    pub(super) cache: Option<Arc<SharedCache>>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) stats: Arc<WorkerStats>,
}

// === impl Reload ===

impl Reload {
    /// Reads again at each SIGHUP. Does not end by itself.
    pub(super) async fn at_each(self, mut hangup: Signal) {
        let mut late: Option<Reading> = None;
        while hangup.recv().await.is_some() {
            late = match late.take().filter(|reading| !reading.is_finished()) {
                // Otherwise each signal would take one more thread.
                Some(reading) => {
                    tracing::error!("reload: the configuration is still being read, since an earlier signal");
                    unchanged();
                    Some(reading)
                }
                None => self.read_again().await,
            };
        }
    }

    /// Reads on a thread of its own: this one has other work. What comes too late is not used; it is returned.
    async fn read_again(&self) -> Option<Reading> {
        let sources = self.sources.clone();
        let mut reading = task::spawn_blocking(move || Config::load(&sources));
        match time::timeout(READ_TIMEOUT, &mut reading).await {
            Ok(Ok(read)) => self.take(read),
            Ok(Err(error)) => {
                tracing::error!(%error, "reload: the configuration was not read");
                unchanged();
            }
            Err(_) => {
                tracing::error!(
                    "reload: the configuration could not be read within {READ_TIMEOUT:?}: is one of its files a pipe that \
                     nobody writes to, or on a disk that does not answer?"
                );
                unchanged();
                return Some(reading);
            }
        }
        None
    }

    /// Takes the policies of what was read, or none of them when anything in the configuration is wrong: half of a change
    /// may be worse than none.
    fn take(&self, read: Result<Config, Faults>) {
        let config = match read {
            Ok(config) => config,
            Err(faults) => {
                for fault in &faults.0 {
                    tracing::error!(%fault, "reload: the configuration is wrong");
                }
                unchanged();
                return;
            }
        };
        let policies = Policies::new(config.policies);
        let count = policies.len();
        // As long as anything may be there that was kept under the former ones.
        let hear_elsewhere = |elsewhere| self.cache.iter().for_each(|cache| cache.hear_elsewhere(elsewhere));
        hear_elsewhere(true);
        let differ = self.policies.replace(policies);
        if differ && let Some(cache) = &self.cache {
            self.tracker.want_for_l1(broadcast_prefixes(&self.policies));
            // What was kept under the former policies goes, and what is being filled under them is not kept.
            cache.invalidate(&Invalidation::All, &self.stats);
        }
        hear_elsewhere(self.policies.broadcast());
        if !differ {
            tracing::info!(policies = count, "reload: the policies are as they were");
            return;
        }
        tracing::info!(
            policies = count,
            "reload: the policies were replaced and L1 was emptied; all else takes a restart or CONFIG SET"
        );
    }
}

fn unchanged() {
    tracing::error!("reload: nothing was changed, the former policies hold");
}
