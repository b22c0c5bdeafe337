//! What an operator may change while the daemon runs: each a number that any thread reads without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock;

/// A number that may change at any time.
#[derive(Debug)]
pub struct Setting(AtomicI64);

/// The settings of the daemon; how long L1 keeps an entry is with L1.
#[derive(Debug)]
pub struct Settings {
    /// Clients connected at the same time.
    pub max_clients: Arc<Setting>,
    /// As many as the process has file descriptors for; `max_clients` is not set higher.
    pub clients_possible: usize,
    /// Whether clients of other machines are let in: 1, or 0.
    pub remote_clients: Arc<Setting>,
    /// Bytes of replies that may wait for one client.
    pub client_output_max: Setting,
    /// How long a client may leave a full socket unread, in nanoseconds.
    pub client_stall_timeout: Setting,
    /// How long a client may be idle, in nanoseconds; 0 means for ever.
    pub client_idle_timeout: Setting,
    /// Keys that are remembered for clients with tracking on.
    pub tracking_keys_max: Arc<Setting>,
    /// Commands that took longer, in microseconds, are kept in the slow log; none when it is negative.
    pub slowlog_log_slower_than: Setting,
    /// Entries of the slow log.
    pub slowlog_max_len: Setting,
}

// === impl Setting ===

impl Setting {
    /// A setting that begins as `value`.
    pub fn new(value: i64) -> Setting {
        Setting(AtomicI64::new(value))
    }

    /// Creates a setting from a size or a count.
    pub fn of_size(value: usize) -> Setting {
        Setting::new(i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// Creates a setting from a duration.
    pub fn of_duration(value: Duration) -> Setting {
        Setting::new(i64::try_from(clock::nanos(value)).unwrap_or(i64::MAX))
    }

    /// The value now.
    #[inline]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The value now, as a size or a count.
    #[inline]
    pub fn size(&self) -> usize {
        usize::try_from(self.get()).unwrap_or_default()
    }

    /// The value now, as a duration.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.get()).unwrap_or_default())
    }

    /// Changes it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Changes it to a size or a count.
    pub fn set_size(&self, value: usize) {
        self.set(Setting::of_size(value).get());
    }

    /// Changes it to a duration.
    pub fn set_duration(&self, value: Duration) {
        self.set(Setting::of_duration(value).get());
    }
}
