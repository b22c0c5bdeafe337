//! The documents agree with the tree: each relative link leads to a file, each anchor to a heading, and each
//! path of a source file or folder that a document names is there. The two pages to begin with stay short.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders below which nothing is a document of the project.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// Folders that a document may leave out in front of the path of a source file.
const ROOTS: [&str; 4] = ["", "src", "tests", "benches"];

/// Pages that everybody reads, and how many bytes each may have.
const SHORT: [(&str, usize); 2] = [("ARCHITECTURE.md", 20 * 1024), ("README.md", 6 * 1024)];

/// The longest row that a table of COMPATIBILITY.md may have, in characters.
const ROW_MAX: usize = 1_200;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below the root of the project, as paths from there.
fn files() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let name = entry.unwrap().file_name();
            let path = folder.join(&name);
            if !root().join(&path).is_dir() {
                found.push(path);
            } else if !SKIPPED.iter().any(|skipped| name == *skipped) {
                folders.push(path);
            }
        }
    }
    found
}

/// The documents by their paths, with their texts.
fn documents() -> BTreeMap<PathBuf, String> {
    let documents: BTreeMap<PathBuf, String> = files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap()))
        .collect();
    assert!(documents.len() > 10, "only {} documents were found", documents.len());
    documents
}

/// The lines of `text` that are not part of a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence && !line.starts_with("    ")
    })
}

/// The targets of the links of `text`.
fn links(text: &str) -> Vec<&str> {
    let lines = prose(text);
    lines.flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let plain = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
    heading.trim().to_lowercase().chars().filter(plain).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The anchors of a document. A heading that occurs again gets a number behind it.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let headings = prose(text).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    for plain in headings.map(anchor) {
        let numbered =
            (0..).map(|number| if number == 0 { plain.clone() } else { format!("{plain}-{number}") });
        anchors.extend(numbered.into_iter().find(|name| !anchors.contains(name)));
    }
    anchors
}

/// `path` without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part.as_os_str().to_str().unwrap() {
            "." => {}
            ".." => assert!(normal.pop(), "{} leaves the project", path.display()),
            other => normal.push(other),
        }
    }
    normal
}

/// Fails with all that was found wrong at once.
#[track_caller]
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let documents = documents();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in &documents {
        for link in links(text).into_iter().filter(|link| !link.contains("://")) {
            seen += 1;
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target =
                if file.is_empty() { path.clone() } else { normal(&path.parent().unwrap().join(file)) };
            if !root().join(&target).exists() {
                wrong.push(format!("{}: nothing is at {link}", path.display()));
            } else if let Some(anchor) = anchor
                && !documents.get(&target).is_some_and(|text| anchors(text).iter().any(|name| name == anchor))
            {
                wrong.push(format!("{}: {} has no heading {anchor}", path.display(), target.display()));
            }
        }
    }
    assert!(seen > 40, "only {seen} links were found");
    none(wrong);
}

#[test]
fn every_source_that_a_document_names_is_there() {
    let files = files();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in &documents() {
        // A changelog tells of what was.
        if path == Path::new("CHANGELOG.md") {
            continue;
        }
        let spans = prose(text).flat_map(|line| line.split('`').skip(1).step_by(2));
        for name in spans.filter(|span| {
            let is_path =
                span.chars().all(|character| character.is_ascii_alphanumeric() || "_-./".contains(character));
            let is_folder = span.ends_with('/') && !span.starts_with('/');
            is_path && (is_folder || span.ends_with(".rs"))
        }) {
            seen += 1;
            let is_there = if name.contains('/') {
                ROOTS.iter().any(|folder| root().join(folder).join(name).exists())
            } else {
                files.iter().any(|file| file.ends_with(name))
            };
            if !is_there {
                wrong.push(format!("{}: {name} is nowhere", path.display()));
            }
        }
    }
    assert!(seen > 20, "only {seen} sources are named");
    none(wrong);
}

#[test]
fn the_pages_to_begin_with_are_short() {
    for (name, most) in SHORT {
        let bytes = fs::read(root().join(name)).unwrap().len();
        assert!(bytes <= most, "{name} has {bytes} bytes: what only some readers need goes to docs/");
    }
}

#[test]
fn no_row_of_the_compatibility_tables_is_a_page() {
    let text = fs::read_to_string(root().join("COMPATIBILITY.md")).unwrap();
    let long = text.lines().filter(|line| line.chars().count() > ROW_MAX);
    none(
        long.map(|line| format!("too long to read: {}...", line.chars().take(60).collect::<String>()))
            .collect(),
    );
}

#[test]
fn anchors_are_made_as_the_site_makes_them() {
    let text = "# What's `new`?\n\n    # no heading\n```\n# nor this\n```\n## A, b & c-d\n## A, b & c-d\n";
    assert_eq!(anchors(text), ["whats-new", "a-b--c-d", "a-b--c-d-1"]);
    assert_eq!(links("a [b](c.md#d) and [e](../f)\n    [no](g)"), ["c.md#d", "../f"]);
}
