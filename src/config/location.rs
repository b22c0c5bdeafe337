//! Where something is in the text of the configuration file.

use std::ops::Range;
use std::path::Path;

use super::source::Source;

/// A configuration file that was read.
pub(super) struct FileText<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

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
