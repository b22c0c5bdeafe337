//! Reads the configuration again when SIGHUP says so, for the parts of it that change as a whole while the
//! daemon runs: the policies, the logins upstream, and the password of clients.

use std::sync::Arc;

use tokio::signal::unix::Signal;

use super::options;
use super::secret_files::SecretFiles;
use super::shared::Shared;
use crate::cache::policy::Policies;
use crate::commands::PasswordIsFixed;
use crate::config::{Config, ConfigErrors, Effect, Key, Sources};
use crate::invalidation::Invalidation;

/// What a reload reads, and what it changes.
pub(super) struct Reload {
    /// Where the configuration was read from.
    pub(super) sources: Sources,
    pub(super) shared: Arc<Shared>,
}

// === impl Reload ===

impl Reload {
    /// Reads again at each SIGHUP. Does not end by itself.
    pub(super) async fn at_each(self, mut hangup: Signal) {
        let mut reading = SecretFiles::new("the configuration");
        while hangup.recv().await.is_some() {
            let sources = self.sources.clone();
            match reading.again(move || Config::load(&sources)).await {
                Ok(read) => self.take(read),
                Err(why) => {
                    tracing::error!("reload: {why}");
                    unchanged();
                }
            }
        }
    }

    /// Takes the policies and the login of what was read, or nothing when anything in the configuration is
    /// wrong: half of a change may be worse than none.
    fn take(&self, read: Result<Config, ConfigErrors>) {
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
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.shared.logins.take(&config.values);
        self.take_password(&config);
        self.warn_of_the_rest(&config);
        options::warn_of_values_never_kept(&config);
        let policies = Policies::new(config.policies);
        let count = policies.len();
        // As long as entries of the former policies may be there.
        let Shared { cache, policies: current, tracker, stats, .. } = &*self.shared;
        let split_tracking =
            |split| cache.iter().for_each(|cache| cache.set_separate_invalidation_stream(split));
        split_tracking(true);
        let differ = current.replace(policies);
        if differ && let Some(cache) = cache {
            tracker.want_for_l1(current.broadcast_prefixes());
            // Entries under the former policies are dropped, and replies of running fills are not kept.
            cache.invalidate(&Invalidation::All, &stats.worker(0));
        }
        split_tracking(current.broadcast());
        if !differ {
            tracing::info!(policies = count, "reload: the policies are as they were");
            return;
        }
        tracing::info!(
            policies = count,
            "reload: the policies were replaced and L1 was emptied; all else takes a restart or CONFIG SET"
        );
    }

    /// Takes the password of clients; clients that have authenticated stay.
    fn take_password(&self, config: &Config) {
        match self.shared.server.replace_password(options::password(&config.values)) {
            Ok(false) => {}
            Ok(true) => tracing::info!(
                password = "password_file",
                "the password of clients was replaced: those who log in from now on have to know it"
            ),
            Err(PasswordIsFixed) => tracing::warn!(
                setting = "password_file",
                "reload: whether clients need a password changes with a restart; the former state holds"
            ),
        }
    }

    /// Names the settings that differ in the configuration and are not taken from it.
    fn warn_of_the_rest(&self, config: &Config) {
        let differing = self.shared.server.differing(&config.typed);
        let is_taken = |name: &str| Key::named(name).is_some_and(|key| key.effect == Effect::Reload);
        let settings: Vec<&str> = differing.into_iter().filter(|name| !is_taken(name)).collect();
        if !settings.is_empty() {
            tracing::warn!(
                settings = settings.join(", "),
                "reload: these settings differ in the configuration, and take a restart or CONFIG SET"
            );
        }
    }
}

fn unchanged() {
    tracing::error!("reload: nothing was changed, the former policies and the former passwords hold");
}
