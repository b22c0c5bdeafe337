//! Ruby: what is in tests/clients/ruby.

use std::process::Command;

use crate::harness::{directory, passes};

#[test]
fn redis_rb() {
    passes(ruby("redis_rb.rb"));
}

/// The command that runs this program.
pub(crate) fn ruby(program: &str) -> Command {
    let mut command = Command::new("ruby");
    command.arg(directory("ruby").join(program));
    command
}
