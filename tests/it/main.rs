//! Everything that is tested from outside: the launcher, and the real binary in front of real servers.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in what tests share as well")]

mod launcher;
