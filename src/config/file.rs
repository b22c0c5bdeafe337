//! The configuration file: TOML, without tables but those of policies and namespaces, every value with the
//! line that it is on.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::bounded_file;
use super::error::ConfigError;
use super::key::Key;
use super::namespace::{self, NamespaceTable};
use super::policy;
use super::source::{FileText, RawConfig, RawValue, Source};
use super::units::MIB;
use crate::cache::policy::Policy;

/// Bytes of the file: far more than all policies take.
const BYTES_MAX: usize = 16 * MIB;

/// The tables of the file.
#[derive(Debug, Default)]
pub(super) struct FileTables {
    pub(super) policies: Vec<Policy>,
    pub(super) namespaces: Vec<NamespaceTable>,
}

/// Reads the file at `path` into `given`. Faults in it go to `faults`; the rest is still read, so that one
/// run shows every fault. Returns the tables in it.
pub(super) fn read(path: &Path, given: &mut RawConfig, faults: &mut Vec<ConfigError>) -> FileTables {
    match bounded_file::read(path, BYTES_MAX) {
        Ok(text) => take(&FileText { path, text: &text }, given, faults),
        Err(error) => {
            let message = format!("cannot read the configuration file: {error}");
            faults.push(ConfigError::new(&path.display().to_string(), None, None, message));
            FileTables::default()
        }
    }
}

fn take(file: &FileText<'_>, given: &mut RawConfig, faults: &mut Vec<ConfigError>) -> FileTables {
    let mut tables = FileTables::default();
    let (table, errors) = DeTable::parse_recoverable(file.text);
    for error in errors {
        let source = error.span().map(|span| file.at(span));
        faults.push(ConfigError::new("file", source, None, format!("not TOML: {}", error.message())));
    }
    for (name, value) in table.get_ref() {
        let source = file.at(name.span());
        let name: &str = name.get_ref();
        match Key::named(name) {
            None if name == "policy" => tables.policies = policy::read(file, value, faults),
            // One namespace for all is a setting, and several are tables.
            Some(key) if key.name == "namespace" && value.get_ref().is_array() => {
                tables.namespaces = namespace::read(file, value, faults);
            }
            None => faults.push(unknown(name, source)),
            Some(key) => match typed(file, key, value) {
                Ok(text) => _ = given.insert(key.name, RawValue { text, source }),
                Err(message) => {
                    let given = Some(&file.text[value.span()]);
                    faults.push(ConfigError::new(key.name, Some(source), given, message));
                }
            },
        }
    }
    tables
}

/// The value as one would type it for a flag. A bare number stays as it is written: what it means is not
/// decided here (`unix_mode = 770` is octal).
fn typed(file: &FileText<'_>, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(_) => Ok(file.text[value.span()].to_owned()),
        DeValue::Boolean(on) if key.is_switch() => Ok(on.to_string()),
        DeValue::Array(items) if key.list => {
            let texts = items.iter().map(|item| item.get_ref().as_str());
            let texts: Option<Vec<&str>> = texts.collect();
            texts.map(|texts| texts.join(",")).ok_or_else(|| "an array of strings is wanted".to_owned())
        }
        other if key.list => {
            Err(format!("a string or an array of strings is wanted, not a {}", other.type_str()))
        }
        other => Err(format!("a string or a whole number is wanted, not a {}", other.type_str())),
    }
}

/// The value of an unknown key is not shown: it may well be a password.
fn unknown(name: &str, source: Source) -> ConfigError {
    let message = match Key::resembling(name) {
        Some(key) => format!("no key has this name; did you mean {}?", key.name),
        None => "no key has this name".to_owned(),
    };
    ConfigError::new(name, Some(source), None, message)
}
