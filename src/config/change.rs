//! What of the configuration may be changed while the daemon runs, under the rules that held when it was
//! read.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{DAY, GIB, HOUR, MIB, MILLISECOND, value};

/// One key with a new value that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `client_output_max`
    ClientOutputMax(usize),
    /// `client_stall_timeout`
    ClientStallTimeout(Duration),
    /// `l1_ttl`
    L1Ttl(Duration),
    /// `log_level`
    LogLevel(String),
    /// `max_clients`
    MaxClients(usize),
    /// `negative_ttl`
    NegativeTtl(Duration),
    /// `slowlog_log_slower_than`
    SlowlogLogSlowerThan(i64),
    /// `slowlog_max_len`
    SlowlogMaxLen(usize),
}

pub(super) const CLIENT_OUTPUT_MAX: RangeInclusive<usize> = MIB..=1024 * GIB;
pub(super) const CLIENT_STALL_TIMEOUT: RangeInclusive<Duration> = MILLISECOND..=DAY;
pub(super) const L1_TTL: RangeInclusive<Duration> = MILLISECOND..=DAY;
pub(super) const MAX_CLIENTS: RangeInclusive<usize> = 1..=1_000_000;
pub(super) const NEGATIVE_TTL: RangeInclusive<Duration> = MILLISECOND..=HOUR;
pub(super) const SLOWLOG_MAX_LEN: RangeInclusive<usize> = 0..=1_000_000;

// === impl Change ===

impl Change {
    /// Reads `text` as the new value of `key`; `None` when the key cannot be changed while the daemon runs.
    pub fn read(key: &str, text: &str) -> Option<Result<Change, String>> {
        Some(match key {
            "client_output_max" => value::size(text, CLIENT_OUTPUT_MAX).map(Change::ClientOutputMax),
            "client_stall_timeout" => {
                value::duration(text, CLIENT_STALL_TIMEOUT).map(Change::ClientStallTimeout)
            }
            "l1_ttl" => value::duration(text, L1_TTL).map(Change::L1Ttl),
            "log_level" => value::log_filter(text).map(Change::LogLevel),
            "max_clients" => value::number(text, MAX_CLIENTS).map(Change::MaxClients),
            "negative_ttl" => value::duration(text, NEGATIVE_TTL).map(Change::NegativeTtl),
            "slowlog_log_slower_than" => value::microseconds(text).map(Change::SlowlogLogSlowerThan),
            "slowlog_max_len" => value::number(text, SLOWLOG_MAX_LEN).map(Change::SlowlogMaxLen),
            _ => return None,
        })
    }

    /// The key.
    pub fn key(&self) -> &'static str {
        match self {
            Change::ClientOutputMax(_) => "client_output_max",
            Change::ClientStallTimeout(_) => "client_stall_timeout",
            Change::L1Ttl(_) => "l1_ttl",
            Change::LogLevel(_) => "log_level",
            Change::MaxClients(_) => "max_clients",
            Change::NegativeTtl(_) => "negative_ttl",
            Change::SlowlogLogSlowerThan(_) => "slowlog_log_slower_than",
            Change::SlowlogMaxLen(_) => "slowlog_max_len",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;

    #[test]
    fn what_may_be_changed_is_read_as_it_is_at_the_beginning() {
        let mut changeable = 0;
        for key in KEYS {
            // While the daemon runs a size is given as such.
            let default = key.default.map(|text| if text.ends_with('%') { "1gb" } else { text });
            let Some(change) = Change::read(key.name, default.unwrap_or_default()) else { continue };
            assert_eq!(change.unwrap().key(), key.name);
            assert!(Change::read(key.name, "nonsense").unwrap().is_err(), "{}", key.name);
            changeable += 1;
        }
        assert_eq!(changeable, 8);
    }
}
