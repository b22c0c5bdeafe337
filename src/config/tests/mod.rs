//! The configuration as an operator sees it: what is taken from where, and what is said when something is
//! wrong.

mod sources;
mod upstream;
mod values;

use std::io::Write;
use std::time::Duration;

use super::units::{DAY, GIB, MIB, MILLISECOND};
use super::*;

const UPSTREAM: (&str, &str) = ("upstream", "redis-cluster://127.0.0.1:7000");

fn flags(flags: &[(&str, &str)]) -> Sources {
    let flag = |(name, text): &(&str, &str)| (Key::named(name).expect("a key"), (*text).to_owned());
    Sources { flags: flags.iter().map(flag).collect(), ..Sources::default() }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The faults, one line each, without the directory of the file.
fn faults(sources: &Sources) -> Vec<String> {
    let faults = Config::load(sources).expect_err("faults");
    let directory = format!("{}/", std::env::temp_dir().display());
    faults.0.iter().map(|fault| fault.to_string().replace(&directory, "")).collect()
}
