//! Where a value of the configuration was typed.

use std::fmt;
use std::path::PathBuf;

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
