//! The tools that come with Redis: what is in tests/clients/tools.

use std::process::Command;

use crate::harness::{directory, passes};

#[test]
fn redis_cli() {
    passes(shell("redis_cli.sh"));
}

#[test]
fn redis_benchmark() {
    passes(shell("redis_benchmark.sh"));
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg(directory("tools").join(script));
    command
}
