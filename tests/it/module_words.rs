//! What a command of a module answers goes to its client as it is, whatever it reads like: nobody is asked
//! for it, nothing runs twice, and no other client notices anything. The module is real, and so are the
//! servers.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::{Cluster, ClusterShape, Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::owner;
use crate::support::slow_link::SlowLink;

/// Builds the module into `directory`; `None` where there is no C compiler.
fn module(directory: &Path) -> Option<PathBuf> {
    let (source, module) = (
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/module_words.c"),
        directory.join("module_words.so"),
    );
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&module, &source]).status();
    match built {
        Ok(status) => assert!(status.success(), "{} does not build", source.display()),
        Err(error) => {
            println!("NOT RUN: the module cannot be built here: cc: {error}");
            return None;
        }
    }
    Some(module)
}

/// What a module may say of a key whose slot is `slot`, among nodes at `addresses`.
fn words(slot: &str, addresses: &[String]) -> Vec<String> {
    let elsewhere = if slot == "0" { "1" } else { "0" };
    let mut words = Vec::new();
    for kind in ["MOVED", "ASK"] {
        for slot in [slot, elsewhere, "70000", "x"] {
            words.extend(addresses.iter().map(|address| format!("{kind} {slot} {address}")));
        }
    }
    let others = [
        "NOSCRIPT No matching script. Please use EVAL.",
        "READONLY You can't write against a read only replica.",
        "LOADING the dataset is being read",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN no",
        "BUSY a script runs",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOPERM no",
        "EXECABORT no",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "ERR unknown command 'says.write', with args beginning with: ",
        "ERR unknown command",
    ];
    words.extend(others.map(str::to_owned));
    words
}

/// Has both commands say all `words` about `key`, and sees that each ran once and was answered with them.
fn assert_said(client: &mut SandboxClient, direct: &mut SandboxClient, key: &str, words: &[String]) {
    for words in words {
        for (command, runs) in [("SAYS.WRITE", "1"), ("SAYS.READ", "0")] {
            direct.command(&["SET", key, "0"]).unwrap();
            let reply = client.command(&[command, key, words]).unwrap();
            assert_eq!(reply, Reply::Error(words.clone().into()), "{command}");
            let ran = direct.command(&["GET", key]).unwrap();
            assert_eq!(ran, Reply::bulk(runs), "{command} {words}: how often it ran");
        }
        direct.command(&["SET", key, "0"]).unwrap();
        let requests: [&[&str]; 4] = [&["MULTI"], &["SAYS.WRITE", key, words], &["GET", key], &["EXEC"]];
        let replies = requests.map(|request| client.command(request).unwrap());
        assert_eq!(replies[3].items(), [Reply::Error(words.clone().into()), Reply::bulk("1")], "{words}");
        assert!(client.command(&["SET", "other", "value"]).unwrap().is_ok(), "after {words}");
    }
}

#[test]
fn what_a_module_says_is_for_its_client_alone() {
    let directory = tempfile::tempdir().unwrap();
    let Some(module) = module(directory.path()) else { return };
    let extra_args = vec!["--loadmodule".to_owned(), module.to_str().unwrap().to_owned()];
    let shape = ClusterShape { primaries: 3, replicas_each: 0, extra_args, ..ClusterShape::default() };
    let cluster = Cluster::launch(&shape).unwrap();
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--topology-refresh-gap-min", "1ms"]);
    daemon.until_tracked(3);
    let key = "said";
    let mut direct = owner(&cluster, key.as_bytes()).server().connect().unwrap();
    let nodes = cluster.nodes().iter().map(|node| node.server().address().to_string());
    let addresses: Vec<String> =
        nodes.chain([trap.local_addr().unwrap().to_string(), ":1".to_owned()]).collect();
    let losses = daemon.counter("upstream_losses");
    let mut client = daemon.client();
    assert_said(&mut client, &mut direct, key, &words(&Slot::of(key.as_bytes()).to_string(), &addresses));
    assert!(trap.accept().is_err(), "nobody goes where a module sends us");
    assert_eq!(daemon.counter("upstream_redirects"), 0, "no slot has another owner for words");
    assert_eq!(daemon.counter("upstream_losses"), losses, "no connection is ended for words");
    daemon.assert_quiet();
}

#[test]
fn before_one_server_too() {
    let directory = tempfile::tempdir().unwrap();
    let Some(module) = module(directory.path()) else { return };
    let upstream =
        Standalone::launch(&["--loadmodule".to_owned(), module.to_str().unwrap().to_owned()]).unwrap();
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", upstream.server().address())]);
    daemon.until_tracked(1);
    let addresses = [trap.local_addr().unwrap().to_string(), upstream.server().address().to_string()];
    let mut direct = upstream.server().connect().unwrap();
    let losses = daemon.counter("upstream_losses");
    let words = words(&Slot::of(b"said").to_string(), &addresses);
    assert_said(&mut daemon.client(), &mut direct, "said", &words);
    assert!(trap.accept().is_err(), "nobody goes where a module sends us");
    assert_eq!(daemon.counter("upstream_losses"), losses, "no connection is ended for words");
}

