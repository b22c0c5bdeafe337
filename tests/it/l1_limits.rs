//! Where L1 cannot keep a reply, whatever the reason: the reply is served all the same, EXPLAIN says why it
//! is not kept, and nothing fails.

use std::time::Duration;

use nearside::sandbox::{SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

/// A server, a daemon before it with these flags that a shell starts after `preparation`, and a client of
/// that.
fn one_server(preparation: &str, flags: &[&str]) -> (Standalone, Daemon, SandboxClient) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let arguments = [&["--upstream", &url], flags].concat();
    let daemon = Daemon::start_after(preparation, &arguments);
    daemon.until_tracked(1);
    let client = daemon.client();
    (upstream, daemon, client)
}

/// Whether a key is kept, and what EXPLAIN says of why it was not.
fn explain(client: &mut SandboxClient, key: &str) -> (bool, String) {
    let explained = client.command(&["NEARSIDE", "EXPLAIN", key]).unwrap();
    let field = |name: &str| {
        let fields = explained.items();
        let at = fields.iter().position(|field| field.text() == name).unwrap();
        &fields[at + 1]
    };
    (field("cached").integer() == Some(1), field("last_not_cached").text())
}

/// Sets a key, reads it until it is kept or this is the reason why not, and says whether it is kept.
fn is_kept(client: &mut SandboxClient, key: &str, value_bytes: usize, why_not: &[&str]) -> bool {
    let value = "v".repeat(value_bytes);
    client.command(&["SET", key, &value]).unwrap();
    let mut kept = false;
    eventually("it is kept, or said why it never is", SOON, || {
        // The news of the write may still be on its way, and ends what is read before.
        assert_eq!(client.command(&["GET", key]).unwrap().text(), value);
        let (is_kept, why) = explain(client, key);
        kept = is_kept;
        is_kept || why_not.iter().any(|text| why.starts_with(text))
    });
    kept
}

const SOON: Duration = Duration::from_secs(10);
const NO_ROOM: &str = "there was no room";
const TOO_LARGE: &str = "it is larger than what is kept";

#[test]
fn what_the_kernel_has_no_addresses_for_is_said_and_nothing_is_kept() {
    let flags = ["--memory-max", "none", "--l1-size", "1000gb"];
    let (_upstream, daemon, mut client) = one_server("ulimit -v 8000000", &flags);
    assert!(!is_kept(&mut client, "key", 10, &[NO_ROOM]));
    let log = daemon.log_text();
    assert!(log.contains("L1 gets no memory, and keeps nothing"), "{log}");
    assert!(log.contains("l1_size"), "what helps is said: {log}");
}

#[test]
fn a_value_that_is_larger_than_all_of_l1_is_not_kept_and_takes_nothing_with_it() {
    let (_upstream, _daemon, mut client) = one_server("true", &["--l1-size", "4mb"]);
    assert!(is_kept(&mut client, "small", 10, &[]));
    for bytes in [4 << 20, 20 << 20] {
        assert!(!is_kept(&mut client, "large", bytes, &[TOO_LARGE]));
    }
    assert!(explain(&mut client, "small").0);
}

#[test]
fn keys_of_64_kb_and_more_are_kept_where_there_is_room_for_them() {
    let (_upstream, _daemon, mut client) = one_server("true", &["--l1-size", "4mb"]);
    for bytes in [65_535, 65_536, 131_072, 200_000] {
        assert!(is_kept(&mut client, &"k".repeat(bytes), 10, &[]), "{bytes}");
    }
    assert!(!is_kept(&mut client, &"k".repeat(2 << 20), 10, &[TOO_LARGE]));
}

#[test]
fn a_budget_that_is_too_small_for_one_entry_keeps_none_and_says_so() {
    for size in ["1", "1kb", "16kb"] {
        let (_upstream, _daemon, mut client) = one_server("true", &["--l1-size", size]);
        assert!(!is_kept(&mut client, "key", 10, &[NO_ROOM, TOO_LARGE]), "{size}");
    }
}
