//! From texts to values: reads key after key, goes on after a fault, and so finds them all.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{ConfigError, ConfigErrors};
use super::key::{KEYS, Key};
use super::raw::RawConfig;
use super::value;

/// Reads the values of a configuration.
///
/// Where a value is faulty, [`Validator::number`] and its kin return zero. Nobody sees it: once there is a
/// fault, [`Validator::finish`] gives out no configuration.
pub(super) struct Validator {
    given: RawConfig,
    faults: Vec<ConfigError>,
    /// What a size is a part of that is typed as one, in bytes.
    whole: usize,
}

impl Validator {
    /// Reads from `given`, where `faults` are known already.
    pub(super) fn new(given: RawConfig, faults: Vec<ConfigError>) -> Validator {
        Validator { given, faults, whole: 0 }
    }

    /// The value of `key`, if there is one and `parse` takes it.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let typed = self.given.get(key)?;
        match parse(&typed.text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(key, message);
                None
            }
        }
    }

    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<usize>) -> usize {
        self.value(key, |text| value::number(text, range)).unwrap_or_default()
    }

    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<usize>) -> usize {
        let whole = self.whole;
        self.value(key, |text| value::size_or_part(text, whole, range)).unwrap_or_default()
    }

    pub(super) fn duration(&mut self, key: &'static str, range: RangeInclusive<Duration>) -> Duration {
        self.value(key, |text| value::duration(text, range)).unwrap_or_default()
    }

    /// Sizes that are typed as a part, such as 25%, are parts of so many bytes from now on.
    pub(super) fn parts_are_of(&mut self, whole: usize) {
        self.whole = whole;
    }

    /// What was typed for `key` or is its default, and where.
    pub(super) fn given(&self, key: &str) -> Option<(&str, &super::raw::Source)> {
        self.given.get(key).map(|typed| (&*typed.text, &typed.source))
    }

    /// Every key that has a value, with its text; a part with what it comes to, in bytes.
    pub(super) fn typed(&self) -> Vec<(&'static str, String)> {
        let shown = |text: &str| {
            value::part(text).map_or_else(|| text.to_owned(), |part| (self.whole / 100 * part).to_string())
        };
        KEYS.iter().filter_map(|key| Some((key.name, shown(&self.given.get(key.name)?.text)))).collect()
    }

    /// Notes that `key` as it was given is not allowed.
    pub(super) fn fault(&mut self, key: &'static str, message: impl Into<String>) {
        let typed = self.given.get(key);
        let source = typed.map(|typed| typed.source.clone());
        self.faults.push(ConfigError::new(key, source, typed.map(|typed| typed.text.as_str()), message));
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

    /// Notes that `key` was not given and has no default, unless it was given and is faulty.
    pub(super) fn missing(&mut self, key: &'static str) {
        let ways = Key::named(key).map(|key| format!("--{}, {} or {}", key.flag(), key.variable(), key.name));
        if self.given.get(key).is_none() {
            self.fault(key, format!("is not given: set {} in the file", ways.unwrap_or_default()));
        }
    }

    /// Whether a fault of `key` was found.
    pub(super) fn is_faulty(&self, key: &str) -> bool {
        self.faults.iter().any(|fault| fault.key == key)
    }

    /// `config`, if nothing is wrong with it.
    pub(super) fn finish<T>(self, config: Option<T>) -> Result<T, ConfigErrors> {
        config.filter(|_| self.faults.is_empty()).ok_or(ConfigErrors(self.faults))
    }
}
