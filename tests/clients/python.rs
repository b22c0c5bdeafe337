//! Python: what is in tests/clients/python.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::{directory, packages, passes};

static PACKAGES: LazyLock<PathBuf> = LazyLock::new(|| packages("python"));

#[test]
fn redis_py() {
    passes(python("redis_py.py"));
}

#[test]
fn redis_py_asyncio() {
    passes(python("redis_py_asyncio.py"));
}

#[test]
fn valkey_glide() {
    passes(python("valkey_glide.py"));
}

#[test]
fn rq_jobs() {
    passes(python("rq_jobs.py"));
}

#[test]
fn celery_jobs() {
    passes(python("celery_jobs.py"));
}

#[test]
fn django_site() {
    passes(python("django_site.py"));
}

#[test]
fn limits_and_locks() {
    passes(python("limits_and_locks.py"));
}

/// The command that runs this program.
pub(crate) fn python(program: &str) -> Command {
    python_with(&PACKAGES, program)
}

/// The same with the packages that do not work with the newest redis-py.
pub(crate) fn python_older(program: &str) -> Command {
    static PACKAGES: LazyLock<PathBuf> = LazyLock::new(|| packages("python_older"));
    python_with(&PACKAGES, program)
}

fn python_with(packages: &Path, program: &str) -> Command {
    let mut command = Command::new("python3");
    // Nothing is written beside the programs, and what a killed program said last is not lost.
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    command.arg(directory("python").join(program));
    command
}
