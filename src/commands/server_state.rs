//! The state of the server that commands read and change: MONITOR, CLIENT PAUSE, the slow log, passwords, and
//! the settings that may change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_util::future::LocalBoxFuture;
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::auth_throttle::AuthThrottle;
use super::command_stats::{AllCommandStats, CommandStats};
use super::password::{CurrentPassword, Password};
use super::slowlog::Slowlog;
use crate::clients::Client;
use crate::clients::pause::ClientPause;
use crate::clock::Nanos;
use crate::config::Secret;
use crate::protocol::command::{Denied, Flags};
use crate::settings::Settings;
use crate::stats::Stats;

/// What a session must check before it answers a request, as bits of one number: nearly always none is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GlobalFlags(u8);

/// The error of a change from no password to one, or back, while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordIsFixed;

/// The state that the sessions of all workers share.
#[derive(Debug)]
pub struct ServerState {
    /// What may change while the daemon runs.
    pub settings: Arc<Settings>,
    /// The password of clients, if they need one.
    password: RwLock<Option<CurrentPassword>>,
    /// The password of the configuration as it was read last.
    configured: Mutex<Option<Password>>,
    /// Limits how often they may try it.
    pub(super) auth_throttle: AuthThrottle,
    /// The commands that clients may not send.
    pub(crate) denied: Arc<Denied>,
    flags: AtomicU8,
    pub(super) monitors: Mutex<Vec<Arc<Client>>>,
    /// CLIENT PAUSE.
    pub pause: Arc<ClientPause>,
    pub(super) slowlog: Mutex<Slowlog>,
    /// The counts of commands and errors of all workers.
    pub(crate) command_stats: AllCommandStats,
    /// The settings in the form of the configuration file.
    typed: Mutex<BTreeMap<&'static str, String>>,
    /// The counters at the time of the last CONFIG RESETSTAT.
    pub(super) baseline: Mutex<BTreeMap<&'static str, u64>>,
}

/// Microseconds that an answer of nearside itself hardly takes: such answers are measured only if the slow
/// log keeps commands that are faster.
const MEASURED_MICROS: i64 = 1_000;

// === impl GlobalFlags ===

impl GlobalFlags {
    /// A client follows all commands.
    pub(crate) const MONITORED: GlobalFlags = GlobalFlags(1);
    /// Clients are paused.
    pub(crate) const PAUSED: GlobalFlags = GlobalFlags(1 << 1);
    /// The first attempt to discover the topology has not ended, as far as any session knows.
    pub(crate) const UNDISCOVERED: GlobalFlags = GlobalFlags(1 << 2);
    /// The slow log keeps commands so fast that those answered here are measured too.
    pub(crate) const MEASURED: GlobalFlags = GlobalFlags(1 << 3);

    /// Whether there is anything to look at.
    #[inline]
    pub(crate) fn is_any(self) -> bool {
        self.0 != 0
    }

    #[inline]
    pub(crate) fn has(self, other: GlobalFlags) -> bool {
        self.0 & other.0 != 0
    }
}

// === impl ServerState ===

