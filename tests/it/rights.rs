//! The daemon with a user upstream that may do as much as docs/rights.md says, and as little.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nearside::sandbox::{Cluster, Reply, SandboxClient, Standalone};
use nearside::upstream::Right;

use crate::support::daemon::Daemon;
use crate::support::servers::{eventually, own_primaries, sandbox, valkey_server};

const PAGE: &str = include_str!("../../docs/rights.md");

/// How long the daemon may take to notice something.
const SOON: Duration = Duration::from_secs(10);

/// What the clients of these tests need for themselves.
const CLIENTS: &str = "+get +set +mget +hset +hget +hgetall +rpush +blpop +eval +evalsha +fcall +dbsize +publish \
                       +subscribe +wait +scan";

/// The rules between two marks of the page.
fn rules(mark: &str) -> String {
    let (_, rules) = PAGE.split_once(&format!("<!-- begin: {mark} -->")).unwrap();
    let (rules, _) = rules.split_once(&format!("<!-- end: {mark} -->")).unwrap();
    rules.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A cluster, and who is who before it.
struct Stage {
    cluster: Cluster,
}

/// A daemon that is the user `name` upstream.
struct Played {
    daemon: Daemon,
    client: SandboxClient,
}

impl Stage {
    fn set() -> Stage {
        let cluster = own_primaries(3);
        for node in cluster.nodes() {
            // One has the library: it has to be brought to the others.
            if node.id() == cluster.nodes()[0].id() {
                let library = "#!lua name=lib\nredis.register_function('three', function() return 3 end)";
                assert!(!node.server().command(&["FUNCTION", "LOAD", library]).unwrap().is_error());
            }
        }
        Stage { cluster }
    }

    /// Nothing is left of what was written, nor of functions that were brought.
    fn clear(&self) {
        for node in self.cluster.nodes() {
            assert!(node.server().command(&["FLUSHALL"]).unwrap().is_ok());
            if node.id() != self.cluster.nodes()[0].id() {
                assert!(node.server().command(&["FUNCTION", "FLUSH"]).unwrap().is_ok());
            }
        }
    }

    /// What EVALSHA says of a script that the nodes had, and have lost.
    fn lose_scripts(&self, played: &mut Played) -> Reply {
        const SCRIPT: &str = "return{1,2}";
        assert_eq!(played.say(&format!("EVAL {SCRIPT} 1 key:1")).items().len(), 2);
        let mut sha = String::new();
        for node in self.cluster.nodes() {
            sha = node.server().command(&["SCRIPT", "LOAD", SCRIPT]).unwrap().text();
            assert!(node.server().command(&["SCRIPT", "FLUSH"]).unwrap().is_ok());
        }
        played.say(&format!("EVALSHA {sha} 1 key:1"))
    }

    fn play(&self, name: &str, rules: &str) -> Played {
        for node in self.cluster.nodes() {
            let command = format!("ACL SETUSER {name} on >secret {rules}");
            let reply = node.server().command(&command.split_whitespace().collect::<Vec<_>>()).unwrap();
            assert!(reply.is_ok(), "{command}: {}", reply.text());
        }
        let file = sandbox().path().join(format!("{name}.toml"));
        let url = format!("redis-cluster://{name}:secret@{}", self.cluster.addresses());
        let policies = "[[policy]]\nprefix = 'out:'\ncache = false\n[[policy]]\nprefix = 'due:'\ndefault_ttl = '1h'\n\
                        [[policy]]\nprefix = 'capped:'\nmode = 'capped'\n";
        fs::write(&file, format!("upstream = '{url}'\n{policies}")).unwrap();
        let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
        let client = daemon.client();
        Played { daemon, client }
    }
}

impl Played {
    fn say(&mut self, request: &str) -> Reply {
        self.client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
    }

    /// Whether a read is answered from memory once it was made.
    fn is_kept(&mut self, request: &str) -> bool {
        self.say(request);
        let before = self.daemon.counter("l1_hits");
        self.say(request);
        self.daemon.counter("l1_hits") > before
    }

    /// All that needs a right of the daemon's own, as clients bring it about. Nobody is told what was refused
    /// to the daemon.
    fn use_all(&mut self) {
        for number in 0..50 {
            assert!(self.say(&format!("SET key:{number} value")).is_ok());
            let told = self.say(&format!("FCALL three 1 key:{number}"));
            assert!(
                told.integer() == Some(3) || told.text().starts_with("ERR Function not found"),
                "{told:?}"
            );
        }
        self.say("GET out:key");
        assert_eq!(self.say("RPUSH due:list element").integer(), Some(1));
        let mut blocked = self.daemon.client();
        let id = blocked.command(&["CLIENT", "ID"]).unwrap().integer().unwrap();
        blocked.send(&["BLPOP", "empty", "0"]).unwrap();
        let mut unblocked = 0;
        for _ in 0..200 {
            unblocked = self.say(&format!("CLIENT UNBLOCK {id}")).integer().unwrap();
            if unblocked == 1 || self.has_no_right("CLIENT UNBLOCK") {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(unblocked == 1, !self.has_no_right("CLIENT UNBLOCK"));
        let unknown = self.say("MODULE.COMMAND x").text();
        let is_named = unknown.starts_with("ERR unknown command") || unknown.contains("COMMAND INFO");
        assert!(is_named, "{unknown}");
        let mut subscriber = self.daemon.client();
        assert!(!subscriber.command(&["SUBSCRIBE", "channel"]).unwrap().is_error());
        assert_eq!(self.say("PUBLISH channel message").integer(), Some(1));
        assert_eq!(subscriber.receive().unwrap().items().len(), 3);
        assert_eq!(self.say("EVAL return{1,2} 0").items().len(), 2);
    }

    fn missing(&mut self) -> BTreeSet<String> {
        let info = self.say("INFO nearside").text();
        let lines = info.lines().filter(|line| line.starts_with("missing_right"));
        lines.map(|line| line.split_once("command=").unwrap().1.to_owned()).collect()
    }

    fn has_no_right(&mut self, command: &str) -> bool {
        self.missing().contains(command)
    }

    /// All keys by a walk; it ends.
    fn walk(&mut self) -> Result<BTreeSet<String>, String> {
        let (mut cursor, mut keys) = ("0".to_owned(), BTreeSet::new());
        for _ in 0..1_000 {
            let page = self.say(&format!("SCAN {cursor} COUNT 100"));
            if page.is_error() {
                return Err(page.text());
            }
            cursor = page.items()[0].text();
            keys.extend(page.items()[1].items().iter().map(Reply::text));
            if cursor == "0" {
                return Ok(keys);
            }
        }
        panic!("SCAN never ends");
    }
}

/// What is different without a right.
struct Without {
    rule: &'static str,
    right: &'static str,
    /// Whether what is read is kept.
    keeps: bool,
    /// The state of the nodes.
    state: &'static str,
    /// How the reply to WAIT begins.
    wait: &'static str,
    /// How the reply to KEYS begins.
    keys: &'static str,
}

/// As it is with all rights.
const ALL: Without = Without { rule: "", right: "", keeps: true, state: "tracked", wait: "", keys: "" };

#[test]
fn the_smallest_user_that_lacks_nothing_lacks_nothing_and_without_any_one_right_only_that_is_lost() {
    let stage = Stage::set();
    let full = rules("full");
    let cases = [
        ALL,
        Without { rule: "-client|tracking", right: "CLIENT TRACKING", keeps: false, state: "lost", ..ALL },
        Without { rule: "-client|caching", right: "CLIENT CACHING", ..ALL },
        Without { rule: "-client|no-evict", right: "CLIENT NO-EVICT", ..ALL },
        Without { rule: "-config|get", right: "CONFIG GET", ..ALL },
        Without { rule: "-info", right: "INFO", ..ALL },
        Without { rule: "-cluster|info", right: "CLUSTER INFO", keeps: false, state: "lost", ..ALL },
        Without { rule: "-cluster|myid", right: "CLUSTER MYID", ..ALL },
        Without { rule: "-cluster|nodes", right: "CLUSTER NODES", ..ALL },
        Without { rule: "-ping", ..ALL },
        Without { rule: "-pttl", right: "PTTL", keeps: false, ..ALL },
        Without { rule: "-pexpire", right: "PEXPIRE", ..ALL },
        Without { rule: "-scan", right: "SCAN", keys: "NOPERM nearside: SCAN and KEYS", ..ALL },
        Without { rule: "-command|info", right: "COMMAND INFO", ..ALL },
        Without { rule: "-function|list", right: "FUNCTION LIST", ..ALL },
        Without { rule: "-function|load", right: "FUNCTION LOAD", ..ALL },
        Without { rule: "-function|restore", right: "FUNCTION RESTORE", wait: "ERR nearside: node", ..ALL },
        Without { rule: "-script|exists", right: "SCRIPT EXISTS", ..ALL },
        Without { rule: "-client|unblock", right: "CLIENT UNBLOCK", ..ALL },
    ];
    for (number, case) in cases.iter().enumerate() {
        let mut played = stage.play(&format!("user{number}"), &format!("{CLIENTS} {full} {}", case.rule));
        let rule = case.rule;
        played.use_all();
        let again = stage.lose_scripts(&mut played);
        assert_eq!(again.is_error(), case.right == "SCRIPT EXISTS", "{rule}: {again:?}");
        eventually(&format!("{rule}: the nodes are {}", case.state), SOON, || {
            let nodes = played.daemon.nodes();
            nodes.len() == 3 && nodes.iter().all(|(_, state)| state == case.state)
        });
        assert_eq!(played.is_kept("GET key:1"), case.keeps, "{rule}");
        assert_eq!(played.is_kept("HGETALL hash"), case.keeps, "{rule}");
        if case.state == "tracked" {
            assert!(played.is_kept("GET capped:key"), "{rule}");
        }
        let waited = played.say("WAIT 0 100");
        assert!(
            if case.wait.is_empty() {
                waited.integer() == Some(0)
            } else {
                waited.text().starts_with(case.wait)
            },
            "{rule}: {waited:?}"
        );
        let keys = played.say("KEYS key:*");
        match case.keys {
            "" => {
                assert_eq!(keys.items().len(), 50, "{rule}: {}", keys.text());
                assert!(played.walk().unwrap().len() >= 50, "{rule}");
            }
            refusal => {
                assert!(keys.text().starts_with(refusal), "{rule}: {}", keys.text());
                assert!(played.walk().unwrap_err().starts_with(refusal), "{rule}");
            }
        }
        let wanted: BTreeSet<String> =
            [case.right.to_owned()].into_iter().filter(|right| !right.is_empty()).collect();
        assert_eq!(played.missing(), wanted, "{rule}");
        let told = "upstream user lacks permission for a command of nearside's own";
        if case.right.is_empty() {
            assert_eq!(played.daemon.times_logged(told), 0, "{rule}");
        } else {
            played.daemon.assert_logged("WARN", told);
            let told = played.daemon.times_logged(told);
            assert!((1..=3).contains(&told), "{rule}: once for each node, not {told} times");
            let owners = (0..50).map(|number| format!("NEARSIDE EXPLAIN key:{number}"));
            let explained = owners
                .map(|request| played.say(&request).items().iter().map(Reply::text).collect::<Vec<_>>());
            assert!(
                explained.into_iter().any(|fields| fields.iter().any(|field| *field == case.right)),
                "{rule}"
            );
        }
        played.daemon.stop();
        stage.clear();
    }
}

#[test]
fn the_least_user_is_served_without_l1() {
    let stage = Stage::set();
    let mut played = stage.play("least", &format!("~* &* {CLIENTS} {}", rules("least")));
    assert!(played.say("SET key value").is_ok());
    assert_eq!(played.say("GET key"), Reply::bulk("value"));
    assert!(!played.is_kept("GET key"));
    assert!(played.walk().unwrap().contains("key"));
    assert_eq!(played.say("EVAL return{1,2} 0").items().len(), 2);
    let missing = played.missing();
    for right in ["CLIENT TRACKING", "INFO", "CLUSTER INFO", "CLUSTER NODES"] {
        assert!(missing.contains(right), "{missing:?}");
    }
    let version = played.say("INFO server").text();
    let upstream = stage.cluster.nodes()[0].server().command(&["INFO", "server"]).unwrap().text();
    let line = upstream.lines().find(|line| line.starts_with("redis_version:")).unwrap();
    assert!(version.lines().any(|own| own == line), "HELLO says it: {version}");
    played.daemon.stop();
}

#[test]
fn a_right_that_is_given_later_is_used() {
    let stage = Stage::set();
    let mut played = stage.play("later", &format!("{CLIENTS} {} -cluster|info", rules("full")));
    eventually("it is missing", SOON, || played.has_no_right("CLUSTER INFO"));
    assert!(!played.is_kept("GET key"));
    for node in stage.cluster.nodes() {
        assert!(node.server().command(&["ACL", "SETUSER", "later", "+cluster|info"]).unwrap().is_ok());
    }
    played.daemon.until_tracked(3);
    assert!(played.is_kept("GET key"));
    assert!(played.missing().is_empty());
    for node in stage.cluster.nodes() {
        assert!(node.server().command(&["ACL", "SETUSER", "later", "-cluster|info"]).unwrap().is_ok());
    }
    eventually("L1 is off again", SOON, || {
        played.daemon.nodes().iter().all(|(_, state)| state == "lost") && !played.is_kept("GET key")
    });
    played.daemon.stop();
}

#[test]
fn one_server_needs_no_right_for_l1_but_tracking_and_lifetimes() {
    let upstream = Standalone::launch(&[]).unwrap();
    let acl = "ACL SETUSER app on >secret ~* &* +get +set +client|tracking +pttl +scan";
    assert!(upstream.server().command(&acl.split(' ').collect::<Vec<_>>()).unwrap().is_ok());
    let daemon =
        Daemon::start(&["--upstream", &format!("redis://app:secret@{}", upstream.server().address())]);
    daemon.until_tracked(1);
    let mut played = Played { client: daemon.client(), daemon };
    assert!(played.say("SET key value").is_ok());
    assert!(played.is_kept("GET key"));
    assert_eq!(played.walk().unwrap(), BTreeSet::from(["key".to_owned()]));
    assert!(upstream.server().command(&["SET", "key", "other"]).unwrap().is_ok());
    eventually("the change is heard of", SOON, || played.say("GET key") == Reply::bulk("other"));
    // Longer than the lease: the heartbeat that is refused is an answer.
    std::thread::sleep(Duration::from_secs(3));
    played.daemon.until_tracked(1);
    played.daemon.stop();
}

#[test]
fn without_eval_ro_no_reply_about_fields_is_kept_where_they_have_times() {
    let upstream = Standalone::launch_program(Some(&valkey_server()), &[]).unwrap();
    let acl = "ACL SETUSER app on >secret ~* &* +get +set +hset +hget +client|tracking +client|caching +pttl +ping +info";
    assert!(upstream.server().command(&acl.split(' ').collect::<Vec<_>>()).unwrap().is_ok());
    let daemon =
        Daemon::start(&["--upstream", &format!("redis://app:secret@{}", upstream.server().address())]);
    daemon.until_tracked(1);
    let mut played = Played { client: daemon.client(), daemon };
    played.say("HSET hash field value");
    assert!(!played.is_kept("HGET hash field"));
    assert!(played.is_kept("GET key"), "nothing else is the worse for it");
    assert!(played.has_no_right("EVAL_RO") && !played.has_no_right("PTTL"));
    let explained: Vec<String> =
        played.say("NEARSIDE EXPLAIN hash").items().iter().map(Reply::text).collect();
    assert!(explained.contains(&"the server did not say how long it will live".to_owned()), "{explained:?}");
    played.daemon.stop();
}

#[test]
fn the_page_has_each_command_that_the_daemon_itself_sends() {
    let (_, table) = PAGE.split_once("<!-- begin: rights -->").unwrap();
    for right in Right::ALL {
        assert!(
            table.contains(&format!("`{}`", right.command())),
            "{} is not in docs/rights.md",
            right.command()
        );
    }
    // What clients send is theirs; each other word that begins a request stands in the page.
    let of_clients = ["GET", "MGET", "UNWATCH", "DBSIZE", "RANDOMKEY", "HELLO"];
    let mut found = BTreeSet::new();
    look_through(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 10, "{found:?}");
    for word in found.iter().filter(|word| !of_clients.contains(&&***word)) {
        assert!(table.contains(&format!("`{word}")), "{word} is sent, and is not in docs/rights.md");
    }
}

/// Gathers the first word of each request that the sources write out.
fn look_through(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !["compat", "dev", "sandbox"].iter().any(|room| path.ends_with(room)) {
                look_through(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            for request in text.split("encode::request(&[").skip(1) {
                let word = request.trim_start_matches([' ', '\n', '&', '[', 'b']);
                if let Some(word) = word.strip_prefix('"').and_then(|word| word.split('"').next()) {
                    found.insert(word.to_owned());
                }
            }
        }
    }
}
