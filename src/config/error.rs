//! What is wrong with a configuration, said so that the reader can put it right without asking.

use std::fmt;

use super::source::Source;

/// A fault of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, or the name of the file or variable where there is no such key.
    pub key: String,
    /// Where it was given; none when it is missing.
    pub source: Option<Source>,
    /// What was given, passwords hidden; none when it is missing or does not matter.
    pub given: Option<String>,
    /// What is wrong, or what is allowed.
    pub message: String,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

// === impl ConfigError ===

impl ConfigError {
    /// A fault of the command line: `argument` is not understood.
    pub fn of_argument(argument: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::new(&without_credentials(argument), None, None, message)
    }

    /// A fault of `key`. Passwords in `given` are hidden here, so that a fault may be printed and logged.
    pub(super) fn new(
        key: &str,
        source: Option<Source>,
        given: Option<&str>,
        message: impl Into<String>,
    ) -> ConfigError {
        ConfigError {
            key: key.to_owned(),
            source,
            given: given.map(without_credentials),
            message: message.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(given) = &self.given {
            write!(f, " = {given:?}")?;
        }
        if let Some(source) = &self.source {
            write!(f, " ({source})")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration has faults:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// `text` without the user and password that a URL in it may hold.
fn without_credentials(text: &str) -> String {
    let Some(at) = text.rfind('@') else { return text.to_owned() };
    let begin = text.find("://").map_or(0, |scheme_end| scheme_end + "://".len()).min(at);
    format!("{}***{}", &text[..begin], &text[at..])
}
