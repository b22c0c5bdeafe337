//! `scripts/test`, which is `make test`: it runs all, says at the end what failed, and fails if anything did.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::servers::sandbox;

/// What it says, and how it ends, where cargo says this of the tests and that of the mutants, and ends so.
fn run((said, code): (&str, u8), (of_mutants, code_of_mutants): (&str, u8)) -> Output {
    let directory = sandbox().make_directory().unwrap();
    let cargo = directory.join("cargo");
    let path = std::env::var("PATH").unwrap();
    fs::write(directory.join("said"), said).unwrap();
    fs::write(directory.join("mutants"), of_mutants).unwrap();
    // It also shows what it was asked for. What only builds says nothing.
    let (directory_of, asked) = (directory.display(), "asked: $*");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*--no-run*) exit 0 ;;\n\
         *mutations) cat {directory_of}/mutants; exit {code_of_mutants} ;;\nesac\n\
         echo \"{asked}\"\ncat {directory_of}/said\nexit {code}\n"
    );
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test");
    Command::new(script).env("PATH", format!("{}:{path}", directory.display())).output().unwrap()
}

const GOOD: &str = "     Running unittests src/lib.rs (target/debug/deps/a-1)\n\nrunning 1 test\ntest a ... ok\n\n\
     test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n";

#[test]
fn what_failed_stands_at_the_end_whatever_came_after_it() {
    let failed = "     Running tests/it/main.rs (target/debug/deps/it-1)\n\nrunning 3 tests\ntest m::one ... FAILED\n\
         failures:\n    is no test\n\nfailures:\n    m::one\n    two\n\n\
         test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n";
    let aborted =
        "     Running tests/sim/main.rs (target/debug/deps/sim-1)\n\nrunning 3 tests\ntest three ... ";
    let closing = "error: 2 targets failed:\n    `--test it`\n    `--test sim`\n";
    let said = [failed, aborted, "\n", GOOD, "   Doc-tests nearside\n\n", closing].concat();
    let ended = run((&said, 101), (MUTANTS, 0));
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(said.starts_with("asked: test --no-fail-fast"), "{said}");
    let (before, summary) = said.split_once("\nSummary: ").unwrap();
    let all = [closing, MUTANTS].concat();
    assert!(before.contains(failed) && before.ends_with(&all), "all that cargo said stands before it");
    let wanted = "5 test programs, 3 of them failed; 3 tests passed, 2 failed.\n  tests/it/main.rs\n    m::one\n    two\n  \
         tests/sim/main.rs: ended without a result\n  Doc-tests nearside: ended without a result\n";
    assert_eq!(summary, wanted);
    assert_eq!(ended.status.code(), Some(101));
}

const MUTANTS: &str = "     Running tests/mutations/main.rs (target/debug/deps/mutations-1)\n\nrunning 1 test\n\
     test each ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n";

#[test]
fn where_nothing_failed_it_ends_well_and_says_so() {
    let ended = run((GOOD, 0), (MUTANTS, 0));
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(
        said.ends_with("Summary: 2 test programs, 0 of them failed; 2 tests passed, 0 failed.\n"),
        "{said}"
    );
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn where_nothing_is_built_nothing_ran() {
    let ended = run(("error: could not compile\n", 101), ("error: could not compile\n", 101));
    assert_eq!(ended.status.code(), Some(101));
    assert!(String::from_utf8(ended.stdout).unwrap().ends_with("  nothing ran\n"));
}

#[test]
fn a_mutant_that_no_test_sees_fails_it() {
    let unseen = MUTANTS
        .replace("each ... ok", "each ... FAILED\n\nfailures:\n\nfailures:\n    each")
        .replace("ok. 1 passed; 0 failed", "FAILED. 0 passed; 1 failed");
    let ended = run((GOOD, 0), (&unseen, 101));
    let said = String::from_utf8(ended.stdout).unwrap();
    let wanted = "Summary: 2 test programs, 1 of them failed; 1 tests passed, 1 failed.\n  tests/mutations/main.rs\n    each\n";
    assert!(said.ends_with(wanted), "{said}");
    assert_eq!(ended.status.code(), Some(101));
}
