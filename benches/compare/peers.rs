//! Where the programs are that nearside is compared with and driven by, and which versions they have.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The programs, by the names that `scripts/setup-bench` gives them.
pub(crate) struct Peers(Vec<(String, PathBuf)>);

// === impl Peers ===

impl Peers {
    /// Installs what is missing.
    pub(crate) fn set_up() -> Peers {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup-bench");
        let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "scripts/setup-bench failed: {}", output.status);
        let places = String::from_utf8(output.stdout).unwrap();
        let place = |line: &str| line.split_once(' ').map(|(name, path)| (name.to_owned(), path.into()));
        Peers(places.lines().filter_map(place).collect())
    }

    pub(crate) fn path(&self, name: &str) -> &Path {
        let found = self.0.iter().find(|(other, _)| other == name);
        &found.unwrap_or_else(|| panic!("scripts/setup-bench says nothing of {name}")).1
    }

    /// Python, with the packages of the benches.
    pub(crate) fn python(&self, script: &str) -> Command {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", self.path("resp-benchmark")).args(["-c", script]);
        command
    }

    /// Name and version of each.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let version = |name: &str| match name {
            "resp-benchmark" => said(
                &mut self
                    .python("import importlib.metadata; print(importlib.metadata.version('resp-benchmark'))"),
            ),
            _ => said(Command::new(self.path(name)).arg("--version")),
        };
        self.0.iter().map(|(name, _)| (name.clone(), version(name))).collect()
    }
}

/// The first thing like `1.2.3` in what a program says of itself, on whichever of its outputs.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let mut words = text.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    words.find(|word| word.matches('.').count() == 2).unwrap_or("of unknown version").to_owned()
}
