//! What the daemon tells has a line in the documents, and a test in which it is told: every error of its own,
//! every field of INFO nearside that counts, every reason of NEARSIDE EXPLAIN. And no document has a line
//! that nothing tells.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nearside::cache::{MissReason, NoReason};
use nearside::config::{KEYS, Key};
use nearside::stats::WorkerStats;

mod literals;

/// A text with gaps, in each of which something stands: `node {node} is away`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern(Vec<String>);

/// A test that produces a text has at least so many characters of it.
const TELLING: usize = 9;

/// Said where the compiler wants something to be said and no client can come to.
const UNREACHABLE: [&str; 1] =
    ["ERR {name} is not available here through nearside: it needs state that outlives the request"];

// === impl Pattern ===

impl Pattern {
    /// Of a text as it stands in a call of `format!`.
    fn of_format(text: &str) -> Pattern {
        let (mut parts, mut part, mut characters) = (Vec::new(), String::new(), text.chars().peekable());
        while let Some(character) = characters.next() {
            match character {
                '{' | '}' if characters.peek() == Some(&character) => part.extend(characters.next()),
                '{' => {
                    characters.by_ref().find(|character| *character == '}');
                    parts.push(std::mem::take(&mut part));
                }
                _ => part.push(character),
            }
        }
        parts.push(part);
        Pattern(parts)
    }

