//! Perl: what is in tests/clients/perl.

use std::process::Command;

use crate::harness::{directory, passes};

#[test]
fn redis() {
    let mut command = Command::new("perl");
    command.arg(directory("perl").join("redis.pl"));
    passes(command);
}
