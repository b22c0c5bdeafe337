//! The house: which room may use which, that no files import each other in a circle, where foreign crates may
//! be named, and that every file says its job. Every failure says why the rule is there.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use house::{BANNED, COLUMNS_MAX, EMPTY_NAMES, HOUSE, NO_BEGINNING, NO_WORDS, PLACES, WORDS};
use imports::Imports;

#[path = "layering/house.rs"]
mod house;
#[path = "layering/imports.rs"]
mod imports;

/// A file under src/.
struct Source {
    /// With `/`, from src/ on.
    path: String,
    text: String,
}

// === impl Source ===

impl Source {
    /// The module of the library that it is part of: `session` for `session/info.rs`; `main` for the binary.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The code of each line, without its comment.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(|line| {
            let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
            comment.map_or(line, |(at, _)| &line[..at])
        })
    }

    /// The modules that it names from the root of the library.
    fn uses(&self) -> BTreeSet<String> {
        let root = if self.module() == "main" { "nearside::" } else { "crate::" };
        let code = self.code().collect::<Vec<_>>().join("\n");
        let mut uses = BTreeSet::new();
        for (at, _) in code.match_indices(root) {
            if code[..at].ends_with(is_of_name) {
                continue;
            }
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => uses.extend(first_names(group)),
                None => uses.extend(leading_name(rest)),
            }
        }
        uses
    }

    /// The first sentence of its `//!` head.
    fn job(&self) -> Option<String> {
        let head: Vec<&str> =
            self.text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        let paragraph = head.split(|line| line.is_empty()).next()?.join(" ");
        let end = paragraph.find(". ").unwrap_or(paragraph.len());
        let sentence = paragraph[..end].trim_end_matches(['.', ':']);
        (!sentence.is_empty()).then(|| sentence.to_owned())
    }
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '$'
}

fn leading_name(text: &str) -> Option<String> {
    let end = text.find(|character| !is_of_name(character)).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first name of each element of `a::b, c::{d, e}, …}`.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut wanted) = (0, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => wanted = true,
            _ if wanted && is_of_name(character) => {
                names.extend(leading_name(&group[at..]));
                wanted = false;
            }
            _ => {}
        }
    }
    names
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 50, "only {} files under {}", found.len(), root.display());
    found
}

fn collect(root: &Path, directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            found.push(Source { path: name, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

fn imports() -> Imports {
    let sources = sources();
    Imports::of(sources.iter().map(|source| (&*source.path, &*source.text)))
}

/// Fails with all that was found wrong at once.
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_library_lists_its_modules_in_the_order_of_the_house() {
    let library = include_str!("../src/lib.rs");
    let listed: Vec<&str> = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod "))?.strip_suffix(';'))
        .collect();
    let house: Vec<&str> = HOUSE.iter().map(|(module, _)| *module).collect();
    assert_eq!(listed, house, "src/lib.rs is where a reader learns which module stands above which");
}

#[test]
fn what_a_module_may_use_stands_above_it() {
    for (index, (module, allowed)) in HOUSE.iter().enumerate() {
        for used in *allowed {
            let above = HOUSE[..index].iter().any(|(other, _)| other == used);
            assert!(
                above,
                "the table lets {module} use {used}, which does not stand above it: that makes a circle"
            );
            assert!(!WORDS.contains(used), "{used} is a word, which the table need not list for {module}");
        }
    }
}

#[test]
fn modules_use_only_what_the_house_lets_them() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        let module = source.module();
        let floor = HOUSE.iter().position(|(name, _)| *name == module);
        if floor.is_none() && module != "main" {
            wrong.push(format!(
                "src/{}: {module} has no place in the house (tests/layering/house.rs)",
                source.path
            ));
            continue;
        }
        for used in source.uses() {
            let Some(other) = HOUSE.iter().position(|(name, _)| *name == used) else {
                wrong.push(format!("src/{}: {used} has no place in the house", source.path));
                continue;
            };
            // The binary stands below all of it.
            let Some(floor) = floor else { continue };
            let allowed = used == module
                || other < floor && (WORDS.contains(&&*used) || HOUSE[floor].1.contains(&&*used));
            if !allowed {
                let why = if other > floor {
                    "stands below it: whoever changes the lower module would have to know the upper one"
                } else {
                    "is not among what the table lets it use: move the code to where both are known, or say in the \
                     table why it must be"
                };
                wrong.push(format!("src/{}: {module} uses {used}, which {why}", source.path));
            }
        }
    }
    none(wrong);
}

#[test]
fn the_house_lists_no_use_that_is_not_made() {
    let sources = sources();
    let mut wrong = Vec::new();
    for (module, allowed) in HOUSE {
        let used: BTreeSet<String> =
            sources.iter().filter(|source| source.module() == *module).flat_map(Source::uses).collect();
        for unused in allowed.iter().filter(|allowed| !used.contains(**allowed)) {
            wrong.push(format!(
                "{module} does not use {unused}: a permission that nobody needs hides the next one"
            ));
        }
    }
    none(wrong);
}

#[test]
fn foreign_crates_are_named_where_they_belong() {
    let mut wrong = Vec::new();
    let sources = sources();
    for (name, places, why) in PLACES {
        let path = format!("{name}::");
        let names = |source: &&Source| {
            source.code().any(|line| {
                line.match_indices(&path)
                    .any(|(at, _)| !line[..at].ends_with(is_of_name) && !line[..at].ends_with("::"))
            })
        };
        let (inside, outside): (Vec<&Source>, Vec<&Source>) = sources
            .iter()
            .filter(names)
            .partition(|source| places.iter().any(|place| source.path.starts_with(place)));
        for source in outside {
            wrong.push(format!("src/{} names {name}, which belongs into {places:?}: {why}", source.path));
        }
        for place in *places {
            if !inside.iter().any(|source| source.path.starts_with(place)) {
                wrong.push(format!("src/{place} does not name {name} any more: take it out of the table"));
            }
        }
    }
    none(wrong);
}

#[test]
fn every_file_says_its_job_and_has_a_telling_name() {
    let mut wrong = Vec::new();
    for source in sources() {
        if source.job().is_none() {
            wrong.push(format!(
                "src/{} has no //! head: whoever opens it must learn its one job",
                source.path
            ));
        }
        let empty = source.path.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part));
        if let Some(name) = empty {
            wrong.push(format!("src/{}: {name} says nothing, and takes in everything", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            for (word, why) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
                wrong.push(format!("src/{}:{}: {word}: {why}", source.path, number + 1));
            }
        }
    }
    none(wrong);
}