impl ServerState {
    /// The state of a daemon with these settings and this number of workers. `typed` has the settings in the
    /// form of the configuration file; `memory_max` is the memory ceiling in bytes.
    pub fn new(
        settings: Arc<Settings>,
        password: Option<Password>,
        denied: Denied,
        workers: usize,
        typed: Vec<(&'static str, String)>,
        memory_max: Option<usize>,
    ) -> ServerState {
        let server = ServerState {
            settings,
            password: RwLock::new(password.map(|password| CurrentPassword { password, shown: None })),
            configured: Mutex::new(password),
            auth_throttle: AuthThrottle::default(),
            denied: Arc::new(denied),
            flags: AtomicU8::new(GlobalFlags::UNDISCOVERED.0),
            monitors: Mutex::default(),
            pause: Arc::default(),
            slowlog: Mutex::new(Slowlog::new(memory_max)),
            command_stats: AllCommandStats::new(workers),
            typed: Mutex::new(typed.into_iter().collect()),
            baseline: Mutex::default(),
        };
        server.note_slowlog();
        server
    }

    /// Where worker `index` counts commands.
    pub fn command_stats_of(&self, index: usize) -> Arc<CommandStats> {
        self.command_stats.workers[index].clone()
    }

    /// Whether a user may log in with this password.
    pub(super) fn admits(&self, user: &[u8], password: &[u8]) -> bool {
        user == b"default" && self.password().is_none_or(|wanted| wanted.is(password))
    }

    /// Whether clients have to log in.
    pub(crate) fn asks_password(&self) -> bool {
        self.password.read().is_some()
    }

    /// The password of clients, if they need one.
    pub(super) fn password(&self) -> Option<Password> {
        self.password.read().as_ref().map(|current| current.password)
    }

    /// What CONFIG GET says of the password.
    pub(super) fn shown_password(&self) -> String {
        match &*self.password.read() {
            Some(CurrentPassword { shown: Some(secret), .. }) => secret.expose().to_owned(),
            Some(_) => "(redacted)".to_owned(),
            None => String::new(),
        }
    }

    /// CONFIG SET requirepass: clients that connect from now on need this password, or none if it is empty. A
    /// client that has authenticated already, or needed no password, stays so. `allow_remote` says whether
    /// clients of other machines are let in without one.
    pub(super) fn require_password(&self, text: &[u8], allow_remote: bool) {
        let current = (!text.is_empty()).then(|| CurrentPassword {
            password: Password::new(text),
            shown: Some(Secret::new(String::from_utf8_lossy(text))),
        });
        self.settings.remote_clients.set(i64::from(allow_remote || current.is_some()));
        *self.password.write() = current;
    }

    /// Takes the password of a configuration that was read again, if that has another one than before;
    /// returns whether it has. A client that has authenticated already stays so.
    ///
    /// # Errors
    /// There was no password, or there is none any more: which machines may connect depends on that.
    pub fn replace_password(&self, password: Option<Password>) -> Result<bool, PasswordIsFixed> {
        let mut configured = self.configured.lock();
        match (*configured, password) {
            (None, None) => Ok(false),
            (Some(before), Some(password)) if before == password => Ok(false),
            (Some(_), Some(password)) => {
                *configured = Some(password);
                *self.password.write() = Some(CurrentPassword { password, shown: None });
                Ok(true)
            }
            _ => Err(PasswordIsFixed),
        }
    }

    /// The settings whose values in `typed` differ from the present ones.
    pub fn differing<'a>(&self, typed: &'a [(&'static str, String)]) -> Vec<&'a str> {
        let holding = self.typed();
        typed.iter().filter(|(key, text)| holding.get(key) != Some(text)).map(|(key, _)| *key).collect()
    }

    /// The flags: one relaxed load.
    #[inline]
    pub(crate) fn flags(&self) -> GlobalFlags {
        GlobalFlags(self.flags.load(Ordering::Relaxed))
    }

    /// Pauses the clients until then: those that write, or all.
    pub(super) fn pause(&self, until: Nanos, all: bool) {
        self.pause.begin(until, all, || self.set(GlobalFlags::PAUSED, true));
    }

    /// Ends the pause of the clients.
    pub(super) fn unpause(&self) {
        self.pause.end(|| self.set(GlobalFlags::PAUSED, false));
    }

    /// Lasts while a command with these flags has to wait for the end of a pause; `None` if it need not.
    pub(crate) fn hold(&self, flags: Flags) -> Option<LocalBoxFuture<'static, ()>> {
        if !self.flags().has(GlobalFlags::PAUSED) {
            return None;
        }
        let is_on = self.pause.is_on(|| self.set(GlobalFlags::PAUSED, false));
        is_on.then(|| self.pause.hold(flags)).flatten()
    }

    /// Takes note of the time from which on the slow log keeps commands.
    pub(super) fn note_slowlog(&self) {
        let slower_than = self.settings.slowlog_log_slower_than.get();
        self.set(GlobalFlags::MEASURED, (0..MEASURED_MICROS).contains(&slower_than));
    }

    /// Takes note that the topology was discovered, or could not be.
    pub(crate) fn note_discovered(&self) {
        self.set(GlobalFlags::UNDISCOVERED, false);
    }

    pub(super) fn set(&self, flags: GlobalFlags, on: bool) {
        if on {
            self.flags.fetch_or(flags.0, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!flags.0, Ordering::Relaxed);
        }
    }

    /// CONFIG RESETSTAT: the counts in the sections stats, commandstats and errorstats of INFO begin again at
    /// zero. The counters of section nearside never go back.
    pub(super) fn reset_stats(&self, stats: &Stats) {
        self.command_stats.reset();
        *self.baseline.lock() = stats.totals().into_iter().collect();
    }

    /// The settings in the form of the configuration file, with the changes since the start.
    pub(super) fn typed(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.typed.lock()
    }
}
