//! Programs as an application's author writes them, with real clients, run against the daemon in front of a
//! cluster.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in what tests share as well")]
#![expect(clippy::print_stdout, reason = "the log of a failed test is shown where cargo shows it")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the programs need the daemon and the servers, and break neither")]
mod support;

mod c;
mod compat;
mod compiled;
mod frameworks;
mod go;
mod harness;
mod node;
mod perl;
mod php;
mod python;
mod ruby;
mod rust;
mod side_by_side;
mod tools;
