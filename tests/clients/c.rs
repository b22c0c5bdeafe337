//! C: what is in tests/clients/c.

use std::process::Command;

use crate::compiled::{compile, place};
use crate::harness::{directory, passes};

#[test]
fn hiredis() {
    let program = place().join("hiredis");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-O1", "-pthread"]);
    cc.args(["main.c", "values.c", "together.c", "asynchronous.c", "-o"]).arg(&program);
    cc.args(["-lhiredis", "-levent"]).current_dir(directory("c"));
    compile(cc);
    passes(Command::new(program));
}
