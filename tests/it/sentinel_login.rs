//! Sentinels with users and passwords: each side is told its own, the error says which side it was, and what
//! was rotated is read again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nearside::sandbox::sentinel::SERVICE;
use nearside::sandbox::{Sentinel, Server};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// The servers' password is `servers`, that of the Sentinels `sentinels`, where `watcher` with `watch` may
/// log in as well.
fn locked() -> Sentinel {
    let sentinel = Sentinel::launch().unwrap();
    for server in sentinel.servers() {
        ok(server, &["CONFIG", "SET", "requirepass", "servers"]);
    }
    for one in sentinel.sentinels() {
        ok(one, &["ACL", "SETUSER", "watcher", "on", ">watch", "+@all"]);
        ok(one, &["ACL", "SETUSER", "default", "resetpass", ">sentinels"]);
    }
    sentinel
}

fn ok(server: &Server, command: &[&str]) {
    let reply = server.command(command).unwrap();
    assert!(reply.is_ok(), "{command:?} gave {reply:?}");
}

/// A file with a password, beside those of `sentinel`.
fn password_file(sentinel: &Sentinel, password: &str) -> String {
    let path = sentinel.servers()[0].directory().join(password);
    fs::write(&path, password).unwrap();
    // Others may not read it, or the daemon warns of that.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

fn url(sentinel: &Sentinel) -> String {
    let addresses: Vec<String> = sentinel.sentinels().iter().map(|one| one.address().to_string()).collect();
    format!("redis-sentinel://:servers@{}/{SERVICE}", addresses.join(","))
}

/// How often somebody was refused who gave a wrong password.
fn refusals(server: &Server, password: &str) -> usize {
    let mut client = server.connect().unwrap();
    assert!(client.command(&["AUTH", password]).unwrap().is_ok());
    client.command(&["ACL", "LOG"]).unwrap().items().len()
}

#[test]
fn each_side_is_told_its_own_password_and_no_other() {
    let sentinel = locked();
    let servers = &sentinel.servers()[0];
    let before = refusals(servers, "servers");
    for user in [None, Some("watcher")] {
        let file = password_file(&sentinel, if user.is_some() { "watch" } else { "sentinels" });
        // A password on the command line would be warned of.
        let (url, servers) = (url(&sentinel).replace(":servers@", ""), password_file(&sentinel, "servers"));
        let mut given = vec!["--upstream", &url, "--upstream-password-file", &servers];
        given.extend(["--sentinel-password-file", &file]);
        if let Some(user) = user {
            given.extend(["--sentinel-username", user]);
        }
        let daemon = Daemon::start(&given);
        daemon.until_tracked(1);
        assert_eq!(daemon.client().command(&["SET", "key", "value"]).unwrap().text(), "OK");
        daemon.assert_quiet();
    }
    for one in sentinel.sentinels() {
        assert_eq!(refusals(one, "sentinels"), 0, "a Sentinel was told another password");
    }
    assert_eq!(refusals(servers, "servers"), before, "the server was told another password");
}

#[test]
fn the_error_says_that_it_is_the_sentinel_who_wants_a_password() {
    let sentinel = locked();
    let wrong = password_file(&sentinel, "wrong");
    let said = |more: &[&str]| {
        let daemon = Daemon::start(&[&["--upstream", &url(&sentinel)][..], more].concat());
        daemon.client().command(&["SET", "key", "value"]).unwrap().text()
    };
    let without = said(&[]);
    assert!(without.contains("the Sentinel wants a password: sentinel_password_file"), "{without}");
    let with_wrong = said(&["--sentinel-password-file", &wrong]);
    assert!(
        with_wrong.contains("it is the Sentinel that refuses sentinel_username and sentinel_password_file"),
        "{with_wrong}"
    );
    for text in [without, with_wrong] {
        assert!(!text.contains("servers@") && !text.contains(":servers"), "{text}");
    }
    // The password of the servers is not tried there, though it is the only one that was given.
    for one in sentinel.sentinels() {
        let mut client = one.connect().unwrap();
        assert!(client.command(&["AUTH", "sentinels"]).unwrap().is_ok());
        let log = format!("{:?}", client.command(&["ACL", "LOG"]).unwrap());
        assert!(!log.contains("servers"), "{log}");
    }
}

#[test]
fn a_password_of_the_sentinels_that_was_rotated_is_read_again() {
    let sentinel = locked();
    let file = password_file(&sentinel, "sentinels");
    let often = ["--topology-refresh-interval", "100ms", "--upstream-backoff-max", "200ms"];
    let given = ["--upstream", &url(&sentinel), "--sentinel-password-file", &file];
    let daemon = Daemon::start(&[&given[..], &often].concat());
    daemon.until_tracked(1);
    for one in sentinel.sentinels() {
        let mut client = one.connect().unwrap();
        for command in [&["AUTH", "sentinels"][..], &["ACL", "SETUSER", "default", "resetpass", ">rotated"]] {
            assert!(client.command(command).unwrap().is_ok());
        }
        // The connection that asks ends with the others.
        let _ = client.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]);
    }
    daemon.assert_logged("WARN", "topology discovery failed");
    assert_eq!(daemon.client().command(&["SET", "key", "value"]).unwrap().text(), "OK");
    fs::write(&file, "rotated").unwrap();
    let refreshes = daemon.counter("topology_refreshes");
    eventually("the Sentinels are asked again", SOON, || {
        daemon.counter("topology_refreshes") > refreshes + 3
    });
}
