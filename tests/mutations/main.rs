//! The test of the simulator: for each promise, code that breaks it, and whether the simulator sees that.
//!
//! A mutation is a file beside this one: the promise, a sentence, the source file, what stands there, and
//! what is put in its place. It is applied to a copy of the sources, which is built apart: cargo would take
//! what was built of the copy for what was built of the sources, and the other tests would test a mutant.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

/// The test of the simulator that is passed when it sees the promise broken that it is told.
const SEEN: &str = "a_promise_that_is_not_kept_is_seen";

/// Names the mutations that are tried by how they begin; all if it is not set.
const CHOSEN: &str = "NEARSIDE_MUTATIONS";

/// The build and the tests of one mutant take no longer: a mutant may wait for ever.
const TIME_MAX: Duration = Duration::from_secs(1_800);

/// The status of `timeout` then.
const TIMED_OUT: i32 = 124;

/// One change of the sources.
struct Mutation {
    name: String,
    promise: String,
    file: PathBuf,
    before: String,
    after: String,
    /// Who has to see it, if not the simulator: what cargo tests (`lib`, or `test=` and a name), and a part
    /// of the test's name. That is for what only threads, or very many entries, can show.
    seen_by: Option<(String, String)>,
}

#[test]
fn the_simulator_sees_every_promise_broken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (copy, builds) = (temporary.join("mutant"), temporary.join("mutant-target"));
    let mutations = mutations(&root.join("tests/mutations"));
    for promise in ["I1", "I2", "I3", "I4", "I5", "I6", "Monotonic", "Answer", "Words", "Memory"] {
        assert!(mutations.iter().any(|mutation| mutation.promise == promise), "nothing breaks {promise}");
    }
    let misfits = mutations.iter().filter(|mutation| !mutation.fits(root)).map(|mutation| &*mutation.name);
    let misfits: Vec<&str> = misfits.collect();
    assert!(misfits.is_empty(), "these do not fit their sources any more: {misfits:?}");
    mirror(root, &copy);
    copy_dependencies(&builds);
    let chosen = std::env::var(CHOSEN).unwrap_or_default();
    for mutation in mutations.iter().filter(|mutation| mutation.name.starts_with(&chosen)) {
        let began = Instant::now();
        let path = copy.join(&mutation.file);
        let source = fs::read_to_string(&path).unwrap();
        fs::write(&path, source.replace(&mutation.before, &mutation.after)).unwrap();
        // It ends all that cargo has started.
        let mut command = Command::new("timeout");
        command.args([&TIME_MAX.as_secs().to_string(), env!("CARGO"), "test", "--offline", "--locked"]);
        // Without what only a debugger needs, a mutant is built in half of the time.
        command.args(["--config", "profile.dev.package.nearside.debug=0"]);
        match &mutation.seen_by {
            Some((target, test)) => command.args([&format!("--{target}"), test]),
            None => command.args(["--test", "sim", "--", "--ignored", "--exact", SEEN, "--nocapture"]),
        };
        let output = command
            .current_dir(&copy)
            .env("CARGO_TARGET_DIR", &builds)
            .env("NEARSIDE_SIM_SEEK", &mutation.promise)
            .output()
            .unwrap();
        fs::write(&path, source).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let (is_seen, says) = match &mutation.seen_by {
            // A test that fails, and nothing that cannot be built.
            Some(_) => (said.contains("test result: FAILED"), "... FAILED"),
            None => (output.status.success(), " s broke"),
        };
        assert_ne!(output.status.code(), Some(TIMED_OUT), "no end within {TIME_MAX:?}: {}", mutation.name);
        assert!(is_seen, "nobody saw {}:\n{said}\n{errors}", mutation.name);
        let seen = said.lines().find(|line| line.contains(says)).unwrap();
        println!("{}: {seen} ({} s with the build)", mutation.name, began.elapsed().as_secs());
    }
}

/// All mutations, by name.
fn mutations(directory: &Path) -> Vec<Mutation> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    paths.iter().map(|path| Mutation::read(path)).collect()
}

/// Copies what was built of the dependencies for this test to where the mutants are built, once: they have the
/// same ones.
fn copy_dependencies(builds: &Path) {
    let program = std::env::current_exe().unwrap();
    // It is in `deps` of the directory of its profile.
    let from = program.ancestors().nth(2).unwrap();
    let to = builds.join(from.file_name().unwrap());
    if to.exists() {
        return;
    }
    for part in [".fingerprint", "build", "deps"] {
        let built = fs::read_dir(from.join(part)).unwrap().map(|entry| entry.unwrap());
        let is_ours = |name: &str| name.starts_with("nearside") || name.starts_with("libnearside");
        let of_dependencies = built.filter(|entry| {
            let name = entry.file_name().into_string().unwrap();
            !is_ours(&name) && (part != "deps" || name.starts_with("lib"))
        });
        let paths: Vec<PathBuf> = of_dependencies.map(|entry| entry.path()).collect();
        fs::create_dir_all(to.join(part)).unwrap();
        // Cargo compares the times of files, which this keeps.
        let copied = Command::new("cp").arg("--archive").args(paths).arg(to.join(part)).status().unwrap();
        assert!(copied.success(), "{part} is not copied");
    }
}

/// Makes `copy` hold the sources and the simulator as they are in `root`. What is the same is left alone, so
/// that it is not built again.
fn mirror(root: &Path, copy: &Path) {
    fs::create_dir_all(copy.join("tests")).unwrap();
    for name in ["Cargo.toml", "Cargo.lock", "src", "benches", "tests/sim", "tests/lines", "tests/support"] {
        mirror_one(&root.join(name), &copy.join(name));
    }
}

fn mirror_one(from: &Path, to: &Path) {
    if !from.is_dir() {
        let text = fs::read(from).unwrap();
        if fs::read(to).ok().as_ref() != Some(&text) {
            fs::write(to, text).unwrap();
        }
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(to).unwrap() {
        let entry = entry.unwrap();
        match from.join(entry.file_name()).exists() {
            true => {}
            false if entry.path().is_dir() => fs::remove_dir_all(entry.path()).unwrap(),
            false => fs::remove_file(entry.path()).unwrap(),
        }
    }
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        mirror_one(&from.join(&name), &to.join(&name));
    }
}

// === impl Mutation ===

impl Mutation {
    /// Whether what it changes stands in its source, once.
    fn fits(&self, root: &Path) -> bool {
        fs::read_to_string(root.join(&self.file)).unwrap().matches(&self.before).count() == 1
    }

    /// Reads `I1 what it breaks`, the path, `seen by:` if it is not the simulator who has to see it, and the
    /// two texts behind the lines `before:` and `after:`.
    fn read(path: &Path) -> Mutation {
        let text = fs::read_to_string(path).unwrap();
        let (head, texts) = text.split_once("before:\n").unwrap();
        let (before, after) = texts.split_once("after:\n").unwrap();
        let mut lines = head.lines();
        let promise = lines.next().unwrap().split(' ').next().unwrap().to_owned();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let file = lines.next().unwrap().into();
        let seen_by = lines.next().and_then(|line| line.strip_prefix("seen by: ")?.split_once(' '));
        let seen_by = seen_by.map(|(target, test)| (target.to_owned(), test.to_owned()));
        Mutation { name, promise, file, before: before.to_owned(), after: after.to_owned(), seen_by }
    }
}
