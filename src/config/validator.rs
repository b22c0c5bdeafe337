//! Reads one value after the other, continues after a fault, and so finds all faults at once.

use super::error::{ConfigError, ConfigErrors};
use super::reader::ReadContext;
use super::source::{RawConfig, Source};
use super::value;

/// Reads the values of a configuration.
///
/// Where a value is faulty, [`Validator::value`] returns a default. The default is never used: once there is
/// a fault, [`Validator::finish`] returns no configuration.
pub(super) struct Validator<'a> {
    given: RawConfig,
    faults: Vec<ConfigError>,
    context: ReadContext<'a>,
}

impl<'a> Validator<'a> {
    /// Reads from `given`, where `faults` are known already.
    pub(super) fn new(given: RawConfig, faults: Vec<ConfigError>, context: ReadContext<'a>) -> Validator<'a> {
        Validator { given, faults, context }
    }

    /// The value of `key`, or a default if there is none or `read` refuses it.
    pub(super) fn value<T: Default>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str, ReadContext<'_>) -> Result<T, String>,
    ) -> T {
        let Some(typed) = self.given.get(key) else { return T::default() };
        read(&typed.text, self.context).unwrap_or_else(|message| {
            self.fault(key, message);
            T::default()
        })
    }

    /// What was typed for `key` or is its default, and where.
    pub(super) fn given(&self, key: &str) -> Option<(&str, &Source)> {
        self.given.get(key).map(|typed| (&*typed.text, &typed.source))
    }

    /// Bytes that `text` comes to, if it is a part such as 25%.
    pub(super) fn part(&self, text: &str) -> Option<usize> {
        Some(self.context.whole? / 100 * value::part(text)?)
    }

    /// Notes that `key` as it was given is not allowed.
    pub(super) fn fault(&mut self, key: &'static str, message: impl Into<String>) {
        let typed = self.given.get(key);
        let source = typed.map(|typed| typed.source.clone());
        self.faults.push(ConfigError::new(key, source, typed.map(|typed| typed.text.as_str()), message));
    }

    /// Notes a fault of a table.
    pub(super) fn fault_of_table(
        &mut self,
        key: &str,
        source: Source,
        given: &str,
        message: impl Into<String>,
    ) {
        self.faults.push(ConfigError::new(key, Some(source), Some(given), message));
    }

    /// Notes a fault of several tables together.
    pub(super) fn fault_of_tables(&mut self, key: &str, message: impl Into<String>) {
        self.faults.push(ConfigError::new(key, None, None, message));
    }

    /// Notes a fault unless `holds`, a rule that `key` and `other` must keep together: `key` is to be
    /// `relation` `other`. A rule about a value that is faulty in itself would only confuse.
    pub(super) fn rule(&mut self, holds: bool, key: &'static str, relation: &str, other: &'static str) {
        if holds || self.is_faulty(key) || self.is_faulty(other) {
            return;
        }
        let than = self.given.get(other).map(|other| format!(" = {} ({})", other.text, other.source));
        self.fault(key, format!("must be {relation} {other}{}", than.unwrap_or_default()));
    }

    /// Whether a fault of `key` was found.
    pub(super) fn is_faulty(&self, key: &str) -> bool {
        self.faults.iter().any(|fault| fault.key == key)
    }

    /// `config`, if nothing is wrong with it.
    pub(super) fn finish<T>(self, config: T) -> Result<T, ConfigErrors> {
        if self.faults.is_empty() { Ok(config) } else { Err(ConfigErrors(self.faults)) }
    }
}
