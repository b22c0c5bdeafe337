//! A script or function that was made known once runs wherever its keys are, whatever became of the nodes.

use std::thread;
use std::time::Duration;

use nearside::sandbox::{Cluster, Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries, owner};

const SCRIPT: &str = "return redis.call('INCR', KEYS[1])";
const LIBRARY: &str = "#!lua name=lib\nredis.register_function('bump', function(keys) return redis.call('INCR', keys[1]) end)\n\
    redis.register_function{function_name='peek', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}";

/// How long a node may take to be known again after a restart.
const LIMIT: Duration = Duration::from_secs(20);

/// Keys of which each primary has some.
fn keys() -> Vec<String> {
    (0..30).map(|number| format!("script:{number}")).collect()
}

fn load(client: &mut SandboxClient) -> String {
    client.command(&["SCRIPT", "LOAD", SCRIPT]).unwrap().text()
}

fn run(client: &mut SandboxClient, sha: &str, key: &str) -> Reply {
    client.command(&["EVALSHA", sha, "1", key]).unwrap()
}

/// The same on every primary, past the daemon.
fn everywhere(cluster: &Cluster, request: &[&str]) {
    for node in cluster.primaries().unwrap() {
        node.server().command(request).unwrap();
    }
}

#[test]
fn a_script_that_was_loaded_runs_where_it_is_gone() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    let sha = load(&mut client);
    for round in 1..=3 {
        for key in keys() {
            assert_eq!(run(&mut client, &sha, &key), Reply::Integer(round), "{key}");
        }
        everywhere(&cluster, &["SCRIPT", "FLUSH"]);
    }
    assert_eq!(
        client.command(&["SCRIPT", "EXISTS", &sha, "ff"]).unwrap().items(),
        [1, 0].map(Reply::Integer)
    );
    let capitals = sha.to_ascii_uppercase();
    assert_eq!(run(&mut client, &capitals, "script:0"), Reply::Integer(4));
    let read_only = client.command(&["EVALSHA_RO", &sha, "1", "script:0"]).unwrap().text();
    assert!(read_only.contains("Write commands are not allowed from read-only scripts"), "{read_only}");
    daemon.assert_quiet();
}

#[test]
fn a_script_runs_on_a_node_that_was_restarted() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    let sha = load(&mut client);
    // EVAL makes a script known as well.
    client.command(&["EVAL", "return 'by eval'", "0"]).unwrap();
    let by_eval = "return 'by eval'";
    let by_eval = owner(&cluster, b"script:0").server().command(&["SCRIPT", "LOAD", by_eval]).unwrap().text();
    assert!(client.command(&["FUNCTION", "LOAD", LIBRARY]).unwrap().text() == "lib");
    assert_eq!(client.command(&["FCALL", "bump", "1", "script:f"]).unwrap(), Reply::Integer(1));
    let node = owner(&cluster, b"script:0");
    node.server().kill9().unwrap();
    node.server().restart().unwrap();
    cluster.wait_until_stable().unwrap();
    eventually("the node is reached again", LIMIT, || {
        !client.command(&["GET", "script:0"]).unwrap().is_error()
    });
    for key in keys() {
        assert!(run(&mut client, &sha, &key).integer().is_some(), "{key}");
        let reply = client.command(&["EVALSHA", &by_eval, "1", &key]).unwrap();
        assert_eq!(reply, Reply::bulk("by eval"), "{key}");
        assert!(client.command(&["FCALL", "bump", "1", &key]).unwrap().integer().is_some(), "{key}");
        let read = client.command(&["FCALL_RO", "PEEK", "1", &key]).unwrap();
        assert_eq!(read.bytes(), Some(&b"2"[..]), "{key}: {read:?}");
    }
}

#[test]
fn a_function_is_not_found_once_it_was_deleted() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let plain = Standalone::launch(&[]).unwrap();
    let (mut client, mut direct) = (daemon.client(), plain.server().connect().unwrap());
    let requests: [&[&str]; 9] = [
        &["FCALL", "bump", "1", "k"],
        &["FUNCTION", "LOAD", LIBRARY],
        &["FUNCTION", "LOAD", LIBRARY],
        &["FCALL", "bump", "1", "k"],
        &["FCALL", "bump", "0"],
        &["FUNCTION", "DELETE", "lib"],
        &["FUNCTION", "DELETE", "lib"],
        &["FCALL", "bump", "1", "k"],
        &["FUNCTION", "KILL"],
    ];
    for request in requests {
        let (through, said) = (client.command(request).unwrap(), direct.command(request).unwrap());
        // An error in a script names the line and the call, which differ by nothing.
        assert_eq!(through, said, "{request:?}");
    }
}

