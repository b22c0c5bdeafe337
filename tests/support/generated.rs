//! A part of a document that a test writes: it holds the document to the code, and brings it up to date when
//! asked.

use std::fs;
use std::path::Path;

/// When it is set, a part that differs is written anew instead of failing the test.
const BLESS: &str = "NEARSIDE_BLESS";

/// Fails unless `document`, between the two comments that name `part`, says exactly `wanted`.
pub(crate) fn keep(document: &str, part: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- begin: {part} -->\n"), format!("<!-- end: {part} -->"));
    let found = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    let (present, _) = found.unwrap_or_else(|| panic!("{document} has no part between {begin} and {end}"));
    if present == wanted {
        return;
    }
    if std::env::var_os(BLESS).is_some() {
        fs::write(&path, text.replacen(&format!("{begin}{present}"), &format!("{begin}{wanted}"), 1))
            .unwrap();
        return;
    }
    let missing: Vec<&str> =
        wanted.lines().filter(|line| !present.lines().any(|other| other == *line)).collect();
    let stale: Vec<&str> =
        present.lines().filter(|line| !wanted.lines().any(|other| other == *line)).collect();
    panic!(
        "{document} does not agree with the code. `{BLESS}=1 cargo test` writes the part {part:?} anew.\n\
         lines that are missing: {missing:#?}\nlines that are no longer true: {stale:#?}"
    );
}
