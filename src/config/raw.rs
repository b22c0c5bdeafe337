//! What was typed, before anybody asked whether it makes sense: one text a key, and where it came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::error::ConfigError;
use super::key::{KEYS, Key, VARIABLE_PREFIX};

/// Where a value was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag(String),
    /// In an environment variable.
    Variable(String),
    /// In the configuration file, at a line counted from 1.
    File(PathBuf, usize),
    /// Nowhere: the default.
    Default,
}

/// The text that was typed for each key; a later source replaces an earlier one.
#[derive(Debug)]
pub(super) struct RawConfig(BTreeMap<&'static str, RawValue>);

/// One value as it was typed.
#[derive(Debug)]
pub(super) struct RawValue {
    pub(super) text: String,
    pub(super) source: Source,
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "--{flag}"),
            Source::Variable(name) => f.write_str(name),
            Source::File(path, line) => write!(f, "{}:{line}", path.display()),
            Source::Default => f.write_str("default"),
        }
    }
}

// === impl Given ===

impl RawConfig {
    /// The defaults alone.
    pub(super) fn defaults() -> RawConfig {
        let typed = |text: &str| RawValue { text: text.to_owned(), source: Source::Default };
        RawConfig(KEYS.iter().filter_map(|key| Some((key.name, typed(key.default?)))).collect())
    }

    /// What was typed for the key of this name, or its default.
    pub(super) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name)
    }

    /// Takes `text` for `key`, in place of what an earlier source said.
    pub(super) fn set(&mut self, key: &'static Key, text: String, source: Source) {
        self.0.insert(key.name, RawValue { text, source });
    }

    /// Takes what stands in the environment.
    ///
    /// A variable with our prefix that names no key is not a fault in itself: for a service called
    /// `nearside`, Kubernetes sets NEARSIDE_PORT and others in every pod. One that looks like a key
    /// mistyped is.
    pub(super) fn take_environment(
        &mut self,
        variables: &[(OsString, OsString)],
        faults: &mut Vec<ConfigError>,
    ) {
        for (variable, value) in variables {
            let Some(variable) = variable.to_str() else { continue };
            let Some(name) = variable.strip_prefix(VARIABLE_PREFIX).map(str::to_ascii_lowercase) else {
                continue;
            };
            let source = Source::Variable(variable.to_owned());
            match (Key::named(&name), value.to_str()) {
                (Some(key), Some(text)) => self.set(key, text.to_owned(), source),
                (Some(key), None) => {
                    faults.push(ConfigError::new(key.name, Some(source), None, "is not UTF-8"))
                }
                (None, _) => faults.extend(mistyped_variable(variable, &name)),
            }
        }
    }

    /// Takes the flags, by the name of their keys; a repeated one is a list.
    pub(super) fn take_flags(&mut self, flags: &[(&'static Key, String)]) {
        for (key, text) in flags {
            self.set(key, text.clone(), Source::Flag(key.flag()));
        }
    }
}

fn mistyped_variable(variable: &str, name: &str) -> Option<ConfigError> {
    let message = format!("no key has this name; did you mean {}?", Key::resembling(name)?.variable());
    Some(ConfigError::new(variable, None, None, message))
}
