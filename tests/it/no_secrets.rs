//! Passwords stand nowhere that anybody reads: not in the log at its most talkative, not in what clients may
//! ask of the daemon, not in the errors of a configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, run_to_end};
use crate::support::servers::{eventually, sandbox};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(15);

/// The password of the server, that of the daemon's clients, and one that is wrong.
const UPSTREAM: &str = "up-s3cr3t";
const OWN: &str = "own-s3cr3t";
const WRONG: &str = "wr0ng-s3cr3t";

const SECRETS: [&str; 3] = [UPSTREAM, OWN, WRONG];

fn file(directory: &Path, name: &str, password: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, password).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn assert_untold(where_: &str, text: &str) {
    let told: Vec<&str> = SECRETS.into_iter().filter(|secret| text.contains(secret)).collect();
    assert!(told.is_empty(), "{told:?} stand in {where_}: {text}");
}

/// What a client says and asks, with passwords wherever they may stand.
fn converse(client: &mut SandboxClient) -> Vec<Reply> {
    let requests: [&[&str]; 14] = [
        &["AUTH", WRONG],
        &["AUTH", "default", WRONG],
        &["HELLO", "3", "AUTH", "default", WRONG],
        &["AUTH", OWN],
        &["HELLO", "3", "AUTH", "default", OWN],
        &["CONFIG", "SET", "slowlog-log-slower-than", "0"],
        &["AUTH", "default", OWN],
        &["MIGRATE", "host", "1", "key", "0", "1", "AUTH", UPSTREAM],
        &["MIGRATE", "host", "1", "key", "0", "1", "AUTH2", "user", UPSTREAM],
        &["GET", "key"],
        &["INFO"],
        &["CONFIG", "GET", "*"],
        &["CLIENT", "LIST"],
        &["SLOWLOG", "GET", "-1"],
    ];
    requests.iter().map(|request| client.command(request).unwrap()).collect()
}

#[test]
fn passwords_stand_in_no_log_and_no_answer() {
    let upstream = Standalone::launch(&["--requirepass".to_owned(), UPSTREAM.to_owned()]).unwrap();
    let address = upstream.server().address();
    let directory = sandbox().make_directory().unwrap();
    let (own, its) = (file(&directory, "own", OWN), file(&directory, "its", UPSTREAM));
    let (own, its) = (own.to_str().unwrap(), its.to_str().unwrap());
    let with_password = format!("redis://:{UPSTREAM}@{address}");
    let common = ["--password-file", own, "--log-level", "trace"];
    let url = format!("redis://{address}");
    let daemons = [
        ("a URL", Daemon::start(&[&["--upstream", &with_password], &common[..]].concat())),
        (
            "a file",
            Daemon::start(&[&["--upstream", &url, "--upstream-password-file", its], &common[..]].concat()),
        ),
        ("the environment", Daemon::start_in(&common, &[("NEARSIDE_UPSTREAM", Path::new(&with_password))])),
    ];
    for (how, daemon) in daemons {
        let mut monitor = daemon.client();
        monitor.command(&["AUTH", OWN]).unwrap();
        monitor.command(&["MONITOR"]).unwrap();
        let mut client = daemon.client();
        for reply in converse(&mut client) {
            assert_untold(how, &format!("{reply:?}"));
        }
        client.command(&["ECHO", "the-end"]).unwrap();
        eventually("MONITOR shows all of it", LIMIT, || {
            let line = monitor.receive().unwrap().text();
            assert_untold("MONITOR", &line);
            line.contains("the-end")
        });
        assert_untold("the log", &daemon.log_text());
        daemon.stop();
    }
}

#[test]
fn a_fault_of_the_configuration_quotes_no_password() {
    for url in [
        format!("redis://:{UPSTREAM}@127.0.0.1:notaport"),
        format!("redis://user:{UPSTREAM}@"),
        format!("redis-cluster://:{UPSTREAM}@127.0.0.1:1,:2"),
        format!("rediss://:{UPSTREAM}@127.0.0.1:1"),
        format!("http://user:{UPSTREAM}@127.0.0.1:1"),
        format!("redis://:{UPSTREAM}@127.0.0.1:1/nodatabase"),
    ] {
        let ended = run_to_end(&["--upstream", &url]);
        assert!(!ended.status.success(), "{url} is taken");
        assert_untold(&url.replace(UPSTREAM, "***"), &ended.stderr);
    }
}
