//! Go: what is in tests/clients/go.

use std::process::Command;

use crate::compiled::{compile, place};
use crate::harness::{directory, passes};

#[test]
fn redigo() {
    let program = place().join("redigo");
    let mut go = Command::new("go");
    // Debian keeps the sources of packages as a GOPATH does; nothing is fetched.
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
    go.env("GOCACHE", place().join("go-cache"));
    go.arg("build").arg("-o").arg(&program).current_dir(directory("go"));
    compile(go);
    passes(Command::new(program));
}