#[test]
fn a_command_of_a_module_that_names_no_keys_comes_behind_what_its_session_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let Some(module) = module(directory.path()) else { return };
    let upstream =
        Standalone::launch(&["--loadmodule".to_owned(), module.to_str().unwrap().to_owned()]).unwrap();
    let link = SlowLink::to(upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", link.address())]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    link.limit(10_000_000);
    for _ in 0..3 {
        upstream.server().command(&["FLUSHALL"]).unwrap();
        assert_eq!(client.command(&["SAYS.SIZE"]).unwrap(), Reply::Integer(0));
        client.send(&["SET", "big", &"v".repeat(1_000_000)]).unwrap();
        client.send(&["SAYS.SIZE"]).unwrap();
        assert!(client.receive().unwrap().is_ok());
        assert_eq!(client.receive().unwrap(), Reply::Integer(1));
    }
}

/// For what comes, on a busy machine, and for what must not come.
const SOON: Duration = Duration::from_secs(30);
const LATE: Duration = Duration::from_millis(150);

/// What several clients of one server say, and what they get.
///
/// `client> request` asks and waits for the reply; `client! request` asks and must get nothing yet; `client<`
/// waits for the reply to that.
const MODES: &[&str] = &[
    // A client of RESP2 that is subscribed.
    "sub> SUBSCRIBE channel",
    "sub> SAYS.SIZE",
    "sub> says.write key words",
    "sub> SAYS.WRITE",
    "sub> NO.COMMAND a b",
    // One of RESP3 may use any.
    "three> HELLO 3",
    "three> SUBSCRIBE channel",
    "three> SAYS.SIZE",
    // One that follows all commands.
    "monitor> MONITOR",
    "monitor> SAYS.READ key words",
    "monitor> SAYS.WRITE key words",
    // A pause for writes.
    "open> MULTI",
    "control> CLIENT PAUSE 60000 WRITE",
    "reader> SAYS.SIZE",
    "reader> SAYS.READ key words",
    "reader> NO.COMMAND",
    "sub> SAYS.WRITE key words",
    "open> SAYS.SIZE",
    "writer! SAYS.WRITE key words",
    "open! SAYS.WRITE key words",
    "control> GET key",
    "control> CLIENT UNPAUSE",
    "writer<",
    "control> GET key",
    "open<",
    "open> EXEC",
    "control> GET key",
    // What is unknown aborts a transaction.
    "open> MULTI",
    "open> SAYS.SIZE",
    "open> NO.COMMAND",
    "open> EXEC",
    // A pause for all commands holds neither a client that follows all commands nor what is refused.
    "follower> MONITOR",
    "control> CLIENT PAUSE 60000 ALL",
    "follower> PING",
    "reader! SAYS.SIZE",
    "writer! SAYS.WRITE key words",
    "sub> SAYS.SIZE",
    "late> NO.COMMAND",
];

/// What clients of a server that asks for a password say.
const LOCKED: &[&str] = &[
    "open> AUTH secret",
    "open> SAYS.SIZE",
    "locked> SAYS.SIZE",
    "locked> says.size 1 2",
    "locked> NO.COMMAND a",
];

/// What each line of such a conversation leads to.
fn converse(lines: &[&str], connect: impl Fn() -> SandboxClient) -> Vec<String> {
    let mut clients: HashMap<&str, SandboxClient> = HashMap::new();
    let mut said = Vec::new();
    for line in lines {
        let at = line.find(['>', '!', '<']).unwrap();
        let client = clients.entry(&line[..at]).or_insert_with(&connect);
        let request = line[at + 1..].split_whitespace().collect::<Vec<_>>();
        if !request.is_empty() {
            client.send(&request).unwrap();
        }
        let is_held = &line[at..=at] == "!";
        client.set_timeout(if is_held { LATE } else { SOON }).unwrap();
        let reply = client.receive_raw();
        assert_eq!(reply.is_err(), is_held, "{line}: {reply:?}");
        said.push(format!("{line}: {}", reply.unwrap_or_default().escape_ascii()));
    }
    said
}

/// Has the clients of a plain server and those of a daemon before another one say `lines`.
fn assert_alike(lines: &[&str], password: Option<&str>) {
    let directory = tempfile::tempdir().unwrap();
    let Some(module) = module(directory.path()) else { return };
    let load = ["--loadmodule".to_owned(), module.to_str().unwrap().to_owned()];
    let ask =
        password.map_or_else(Vec::new, |password| vec!["--requirepass".to_owned(), password.to_owned()]);
    let plain = Standalone::launch(&[&load[..], &ask].concat()).unwrap();
    let upstream = Standalone::launch(&load).unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, password.unwrap_or_default()).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let mut arguments = vec!["--upstream", &url, "--workers", "1"];
    if password.is_some() {
        arguments.extend(["--password-file", file.to_str().unwrap()]);
    }
    let daemon = Daemon::start(&arguments);
    let theirs = converse(lines, || plain.server().connect().unwrap());
    let ours = converse(lines, || daemon.client());
    // The greetings name the server.
    let is_greeting = |line: &String| line.contains("HELLO");
    let said = |all: Vec<String>| all.into_iter().filter(|line| !is_greeting(line)).collect::<Vec<_>>();
    assert_eq!(said(ours), said(theirs));
}

#[test]
fn modes_and_pauses_hold_or_refuse_a_command_of_a_module_as_a_plain_server_does() {
    assert_alike(MODES, None);
}

#[test]
fn a_client_that_has_not_authenticated_is_refused_the_command_of_a_module() {
    assert_alike(LOCKED, Some("secret"));
}
