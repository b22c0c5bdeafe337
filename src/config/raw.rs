//! The texts as they were typed, before validation: one for each key, and where it came from.

use std::collections::BTreeMap;

use super::key::Key;
use super::source::Source;

/// The text that was typed for each key; a later source replaces an earlier one.
#[derive(Debug, Default)]
pub(super) struct RawConfig(BTreeMap<&'static str, RawValue>);

/// A value as it was typed.
#[derive(Debug)]
pub(super) struct RawValue {
    pub(super) text: String,
    pub(super) source: Source,
}

// === impl RawConfig ===

impl RawConfig {
    /// What was typed for the key of this name, or its default.
    pub(super) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name)
    }

    /// Takes `text` for `key`, in place of what an earlier source said.
    pub(super) fn set(&mut self, key: &'static Key, text: String, source: Source) {
        self.0.insert(key.name, RawValue { text, source });
    }
}
