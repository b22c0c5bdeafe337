//! The texts of the configuration as they were typed, before validation, and where each was typed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

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

/// The text that was typed for the key of each name, or its default.
pub(super) type RawConfig = BTreeMap<&'static str, RawValue>;

/// A value as it was typed.
#[derive(Debug)]
pub(super) struct RawValue {
    pub(super) text: String,
    pub(super) source: Source,
}

/// A configuration file that was read.
pub(super) struct FileText<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
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

// === impl FileText ===

impl FileText<'_> {
    /// The place of `span`.
    pub(super) fn at(&self, span: Range<usize>) -> Source {
        Source::File(self.path.to_owned(), self.line(span))
    }

    /// The line that `span` begins on, counted from 1.
    pub(super) fn line(&self, span: Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}