#[test]
fn the_head_of_a_folder_says_what_it_never_knows_and_where_to_begin() {
    let sources = sources();
    let is_there = |path: &str| {
        let is =
            |source: &Source| source.path == path || path.ends_with('/') && source.path.starts_with(path);
        sources.iter().any(is)
    };
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with("/mod.rs")) {
        let folder = source.path.trim_end_matches("mod.rs");
        let files = sources.iter().filter(|other| other.path.starts_with(folder)).count();
        if files == 1 || folder.ends_with("/tests/") {
            continue;
        }
        let lines = source.text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
        let head = lines.map(|line| if line.is_empty() { "\n" } else { line }).collect::<Vec<_>>().join(" ");
        if !head.to_lowercase().contains("must never know") {
            wrong.push(format!("src/{}: the head says what the folder must never know", source.path));
        }
        let Some((_, begin)) = head.split_once("Begin with") else {
            wrong.push(format!("src/{}: the head says which files to begin with", source.path));
            continue;
        };
        let named = begin.split('\n').next().unwrap().split('`').skip(1).step_by(2);
        for name in named.filter(|name| name.ends_with(".rs") || name.ends_with('/')) {
            if !is_there(&format!("{folder}{name}")) && !is_there(name) {
                wrong.push(format!("src/{}: the head names {name}, which is nowhere", source.path));
            }
        }
    }
    none(wrong);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for (user, used) in imports().cycles() {
        for (other, items) in used {
            let items = items.into_iter().collect::<Vec<_>>().join(", ");
            wrong.push(format!(
                "src/{user} uses {items} of src/{other}, which uses it in turn: who changes one has to know both"
            ));
        }
    }
    none(wrong);
}

#[test]
fn no_type_name_is_there_twice() {
    let imports = imports();
    let twice = imports.types_defined_twice().into_iter();
    none(
        twice
            .map(|(name, files)| {
                format!("{name} is defined in {}: one word for one thing", files.join(" and "))
            })
            .collect(),
    );
}

#[test]
fn comments_keep_to_their_columns_and_begin_with_what_they_are_about() {
    let mut wrong = Vec::new();
    for source in sources() {
        let (mut before, mut in_tests) = ("", source.path.contains("tests"));
        for (number, line) in source.text.lines().enumerate() {
            let (at, line) = (format!("src/{}:{}", source.path, number + 1), line.trim_end());
            let comment = line.trim_start();
            if comment.starts_with("//") && line.chars().count() > COLUMNS_MAX {
                wrong.push(format!("{at}: a line of comment has at most {COLUMNS_MAX} columns"));
            }
            let is_first =
                ["///", "//!"].iter().any(|mark| comment.starts_with(mark) && !before.starts_with(mark));
            let text = comment.trim_start_matches(['/', '!', ' ']);
            let begins =
                |words: &&&str| text.strip_prefix(**words).is_some_and(|rest| !rest.starts_with(is_of_name));
            if let Some(words) = NO_BEGINNING.iter().find(begins).filter(|_| is_first) {
                wrong.push(format!("{at}: documentation begins with a noun or a verb, not with {words:?}"));
            }
            in_tests |= line.starts_with("#[cfg(test)]");
            let lower = comment.to_lowercase();
            let word = NO_WORDS.iter().find(|word| lower.starts_with("//") && lower.contains(**word));
            if let Some(word) = word.filter(|_| !in_tests) {
                wrong.push(format!("{at}: {word}: say which task, client, node or thread"));
            }
            before = comment;
        }
    }
    none(wrong);
}

/// The last column of the table of bounds names the test that reaches each.
#[test]
fn the_tests_that_the_table_of_limits_names_are_there() {
    let text = include_str!("../docs/limits.md");
    let (_, bounds) = text.split_once("## Bounds").unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = sources();
    collect(&tests, &tests, &mut files);
    let mut named = 0;
    let mut wrong = Vec::new();
    for line in bounds.lines().filter(|line| line.starts_with('|')) {
        let column = line.trim_end_matches('|').rsplit('|').next().unwrap();
        for name in column.split('`').skip(1).step_by(2) {
            named += 1;
            let definition = format!("fn {name}(");
            if !files.iter().any(|file| file.text.contains(&definition)) {
                wrong.push(format!("docs/limits.md names the test {name}, which is nowhere: {line}"));
            }
        }
    }
    assert!(named > 10, "only {named} tests are named");
    none(wrong);
}
