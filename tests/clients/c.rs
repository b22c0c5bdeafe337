//! C: what is in tests/clients/c.

use std::process::Command;

use crate::harness::{build_directory, built, directory, passes};

#[test]
fn hiredis() {
    let program = build_directory().join("hiredis");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread"]);
    cc.args(["main.c", "values.c", "together.c", "asynchronous.c", "-o"]).arg(&program);
    cc.args(["-lhiredis", "-levent"]).current_dir(directory("c"));
    built(cc);
    passes(Command::new(program));
}
