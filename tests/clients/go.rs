//! Go: what is in tests/clients/go.

use std::process::Command;

use crate::harness::{build_directory, built, directory, passes};

#[test]
fn redigo() {
    let program = build_directory().join("redigo");
    let mut go = Command::new("go");
    // Debian keeps the sources of packages where a GOPATH has them; nothing is fetched.
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
    go.env("GOCACHE", build_directory().join("go-cache"));
    go.arg("build").arg("-o").arg(&program).current_dir(directory("go"));
    built(go);
    passes(Command::new(program));
}
