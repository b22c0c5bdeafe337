//! Values as large as Redis takes them go in and come out whole.

use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient};

use super::script::every_byte;
use crate::support::daemon::Daemon;
use crate::support::servers::shared_cluster;

const MIB: usize = 1 << 20;

/// Set to run the tests that take gigabytes.
const LARGE: &str = "NEARSIDE_TEST_LARGE";

#[test]
fn a_value_of_64_mib_goes_in_and_comes_out() {
    round_trip(64 * MIB);
}

#[test]
fn a_value_of_512_mib_goes_in_and_comes_out() {
    if std::env::var_os(LARGE).is_some() {
        round_trip(512 * MIB);
    }
}

fn round_trip(length: usize) {
    let daemon = Daemon::before(shared_cluster());
    let mut client = SandboxClient::connect(daemon.address()).unwrap();
    client.set_timeout(Duration::from_secs(60)).unwrap();
    let value = every_byte(length);
    assert!(client.command(&[&b"SET"[..], b"large", &value]).unwrap().is_ok());
    let length = i64::try_from(length).unwrap();
    assert_eq!(client.command(&["STRLEN", "large"]).unwrap().integer(), Some(length));
    for _ in 0..2 {
        let reply = client.command(&["GET", "large"]).unwrap();
        // Compared without `assert_eq`, which would print it.
        assert!(reply == Reply::bulk(&value), "{length} bytes came back otherwise");
    }
    println!("{length} bytes: peak of the daemon {}", daemon.peak_memory());
    assert_eq!(client.command(&["DEL", "large"]).unwrap().integer(), Some(1));
    daemon.assert_quiet();
}
