//! Ruby: what is in tests/clients/ruby.

use std::process::Command;

use crate::harness::{directory, passes};

#[test]
fn redis_rb() {
    let mut command = Command::new("ruby");
    command.arg(directory("ruby").join("redis_rb.rb"));
    passes(command);
}
