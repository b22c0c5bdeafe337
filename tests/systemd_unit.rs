//! The unit for systemd: `systemd-analyze verify` accepts it, and it gives the daemon time to drain.

use std::fs;
use std::process::Command;

const UNIT: &str = include_str!("../systemd/nearside.service");

#[test]
fn systemd_accepts_the_unit() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("nearside.service");
    // The program of the unit has to exist.
    let text = UNIT.replace("/usr/bin/nearside", env!("CARGO_BIN_EXE_nearside"));
    assert_ne!(text, UNIT);
    fs::write(&unit, text).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&unit)
        .output()
        .expect("systemd-analyze is needed: install the package systemd");
    let complaints = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !complaints.contains("nearside.service"), "{complaints}");
}

#[test]
fn the_unit_waits_longer_than_the_drain() {
    let stop = UNIT.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("TimeoutStopSec");
    let stop: u64 = stop.trim_end_matches('s').parse().unwrap();
    let drain = nearside::config::Key::named("drain_timeout").and_then(|key| key.default).unwrap();
    assert!(stop > drain.trim_end_matches('s').parse().unwrap(), "{stop} s against {drain}");
}
