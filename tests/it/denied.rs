//! Commands that the operator has denied to all clients (`deny_commands`), and passwords that everybody can
//! read.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use nearside::protocol::command;
use nearside::sandbox::{SandboxClient, Standalone};

use crate::support::daemon::{Daemon, run_to_end};

fn setup(arguments: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], arguments].concat());
    daemon.until_tracked(1);
    (upstream, daemon)
}

fn ask(client: &mut SandboxClient, request: &str) -> String {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap().text()
}

fn denied(name: &str) -> String {
    format!("NOPERM nearside: the command '{name}' is denied to clients here (deny_commands)")
}

#[test]
fn what_hurts_all_can_be_denied() {
    let list = "config|set,client|pause,client|kill,flushall,keys,monitor,json.del,get";
    let (upstream, daemon) = setup(&["--deny-commands", list]);
    let mut client = daemon.client();
    let cases = [
        ("CONFIG SET maxclients 1", "config|set"),
        ("CLIENT PAUSE 100000", "client|pause"),
        ("client kill type normal", "client|kill"),
        ("FLUSHALL", "flushall"),
        // With one database it does the same.
        ("FLUSHDB", "flushdb"),
        ("KEYS *", "keys"),
        ("MONITOR", "monitor"),
        ("JSON.DEL key", "json.del"),
        ("GET key", "get"),
        ("get key", "get"),
    ];
    assert_eq!(ask(&mut client, "SET key value"), "OK");
    for (request, name) in cases {
        assert_eq!(ask(&mut client, request), denied(name), "{request}");
    }
    for request in ["CONFIG GET maxclients", "CLIENT ID", "MGET key", "STRLEN key", "EXISTS key"] {
        let reply = ask(&mut client, request);
        assert!(!reply.starts_with("NOPERM"), "{request}: {reply}");
    }
    // Whatever came before: a command that is let through again and again is not looked at again.
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "STRLEN key"), "");
        assert_eq!(ask(&mut client, "GET key"), denied("get"));
    }
    assert_eq!(
        upstream.server().command(&["GET", "key"]).unwrap().text(),
        "value",
        "nothing was carried out"
    );
    // In a transaction as an ACL of Redis does it: nothing of it is carried out.
    assert_eq!(ask(&mut client, "MULTI"), "OK");
    assert_eq!(ask(&mut client, "SET key other"), "QUEUED");
    assert_eq!(ask(&mut client, "FLUSHALL"), denied("flushall"));
    assert!(ask(&mut client, "EXEC").starts_with("EXECABORT"));
    assert_eq!(upstream.server().command(&["GET", "key"]).unwrap().text(), "value");
    assert!(ask(&mut client, "ACL DRYRUN default FLUSHALL").contains("no permissions to run the 'flushall'"));
    assert_eq!(ask(&mut client, "ACL DRYRUN default SET key value"), "OK");
    let stats = ask(&mut client, "INFO commandstats");
    assert!(stats.contains("cmdstat_flushall:calls=0") && stats.contains("rejected_calls=2"), "{stats}");
}

#[test]
fn a_category_denies_all_that_it_has() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    // INFO is dangerous too, so nobody can be asked whether it is tracked.
    let daemon = Daemon::start(&["--upstream", &url, "--deny-commands", "@dangerous,@pubsub"]);
    let mut client = daemon.client();
    for (request, name) in [
        ("CONFIG GET maxclients", "config|get"),
        ("CLIENT LIST", "client|list"),
        ("KEYS *", "keys"),
        ("SLOWLOG GET", "slowlog|get"),
        ("PUBLISH channel message", "publish"),
        ("SUBSCRIBE channel", "subscribe"),
    ] {
        assert_eq!(ask(&mut client, request), denied(name), "{request}");
    }
    assert_eq!(ask(&mut client, "SET key value"), "OK");
    assert_eq!(ask(&mut client, "GET key"), "value");
}

#[test]
fn by_default_modules_are_denied_and_nothing_that_works() {
    let (_upstream, daemon) = setup(&[]);
    let mut client = daemon.client();
    assert_eq!(ask(&mut client, "MODULE LIST"), denied("module|list"));
    assert_eq!(ask(&mut client, "DEBUG SLEEP 0"), denied("debug"));
    for request in ["SHUTDOWN", "REPLICAOF NO ONE", "SLAVEOF NO ONE", "FAILOVER"] {
        let reply = ask(&mut client, request);
        assert!(reply.contains("is not available through nearside"), "{request}: {reply}");
    }
    let (_upstream, daemon) = setup(&["--deny-commands", ""]);
    let reply = daemon.client().command(&["MODULE", "LIST"]).unwrap();
    assert!(!reply.is_error(), "{reply:?}");
}

#[test]
fn a_name_that_is_none_is_a_fault_with_a_guess() {
    for (text, guess) in [("flushal", "flushall"), ("config|sett", "config|set"), ("@dangrous", "@dangerous")]
    {
        let ended = run_to_end(&["--upstream", "redis://127.0.0.1:1", "--deny-commands", text]);
        assert_eq!(ended.status.code(), Some(2));
        assert!(ended.stderr.contains(&format!("did you mean {guess}?")), "{}", ended.stderr);
    }
}

#[test]
fn the_categories_are_those_of_the_server() {
    let upstream = Standalone::launch(&[]).unwrap();
    let asked = |request: &[&str]| -> BTreeSet<String> {
        let reply = upstream.server().command(request).unwrap();
        reply.items().iter().map(|name| name.text()).collect()
    };
    let all: BTreeSet<String> =
        asked(&["ACL", "CAT", "fast"]).union(&asked(&["ACL", "CAT", "slow"])).cloned().collect();
    let known = |name: &str| command::number_of(name) > 0;
    let mut compared = 0;
    for category in asked(&["ACL", "CAT"]) {
        let Some(ours) = command::members(&category) else {
            assert!(["fast", "slow"].contains(&&*category), "{category} is not known");
            continue;
        };
        let ours: BTreeSet<String> =
            ours.into_iter().map(str::to_owned).filter(|name| all.contains(name)).collect();
        let theirs: BTreeSet<String> =
            asked(&["ACL", "CAT", &category]).into_iter().filter(|name| known(name)).collect();
        // HELP of a container is in none of them, and harmless; and servers differ on whether WAIT blocks.
        let differ: Vec<&String> = ours
            .symmetric_difference(&theirs)
            .filter(|name| !name.ends_with("|help") && *name != "wait")
            .collect();
        assert!(differ.is_empty(), "{category}: {differ:?}");
        compared += ours.len();
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn passwords_that_everybody_can_read_are_warned_of() {
    let upstream = Standalone::launch(&["--requirepass".to_owned(), "up".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("password");
    std::fs::write(&secret, "up").unwrap();
    let mode = |mode: u32| std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
    let address = upstream.server().address();
    let (url, file) = (format!("redis://{address}"), secret.to_str().unwrap());
    mode(0o644);
    let daemon =
        Daemon::start(&["--upstream", &url, "--upstream-password-file", file, "--password-file", file]);
    daemon.assert_logged("WARN", "password_file = ");
    daemon.assert_logged("WARN", "upstream_password_file = ");
    mode(0o640);
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-password-file", file]);
    daemon.assert_quiet();
    let daemon = Daemon::start(&["--upstream", &format!("redis://:up@{address}")]);
    daemon.assert_logged("WARN", "--upstream: the password stands on the command line");
    let url = format!("redis://:up@{address}");
    let daemon = Daemon::start_in(&[], &[("NEARSIDE_UPSTREAM", url.as_ref())]);
    daemon.assert_quiet();
}
