//! Compiles the programs that have to be, outside of the sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where programs, and what their compilers keep for next time, are put.
pub(crate) fn place() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    fs::create_dir_all(&place).unwrap();
    place
}

/// Runs a compiler, which must have nothing to say.
pub(crate) fn compile(mut compiler: Command) {
    let output = compiler.stdin(Stdio::null()).output();
    let output =
        output.unwrap_or_else(|error| panic!("{compiler:?}: {error}; `make setup-tests` installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{compiler:?}: {}\n{said}", output.status);
}
