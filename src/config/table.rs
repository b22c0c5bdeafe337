//! A table of the configuration file, such as a policy: its keys, and what is wrong with them.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::source::FileText;

/// A table of the file.
pub(super) struct TableReader<'a> {
    pub(super) file: &'a FileText<'a>,
    /// What the file calls such a table.
    pub(super) kind: &'static str,
    pub(super) table: &'a DeTable<'a>,
    pub(super) faults: &'a mut Vec<ConfigError>,
}

/// The tables in `value`, each of which stands under a line `[[kind]]`, with their places; nothing if it has
/// something else, or more than `max`, which is a fault.
pub(super) fn tables<'a>(
    file: &FileText<'_>,
    kind: &'static str,
    max: usize,
    value: &'a Spanned<DeValue<'a>>,
    faults: &mut Vec<ConfigError>,
) -> Vec<(&'a DeTable<'a>, std::ops::Range<usize>)> {
    let items = value.get_ref().as_array();
    let tables: Option<Vec<_>> = items
        .and_then(|items| items.iter().map(|item| Some((item.get_ref().as_table()?, item.span()))).collect());
    let mut fault = |message: String| {
        faults.push(ConfigError::new(kind, Some(file.at(value.span())), None, message));
    };
    let Some(tables) = tables else {
        fault(format!("tables are wanted, each under a line [[{kind}]]"));
        return Vec::new();
    };
    if tables.len() > max {
        fault(format!("there are {}, and at most {max} are allowed", tables.len()));
    }
    tables
}

// === impl TableReader ===

impl TableReader<'_> {
    /// Notes the names that no key in `keys` has.
    pub(super) fn names(&mut self, keys: &[&str]) {
        for (name, _) in self.table {
            let text: &str = name.get_ref();
            if keys.contains(&text) {
                continue;
            }
            let near = keys.iter().find(|key| strsim::damerau_levenshtein(key, text) <= 2);
            let hint = near.map(|key| format!("; did you mean {key}?")).unwrap_or_default();
            let message = format!("no key of a {} has this name{hint}", self.kind);
            let source = Some(self.file.at(name.span()));
            self.faults.push(ConfigError::new(&self.full(text), source, None, message));
        }
    }

    /// The value of one key, if it is given and `parse` takes it.
    pub(super) fn read<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = self.table.get(name)?;
        let text = match value.get_ref() {
            DeValue::String(text) => text,
            _ => &self.file.text[value.span()],
        };
        parse(text).map_err(|message| self.fault(name, message)).ok()
    }

    /// The texts of one key: a string, or an array of strings.
    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        let Some(value) = self.table.get(name) else { return Vec::new() };
        let texts = match value.get_ref() {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(items) => {
                items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        texts.unwrap_or_else(|| {
            self.fault(name, "a string or an array of strings is wanted");
            Vec::new()
        })
    }

    /// Notes that the value of key `name` is not allowed.
    pub(super) fn fault(&mut self, name: &str, message: impl Into<String>) {
        let value = self.table.get(name);
        let source = value.map(|value| self.file.at(value.span()));
        let given = value.map(|value| match value.get_ref() {
            DeValue::String(text) => text,
            _ => &self.file.text[value.span()],
        });
        self.faults.push(ConfigError::new(&self.full(name), source, given, message));
    }

    /// The name of a key as faults say it.
    pub(super) fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.kind)
    }
}
