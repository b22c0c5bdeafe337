//! Node.js: what is in tests/clients/node.

use std::fs;
use std::os::unix;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::{directory, packages, passes};
use crate::support::servers::sandbox;

/// The programs, with their packages beside them: a module finds packages by where it stands itself.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = sandbox().make_directory().unwrap();
    unix::fs::symlink(packages("node").join("node_modules"), place.join("node_modules")).unwrap();
    for file in fs::read_dir(directory("node")).unwrap().map(Result::unwrap) {
        if file.path().extension().is_some_and(|extension| extension == "mjs") {
            fs::copy(file.path(), place.join(file.file_name())).unwrap();
        }
    }
    place
});

#[test]
fn ioredis() {
    passes(node("ioredis.mjs"));
}

#[test]
fn node_redis() {
    passes(node("node_redis.mjs"));
}

#[test]
fn bullmq() {
    passes(node("bullmq.mjs"));
}

#[test]
fn express_site() {
    passes(node("express_site.mjs"));
}

#[test]
fn limits_and_locks() {
    passes(node("limits_and_locks.mjs"));
}

#[test]
fn socket_io() {
    passes(node("socket_io.mjs"));
}

/// The command that runs this program.
pub(crate) fn node(program: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(PROGRAMS.join(program));
    command
}
