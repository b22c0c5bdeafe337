//! PHP: what is in tests/clients/php.

use std::process::Command;

use crate::harness::{directory, passes};

#[test]
fn phpredis() {
    let mut command = Command::new("php");
    command.arg(directory("php").join("phpredis.php"));
    passes(command);
}
