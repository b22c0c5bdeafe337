//! PHP: what is in tests/clients/php.

use std::process::Command;

use crate::harness::{directory, passes};

#[test]
fn phpredis() {
    passes(php("phpredis.php"));
}

/// The command that runs this program.
pub(crate) fn php(program: &str) -> Command {
    let mut command = Command::new("php");
    command.arg(directory("php").join(program));
    command
}