    fn matches(&self, text: &str) -> bool {
        let [first, between @ .., last] = &self.0[..] else { return self.0.iter().any(|only| only == text) };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in between {
            // Something stands in each gap.
            let Some(at) = rest
                .char_indices()
                .skip(1)
                .map(|(at, _)| at)
                .find(|at| rest[*at..].starts_with(part.as_str()))
            else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        rest.len() > last.len() && rest.ends_with(last.as_str())
    }

    /// Whether some literal of the tests can be nothing but a piece of it.
    fn is_in(&self, tests: &[String]) -> bool {
        let longest = self.0.iter().max_by_key(|part| part.len()).map(|part| part.trim()).unwrap_or_default();
        tests.iter().filter(|literal| literal.len() >= TELLING).any(|literal| {
            literal.contains(longest)
                || self.0.iter().any(|part| part.contains(literal.as_str()))
                || self.matches(literal)
        })
    }
}

/// The first and the last column of the table of `document` that stands between the comments that name
/// `part`.
fn rows(document: &str, part: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let (begin, end) = (format!("<!-- begin: {part} -->\n"), format!("<!-- end: {part} -->"));
    let found = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    let (table, _) = found.unwrap_or_else(|| panic!("{document} has no part {part}"));
    let rows =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let rows: Vec<(String, String)> = rows.map(|(first, rest)| (first.to_owned(), rest.to_owned())).collect();
    assert!(
        rows.len() > 3 && rows.iter().all(|(_, rest)| rest.trim().len() > 3),
        "{document}, {part}: {rows:?}"
    );
    rows
}

/// The name of the field that a line of INFO begins with, as it stands in a call of `write!`; a number at its
/// end is 0.
fn field_name(line: &str) -> Option<String> {
    let (name, _) = line.split_once(":{").or_else(|| line.split_once(":address="))?;
    let (name, number) = name.split_once('{').map_or((name, ""), |(name, _)| (name, "0"));
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    (!name.is_empty() && name.chars().all(plain)).then(|| format!("{name}{number}"))
}

/// Fails with all that was found wrong at once.
#[track_caller]
fn none(what: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

/// The errors that the daemon makes itself: those that name it. What Redis says as well is Redis's.
fn own_errors() -> Vec<Pattern> {
    let is_own = |text: &&str| {
        let code = text.split(' ').next().unwrap_or_default();
        let named = code.len() > 1 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        named && text.contains(' ') && text.to_ascii_lowercase().contains("nearside")
    };
    let program = literals::of_the_program();
    let texts = program.iter().map(|text| text.trim_start_matches('-').trim_end());
    // The lines of NEARSIDE HELP begin in capitals too.
    let errors = texts.filter(is_own).filter(|text| !text.starts_with("NEARSIDE "));
    let mut errors: Vec<Pattern> =
        errors.filter(|text| !UNREACHABLE.contains(text)).map(Pattern::of_format).collect();
    errors.sort();
    errors.dedup();
    errors
}

#[test]
fn every_error_of_the_daemons_own_stands_in_the_page_and_in_a_test() {
    let (errors, rows) =
        (own_errors(), [rows("docs/errors.md", "errors"), rows("docs/errors.md", "other errors")].concat());
    assert!(errors.len() > 20, "{errors:#?}");
    let undocumented = errors.iter().filter(|error| !rows.iter().any(|(text, _)| error.matches(text)));
    none(
        "docs/errors.md has no row for these errors",
        undocumented.map(|error| error.0.join("...")).collect(),
    );
    let tests: Vec<String> =
        literals::of_the_tests().iter().flat_map(|text| literals::literals(text)).collect();
    let untested = errors.iter().filter(|error| !error.is_in(&tests));
    none("no test has these errors", untested.map(|error| error.0.join("...")).collect());
    let others = ["CLUSTERDOWN Hash slot not served"];
    let stale = rows.iter().map(|(text, _)| text.as_str()).filter(|text| !others.contains(text));
    let stale = stale.filter(|text| !errors.iter().any(|error| error.matches(text)));
    none("no code makes these errors of docs/errors.md", stale.map(str::to_owned).collect());
}

#[test]
fn every_reason_of_explain_stands_in_the_page_and_in_a_test() {
    let reasons: Vec<(String, String)> = MissReason::ALL
        .iter()
        .map(|why| (why.to_string(), format!("MissReason::{why:?}")))
        .chain(NoReason::ALL.iter().map(|unknown| (unknown.to_string(), format!("NoReason::{unknown:?}"))))
        .collect();
    let rows: Vec<String> = rows("docs/operations.md", "reasons").into_iter().map(|(text, _)| text).collect();
    let wanted: Vec<String> = reasons.iter().map(|(text, _)| text.clone()).collect();
    assert_eq!(rows, wanted, "docs/operations.md has a row for each reason, in the order of the code");
    let tests = literals::of_the_tests();
    let texts: Vec<String> = tests.iter().flat_map(|text| literals::literals(text)).collect();
    let is_told = |reason: &str| {
        texts
            .iter()
            .filter(|literal| literal.len() >= TELLING && reason.contains(literal.as_str()))
            // It is this one that the test has, and no other.
            .any(|literal| reasons.iter().filter(|(text, _)| text.contains(literal.as_str())).count() == 1)
    };
    let is_tested = |(reason, name): &&(String, String)| {
        is_told(reason) || tests.iter().any(|text| text.contains(name.as_str()))
    };
    none(
        "no test has these reasons",
        reasons.iter().filter(|reason| !is_tested(reason)).map(|(text, _)| text.clone()).collect(),
    );
}

#[test]
fn every_counter_stands_in_the_page_and_in_a_test() {
    let rows: Vec<String> = rows("docs/operations.md", "fields").into_iter().map(|(name, _)| name).collect();
    let counters = WorkerStats::default().values().map(|(name, _)| name.to_owned());
    let fields = literals::of_function("src/commands/info/sections.rs", "nearside");
    let fields = fields.iter().flat_map(|text| text.split("\r\n")).filter_map(field_name);
    let told: Vec<String> = counters.chain(fields).collect();
    assert!(
        ["l1_hits", "l1_bytes", "canary0"].iter().all(|name| told.iter().any(|told| told == name)),
        "{told:?}"
    );
    let missing = told.into_iter().filter(|name| !rows.contains(name));
    none("docs/operations.md has no row for these fields", missing.collect());
    let tests = literals::of_the_tests();
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words: BTreeSet<&str> =
        tests.iter().flat_map(|text| text.split(|character| !is_name(character))).collect();
    let untested = rows.iter().filter(|row| !words.contains(row.as_str()));
    none("no test has these fields", untested.cloned().collect());
}

#[test]
fn every_warning_of_the_log_stands_in_the_page() {
    let messages = literals::of_warnings();
    let is_fixed = |pattern: &Pattern| pattern.0.iter().any(|part| part.len() >= TELLING);
    let warnings: BTreeSet<Pattern> =
        messages.iter().map(|text| Pattern::of_format(text)).filter(is_fixed).collect();
    assert!(warnings.len() > 40, "{warnings:#?}");
    let rows = rows("docs/operations.md", "warnings");
    let missing = warnings.iter().filter(|warning| !rows.iter().any(|(text, _)| warning.matches(text)));
    none(
        "docs/operations.md has no row for these warnings",
        missing.map(|warning| warning.0.join("...")).collect(),
    );
    // Some are put together elsewhere in the program, and logged as they are.
    let program: Vec<Pattern> =
        literals::of_the_program().iter().map(|text| Pattern::of_format(text)).filter(is_fixed).collect();
    let stale = rows.iter().filter(|(text, _)| !program.iter().any(|pattern| pattern.matches(text)));
    none("no code logs these warnings", stale.map(|(text, _)| text.clone()).collect());
}

#[test]
fn every_setting_is_given_by_a_test() {
    let tests = literals::of_the_tests();
    let is_of_key = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let words: BTreeSet<&str> = tests.iter().flat_map(|text| text.split(|other| !is_of_key(other))).collect();
    let is_given = |key: &Key| {
        let (flag, name) = (key.flag(), key.name);
        [format!("--{flag}"), name.to_owned(), key.variable()]
            .iter()
            .any(|word| words.contains(word.as_str()))
    };
    let untested = KEYS.iter().filter(|key| !is_given(key));
    none("no test gives these settings", untested.map(|key| key.name.to_owned()).collect());
}

#[test]
fn patterns_match_what_they_can_become_and_nothing_else() {
    let pattern = Pattern::of_format("ERR nearside: node {node} has {} of {{many}} ({bound})");
    assert!(pattern.matches("ERR nearside: node 1 has 2 of {many} (a)"));
    for other in [
        "ERR nearside: node  has 2 of {many} (a)",
        "ERR nearside: node 1 has 2 of {many} ()",
        "ERR nearside: node 1",
        "x",
    ] {
        assert!(!pattern.matches(other), "{other}");
    }
}
