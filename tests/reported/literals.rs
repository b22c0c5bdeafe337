//! The string literals of the sources, those of the program apart from those of its tests.

use std::fs;
use std::path::{Path, PathBuf};

/// What begins the tests of a file of the program.
const TESTS_BEGIN: &str = "#[cfg(test)]\nmod tests {";

/// The texts of all files of the program; without its own tests, its command line, and `dev`, which is for
/// demonstrations.
pub(crate) fn of_the_program() -> Vec<String> {
    let files = files("src").into_iter().filter(|path| {
        !is_of_tests(path)
            && !path.starts_with("src/dev")
            && !path.starts_with("src/sandbox")
            && *path != Path::new("src/config/cli.rs")
    });
    files.flat_map(|path| literals(program_part(&read(&path)))).collect()
}

/// The messages of the warnings and errors that the program logs: the last literal of each such call.
pub(crate) fn of_warnings() -> Vec<String> {
    let files = files("src").into_iter().filter(|path| !is_of_tests(path) && !path.starts_with("src/dev"));
    let mut messages = Vec::new();
    for path in files {
        let text = read(&path);
        let calls = ["warn!(", "error!("].map(|name| program_part(&text).split(name).skip(1));
        for rest in calls.into_iter().flatten() {
            messages.extend(literals(arguments(rest)).pop());
        }
    }
    messages
}

/// What stands before the parenthesis that ends a call; its opening one is passed.
fn arguments(rest: &str) -> &str {
    let (mut depth, mut in_text, mut escaped) = (1, false, false);
    for (at, character) in rest.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = in_text,
            '"' => in_text = !in_text,
            '(' if !in_text => depth += 1,
            ')' if !in_text => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &rest[..at];
        }
    }
    panic!("a call does not end: {rest}")
}

/// Those of one function of the program, which begins at the margin.
pub(crate) fn of_function(path: &str, name: &str) -> Vec<String> {
    let text = read(Path::new(path));
    let function = text.split_once(&format!("fn {name}(")).and_then(|(_, rest)| rest.split_once("\n}\n"));
    literals(function.unwrap_or_else(|| panic!("{path} has no function {name}")).0)
}

/// The text of all tests: those beside the code, and those of `tests/`, but for what checks the documents.
pub(crate) fn of_the_tests() -> Vec<String> {
    let checks =
        ["tests/reported", "tests/compatibility_docs.rs", "tests/configuration_docs.rs", "tests/layering.rs"];
    let beside = files("src").into_iter().map(|path| {
        let text = read(&path);
        if is_of_tests(&path) { text } else { text[program_part(&text).len()..].to_owned() }
    });
    let apart = files("tests").into_iter().filter(|path| !checks.iter().any(|check| path.starts_with(check)));
    beside.chain(apart.map(|path| read(&path))).collect()
}

fn program_part(text: &str) -> &str {
    text.split_once(TESTS_BEGIN).map_or(text, |(program, _)| program)
}

fn is_of_tests(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

fn files(directory: &str) -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![PathBuf::from(directory)]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20, "only {} files under {directory}", found.len());
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What stands between quotes in `code`, as the program has it; comments are passed over.
pub(crate) fn literals(code: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), code);
    while let Some(at) = rest.find(['"', '/', '\'', 'r']) {
        let before = rest[..at].chars().next_back();
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with('"') {
            let (text, after) = quoted(&rest[1..]);
            found.push(text);
            rest = after;
        } else if let Some((text, after)) =
            raw(rest).filter(|_| !before.is_some_and(char::is_alphanumeric) || before == Some('b'))
        {
            found.push(text.to_owned());
            rest = after;
        } else if rest.starts_with('\'') {
            rest = after_character(&rest[1..]);
        } else {
            rest = &rest[1..];
        }
    }
    found
}

/// A literal whose first quote is passed, and what follows it.
fn quoted(mut rest: &str) -> (String, &str) {
    let mut text = String::new();
    loop {
        let at = rest.find(['"', '\\']).unwrap_or_else(|| panic!("a literal does not end: {rest}"));
        text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if rest[at..].starts_with('"') {
            return (text, after);
        }
        // A line that goes on.
        if let Some(next) = after.strip_prefix('\n') {
            rest = next.trim_start();
            continue;
        }
        let mut characters = after.chars();
        text.extend(characters.next().map(|character| match character {
            'n' => '\n',
            'r' => '\r',
            other => other,
        }));
        rest = characters.as_str();
    }
}

/// A literal that begins with `r"` or `r#"`, and what follows it.
fn raw(code: &str) -> Option<(&str, &str)> {
    let code = code.strip_prefix('r')?;
    let hashes = code.len() - code.trim_start_matches('#').len();
    code[hashes..].strip_prefix('"')?.split_once(&format!("\"{}", "#".repeat(hashes)))
}

/// What follows a quote: the rest of a character, or the name of a lifetime.
fn after_character(code: &str) -> &str {
    let mut characters = code.char_indices();
    let escaped = code.starts_with('\\');
    if escaped {
        characters.next();
    }
    characters.next();
    match characters.as_str().strip_prefix('\'') {
        Some(after) => after,
        None if escaped => characters.as_str(),
        None => code,
    }
}

#[test]
fn literals_are_what_the_program_has() {
    let code = "let a = \"one\\r\\n \\\"two\\\"\"; // \"no\"\nlet b = ('\"', '\\'', b'\"', br#\"raw \"it\" is\"#);\n\
                fn c<'a>(d: &'a str) { \"x \\\n      y\"; }";
    assert_eq!(literals(code), ["one\r\n \"two\"", "raw \"it\" is", "x y"]);
}

#[test]
fn arguments_end_with_the_call() {
    assert_eq!(arguments("a(), \"b) \\\" (\"); c()"), "a(), \"b) \\\" (\"");
}