#[test]
fn a_script_that_nobody_knows_is_not_found() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let plain = Standalone::launch(&[]).unwrap();
    let (mut client, mut direct) = (daemon.client(), plain.server().connect().unwrap());
    let sha = load(&mut client);
    assert_eq!(load(&mut direct), sha);
    let requests: [&[&str]; 19] = [
        &["EVALSHA", &sha, "1", "k"],
        &["SCRIPT", "EXISTS", &sha],
        &["SCRIPT", "FLUSH", "SYNC"],
        &["SCRIPT", "EXISTS", &sha],
        &["EVALSHA", &sha, "1", "k"],
        &["EVALSHA", "short", "0"],
        &["EVALSHA", &sha, "x"],
        &["EVAL", SCRIPT, "1", "k"],
        &["EVALSHA", &sha, "1", "k"],
        &["SCRIPT", "LOAD", "this is no lua"],
        // Nobody looks at a script whose keys are miscounted.
        &["EVAL", "-1", "-1"],
        &["EVAL", "-1", "2", "k"],
        &["SCRIPT", "LOAD", "-1"],
        &["EVALSHA", "7984b0a0e139cabadb5afc7756d473fb34d23819", "0"],
        &["EVAL", "#!lua flags=any\nreturn 1", "0"],
        &["SCRIPT", "EXISTS", "01abcdfc94d55ea871bc74e50402334334c16e14"],
        &["SCRIPT", "LOAD", "#!lua flags=any\nreturn 1"],
        &["SCRIPT", "FLUSH", "FOO"],
        &["SCRIPT", "KILL"],
    ];
    for request in requests {
        assert_eq!(client.command(request).unwrap(), direct.command(request).unwrap(), "{request:?}");
    }
    let said = client.command(&["EVAL", SCRIPT, "2", "a", "b"]).unwrap().text();
    assert_eq!(said, "CROSSSLOT Keys in request don't hash to the same slot");
}

#[test]
fn a_script_keeps_its_place_in_a_pipeline() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    let sha = load(&mut client);
    let mut expected = 0;
    for round in 0..20 {
        assert!(run(&mut client, &sha, "{p}k").integer().is_some());
        expected += 1;
        if round % 2 == 0 {
            everywhere(&cluster, &["SCRIPT", "FLUSH"]);
        }
        // Behind our back the script is gone, and what follows was sent already: it cannot be put before
        // that.
        client.send(&["EVALSHA", &sha, "1", "{p}k"]).unwrap();
        client.send(&["GET", "{p}k"]).unwrap();
        let (ran, read) = (client.receive().unwrap(), client.receive().unwrap());
        match ran {
            Reply::Integer(number) => {
                expected += 1;
                assert_eq!(number, expected);
            }
            other => assert!(other.text().starts_with("NOSCRIPT"), "{other:?}"),
        }
        assert_eq!(read.text(), expected.to_string(), "round {round}");
    }
}

#[test]
fn only_so_many_bytes_of_scripts_are_remembered() {
    let cluster = own_primaries(3);
    let url = upstream_url(&cluster);
    let daemon = Daemon::start(&["--upstream", &url, "--script-bytes-max", "1kb"]);
    let mut client = daemon.client();
    let scripts: Vec<String> = (0..5).map(|number| format!("return {number}")).collect();
    let shas: Vec<String> =
        scripts.iter().map(|script| client.command(&["SCRIPT", "LOAD", script]).unwrap().text()).collect();
    everywhere(&cluster, &["SCRIPT", "FLUSH"]);
    let first = client.command(&["EVALSHA", &shas[0], "1", "k"]).unwrap();
    assert!(first.text().starts_with("NOSCRIPT"), "{first:?}");
    assert_eq!(client.command(&["EVALSHA", &shas[4], "1", "k"]).unwrap(), Reply::Integer(4));
}

#[test]
fn a_script_that_runs_too_long_is_stopped_from_another_session() {
    let cluster = own_primaries(3);
    everywhere(&cluster, &["CONFIG", "SET", "lua-time-limit", "100"]);
    let url = upstream_url(&cluster);
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-request-timeout", "1s"]);
    let (mut runner, mut other) = (daemon.client(), daemon.client());
    runner.send(&["EVAL", "while true do end", "1", "busy"]).unwrap();
    // The commands that wait behind it fail in time; those that come later hear what the node says.
    eventually("others hear that the node is busy", LIMIT, || {
        let said = other.command(&["SET", "busy", "v"]).unwrap();
        assert!(said.is_error(), "{said:?}");
        said.text().starts_with("BUSY")
    });
    assert!(other.command(&["SCRIPT", "KILL"]).unwrap().is_ok());
    assert!(runner.receive().unwrap().is_error());
    eventually("the node is free again", LIMIT, || other.command(&["SET", "busy", "v"]).unwrap().is_ok());
    assert!(other.command(&["SCRIPT", "KILL"]).unwrap().text().starts_with("NOTBUSY"));
    // One that was found in time ends with the words of the server.
    runner.send(&["EVAL", "while true do end", "1", "busy"]).unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(other.command(&["SCRIPT", "KILL"]).unwrap().is_ok());
    let said = runner.receive().unwrap().text();
    assert!(said.contains("Script killed by user with SCRIPT KILL"), "{said}");
}
