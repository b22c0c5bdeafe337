//! Puts the figures of a bench into the page that shows them, between the marks in that file.

use std::fs;
use std::io;
use std::path::Path;

const BEGIN: &str = "<!-- begin: figures -->\n";
const END: &str = "<!-- end: figures -->\n";

/// Replaces what stands between the marks.
pub(crate) fn put(page: &Path, figures: &str) -> io::Result<()> {
    let text = fs::read_to_string(page)?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        parts.ok_or_else(|| io::Error::other(format!("{} has no marks for figures", page.display())))?;
    fs::write(page, format!("{before}{BEGIN}{figures}{END}{after}"))
}
