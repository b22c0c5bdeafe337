//! What the configuration is read from. A flag wins over an environment variable, that over the configuration
//! file, that over the default.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::file::{self, FileTables};
use super::key::{Key, VARIABLE_PREFIX};
use super::settings::KEYS;
use super::source::{RawConfig, RawValue, Source};

/// What the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The flags that were given, each with its text.
    pub flags: Vec<(&'static Key, String)>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The configuration file, where a flag names one.
    pub file: Option<PathBuf>,
    /// Where `proc` and `sys` of the machine are, if not at the root: they tell the limit of its memory.
    pub machine: Option<PathBuf>,
}

/// The variable that names the configuration file where no flag does.
const FILE_VARIABLE: &str = "NEARSIDE_CONFIG";

// === impl Sources ===

impl Sources {
    /// Reads all sources: the texts of the settings, the tables of the file, and what is wrong with either.
    pub(super) fn gather(&self) -> (RawConfig, FileTables, Vec<ConfigError>) {
        let (mut given, mut tables, mut faults) = (defaults(), FileTables::default(), Vec::new());
        let variable = self.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        if let Some(path) = self.file.clone().or_else(|| variable.map(|(_, path)| path.into())) {
            tables = file::read(&path, &mut given, &mut faults);
        }
        take_environment(&mut given, &self.environment, &mut faults);
        for (key, text) in &self.flags {
            given.insert(key.name, RawValue { text: text.clone(), source: Source::Flag(key.flag()) });
        }
        (given, tables, faults)
    }

    /// Where `proc` and `sys` of the machine are.
    pub(super) fn machine(&self) -> &Path {
        self.machine.as_deref().unwrap_or(Path::new("/"))
    }
}

fn defaults() -> RawConfig {
    let raw = |text: &str| RawValue { text: text.to_owned(), source: Source::Default };
    KEYS.iter().filter_map(|key| Some((key.name, raw(key.default?)))).collect()
}

/// Takes the values in the environment.
///
/// A variable with our prefix that names no key is not a fault in itself: for a service called `nearside`,
/// Kubernetes sets NEARSIDE_PORT and others in every pod. A variable that looks like a key mistyped is a
/// fault.
fn take_environment(
    given: &mut RawConfig,
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
            (Some(key), Some(text)) => _ = given.insert(key.name, RawValue { text: text.to_owned(), source }),
            (Some(key), None) => faults.push(ConfigError::new(key.name, Some(source), None, "is not UTF-8")),
            (None, _) => faults.extend(mistyped_variable(variable, &name)),
        }
    }
}

fn mistyped_variable(variable: &str, name: &str) -> Option<ConfigError> {
    let message = format!("no key has this name; did you mean {}?", Key::resembling(name)?.variable());
    Some(ConfigError::new(variable, None, None, message))
}
