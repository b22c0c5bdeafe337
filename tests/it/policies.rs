//! Policies for the keys of a prefix: what each field does in front of a real server, and how they are
//! replaced.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{SandboxClient, Standalone};

use crate::support::daemon::{Daemon, run_to_end};
use crate::support::servers::{eventually, sandbox};

const SOON: Duration = Duration::from_secs(10);

/// A server, a daemon before it that has these policies, and the file that says so.
pub(crate) struct Setup {
    upstream: Standalone,
    pub(crate) direct: SandboxClient,
    pub(crate) daemon: Daemon,
    pub(crate) client: SandboxClient,
    file: PathBuf,
}

// === impl Setup ===

impl Setup {
    pub(crate) fn with(policies: &str) -> Setup {
        Setup::before(&["--enable-debug-command", "yes"], policies)
    }

    /// The same with a server that was started with these arguments.
    pub(crate) fn before(arguments: &[&str], policies: &str) -> Setup {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let upstream = Standalone::launch(&arguments).unwrap();
        let file = written(&upstream, policies);
        let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
        daemon.until_tracked(1);
        let direct = upstream.server().connect().unwrap();
        let client = daemon.client();
        Setup { upstream, direct, daemon, client, file }
    }

    /// Puts other policies into the file and has them read, until this is logged.
    pub(crate) fn reload(&mut self, policies: &str, wanted: &str) {
        let before = self.daemon.times_logged(wanted);
        write(&self.file, &self.upstream, policies);
        self.daemon.reload();
        eventually(wanted, SOON, || self.daemon.times_logged(wanted) > before);
    }

    fn set(&mut self, key: &str, value: &str) {
        assert!(self.direct.command(&["SET", key, value]).unwrap().is_ok());
    }

    pub(crate) fn say(&mut self, request: &str) -> String {
        self.client.command(&request.split(' ').collect::<Vec<_>>()).unwrap().text()
    }

    /// Whether a request that was made before is answered from memory now.
    fn is_hit(&mut self, request: &str) -> bool {
        let before = self.daemon.counter("l1_hits");
        self.say(request);
        self.daemon.counter("l1_hits") > before
    }

    /// Whether a request is answered from memory once it was made.
    fn is_kept(&mut self, request: &str) -> bool {
        self.say(request);
        self.is_hit(request)
    }

    /// The keys that the server tracks for anybody.
    fn tracked_keys(&mut self) -> u64 {
        let info = self.direct.command(&["INFO", "stats"]).unwrap().text();
        let count = info.lines().find_map(|line| line.strip_prefix("tracking_total_keys:"));
        count.unwrap().trim().parse().unwrap()
    }

    /// How often the server was asked for the life of a key.
    fn lifetimes_asked(&mut self) -> u64 {
        let info = self.direct.command(&["INFO", "commandstats"]).unwrap().text();
        let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_pttl:calls="));
        calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
    }
}

/// A configuration file with these policies.
fn written(upstream: &Standalone, policies: &str) -> PathBuf {
    let file = sandbox().make_directory().unwrap().join("nearside.toml");
    write(&file, upstream, policies);
    file
}

fn write(file: &PathBuf, upstream: &Standalone, policies: &str) {
    let url = format!("redis://{}", upstream.server().address());
    fs::write(file, format!("upstream = {url:?}\n{policies}")).unwrap();
}

#[test]
fn what_is_not_to_be_cached_is_neither_kept_nor_tracked() {
    let mut setup =
        Setup::with("[[policy]]\nprefix = 'off:'\ncache = false\n\n[[policy]]\nprefix = 'off:not:'\n");
    for key in ["off:1", "off:2", "off:not:1", "other"] {
        setup.set(key, "value");
    }
    for request in ["GET off:1", "STRLEN off:1", "MGET off:1 off:2", "EXISTS off:1", "LCS off:1 off:2"] {
        assert!(!setup.is_kept(request), "{request}");
    }
    assert_eq!(setup.tracked_keys(), 0, "the server remembers none of it");
    assert!(setup.daemon.counter("l1_kept_out") > 0);
    assert_eq!(setup.daemon.counter("l1_fills"), 0);
    setup.set("off:1", "newer");
    assert_eq!(setup.say("GET off:1"), "newer");
    for request in ["GET off:not:1", "GET other", "MGET other off:not:1"] {
        assert!(setup.is_kept(request), "{request}");
    }
    assert_eq!(setup.tracked_keys(), 2);
    setup.set("other", "newer");
    eventually("what is kept is still told of", SOON, || setup.say("GET other") == "newer");
    // What one read was not to be tracked for says nothing of the next.
    assert!(setup.is_kept("MGET other off:1 off:not:1"), "key by key");
    setup.daemon.stop();
}

#[test]
fn what_is_not_to_be_cached_is_read_in_the_order_of_its_pipeline() {
    let mut setup = Setup::with("[[policy]]\nprefix = 'off:'\ncache = false\n");
    for number in 0..200 {
        let value = number.to_string();
        setup.client.send(&["SET", "off:1", &value]).unwrap();
        setup.client.send(&["GET", "off:1"]).unwrap();
        setup.client.send(&["GET", "on:1"]).unwrap();
        setup.client.send(&["MGET", "off:1", "off:2"]).unwrap();
    }
    for number in 0..200 {
        assert!(setup.client.receive().unwrap().is_ok());
        assert_eq!(setup.client.receive().unwrap().text(), number.to_string());
        assert!(setup.client.receive().unwrap().is_nil());
        assert_eq!(setup.client.receive().unwrap().items()[0].text(), number.to_string());
    }
    assert_eq!(setup.tracked_keys(), 1, "on:1");
    setup.daemon.stop();
}

#[test]
fn a_client_that_caches_is_told_of_what_l1_does_not_keep() {
    let mut setup = Setup::with("[[policy]]\nprefix = 'off:'\ncache = false\n");
    setup.set("off:1", "value");
    assert!(!setup.client.command(&["HELLO", "3"]).unwrap().is_error());
    assert!(setup.client.command(&["CLIENT", "TRACKING", "ON"]).unwrap().is_ok());
    assert_eq!(setup.say("GET off:1"), "value");
    assert_eq!(setup.tracked_keys(), 1);
    setup.set("off:1", "newer");
    let push = setup.client.receive().unwrap();
    assert!(format!("{push:?}").contains("off:1"), "{push:?}");
    setup.daemon.stop();
}

#[test]
fn ttl_negative_ttl_and_their_jitter() {
    let mut setup = Setup::with(
        "l1_ttl = '1h'\nnegative_ttl = '1h'\n\
         [[policy]]\nprefix = 'brief:'\nttl = '300ms'\n\
         [[policy]]\nprefix = 'absent:'\nnegative_ttl = '300ms'\n\
         [[policy]]\nprefix = 'shaken:'\nttl = '2s'\nttl_jitter = 0.9\n",
    );
    for key in ["brief:1", "absent:there", "other"] {
        setup.set(key, "value");
    }
    for request in ["GET brief:1", "GET absent:1", "GET absent:there", "GET other", "GET nothing"] {
        eventually(request, SOON, || setup.is_kept(request));
    }
    for request in ["GET brief:1", "GET absent:1"] {
        eventually(request, SOON, || !setup.is_hit(request));
    }
    for request in ["GET absent:there", "GET other", "GET nothing"] {
        assert!(setup.is_hit(request), "{request}");
    }
    let before = setup.daemon.counter("l1_expirations");
    for number in 0..64 {
        setup.set(&format!("shaken:{number}"), "value");
        setup.say(&format!("GET shaken:{number}"));
    }
    std::thread::sleep(Duration::from_secs(1));
    let hits = (0..64).filter(|number| setup.is_hit(&format!("GET shaken:{number}"))).count();
    assert!((1..=63).contains(&hits), "some have ended and some have not: {hits}");
    assert!(setup.daemon.counter("l1_expirations") > before);
    setup.daemon.stop();
}

#[test]
fn value_max() {
    let mut setup = Setup::with("[[policy]]\nprefix = 'small:'\nvalue_max = 10\n");
    for (key, length) in [("small:10", 10), ("small:11", 11), ("other", 11)] {
        setup.set(key, &"v".repeat(length));
    }
    setup.say("RPUSH small:list one two");
    assert!(setup.is_kept("GET small:10") && setup.is_kept("MGET small:10"));
    assert!(!setup.is_kept("GET small:11") && !setup.is_kept("MGET small:11"));
    assert!(setup.is_kept("STRLEN small:11"), "each reply by itself");
    assert!(!setup.is_kept("LRANGE small:list 0 -1"), "what is no string counts as it is written");
    assert!(setup.is_kept("GET other"));
    setup.daemon.stop();
}

#[test]
fn a_capped_key_costs_no_question_and_lives_until_the_server_removes_it() {
    let mut setup = Setup::with(
        "[[policy]]\nprefix = 'capped:'\nmode = 'capped'\n[[policy]]\nprefix = 'exact:'\nmode = 'exact'\n",
    );
    for key in ["capped:1", "capped:2", "exact:1"] {
        setup.set(key, "value");
    }
    setup.say("RPUSH capped:list one");
    assert!(setup.is_kept("GET capped:1") && setup.is_kept("MGET capped:2"));
    assert!(setup.is_kept("GET capped:absent"));
    // A null of MGET may stand for another type: nobody asked.
    assert!(!setup.is_kept("MGET capped:list"));
    assert!(setup.say("GET capped:list").starts_with("WRONGTYPE"));
    assert_eq!(setup.lifetimes_asked(), 0);
    assert!(setup.is_kept("GET exact:1"));
    assert_eq!(setup.lifetimes_asked(), 1);
    // The server does not remove by itself what has expired: then a capped reply outlives its key, an exact
    // one does not.
    assert!(setup.direct.command(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).unwrap().is_ok());
    for key in ["capped:1", "exact:1"] {
        assert!(setup.direct.command(&["SET", key, "brief", "PX", "500"]).unwrap().is_ok());
        eventually("the new value is read", SOON, || setup.say(&format!("GET {key}")) == "brief");
    }
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(setup.say("GET capped:1"), "brief");
    assert!(setup.client.command(&["GET", "exact:1"]).unwrap().is_nil());
    assert!(setup.direct.command(&["GET", "capped:1"]).unwrap().is_nil(), "it is removed now, and told of");
    eventually("the end of the key is heard of", SOON, || {
        setup.client.command(&["GET", "capped:1"]).unwrap().is_nil()
    });
    setup.daemon.stop();
}

#[test]
fn faults_of_policies_are_all_named_at_the_start() {
    let upstream = Standalone::launch(&[]).unwrap();
    let file =
        written(&upstream, "[[policy]]\nprefix = ''\n[[policy]]\nprefix = 'a'\nttl = 5\ntracking = 'x'\n");
    let ended = run_to_end(&["--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(2));
    for wanted in ["policy.prefix = \"\"", "policy.ttl = \"5\"", "policy.tracking", "nearside.toml:6"] {
        assert!(ended.stderr.contains(wanted), "{wanted}: {}", ended.stderr);
    }
}

#[test]
fn policies_are_read_again_at_sighup_and_former_ones_hold_when_they_are_wrong() {
    let mut setup = Setup::with("[[policy]]\nprefix = 'a:'\ncache = false\n");
    for key in ["a:1", "b:1"] {
        setup.set(key, "value");
    }
    assert!(!setup.is_kept("GET a:1"));
    assert!(setup.is_kept("GET b:1"));
    setup.reload("[[policy]]\nprefix = 'b:'\ncache = false\n", "reload: the policies were replaced");
    assert!(!setup.is_hit("GET b:1"), "what was kept under the former policies is gone");
    assert!(!setup.is_kept("GET b:1"));
    assert!(setup.is_kept("GET a:1"));

    let wrong = "[[policy]]\nprefix = 'a:'\ncache = false\n[[policy]]\nprefix = 'a:'\nttl = 'x'\n";
    setup.reload(wrong, "reload: nothing was changed");
    // Each fault has a line.
    setup.daemon.assert_times_logged("reload: the configuration is wrong", 2);
    assert!(setup.is_hit("GET a:1"), "nothing was dropped");
    assert!(!setup.is_kept("GET b:1"));

    setup.reload("[[policy]]\nprefix = 'b:'\ncache = false\n", "reload: the policies are as they were");
    assert!(setup.is_hit("GET a:1"));
    setup.reload("", "reload: the policies were replaced");
    assert!(setup.is_kept("GET a:1") && setup.is_kept("GET b:1"));
    setup.daemon.stop();
}

#[test]
fn a_key_that_is_changed_more_often_than_it_is_read_is_not_kept_until_that_changes() {
    let mut setup = Setup::with("[[policy]]\nprefix = 'always:'\nadmission = 'always'\n");
    let changes = |setup: &mut Setup, key: &str| {
        for number in 0..12 {
            setup.set(key, &number.to_string());
            // Until the change is heard of; a read that is a hit would be one for the key.
            eventually("the entry goes", SOON, || {
                let info = setup.client.command(&["NEARSIDE", "EXPLAIN", key]).unwrap();
                let items = info.items();
                let cached = items.chunks(2).find(|field| field[0].text() == "cached").unwrap();
                cached[1].integer() == Some(0)
            });
            assert_eq!(setup.say(&format!("GET {key}")), number.to_string());
        }
    };
    changes(&mut setup, "often");
    let unworthy = setup.daemon.counter("l1_unworthy");
    assert!(unworthy >= 6, "{unworthy}");
    assert_eq!(setup.tracked_keys(), 0, "the server remembers nothing of it");
    let explained = format!("{:?}", setup.client.command(&["NEARSIDE", "EXPLAIN", "often"]).unwrap());
    assert!(explained.contains("it is changed more often than it is read"), "{explained}");
    // Now it is read and not changed: one of the reads is a trial, and the next one hits.
    let reads = (0..40).position(|_| setup.is_hit("GET often"));
    assert!(reads.is_some_and(|reads| (1..20).contains(&reads)), "{reads:?}");
    setup.set("often", "changed");
    eventually("it is told of", SOON, || setup.say("GET often") == "changed");
    assert!(setup.is_kept("GET often"), "it is kept as before");

    let before = setup.daemon.counter("l1_unworthy");
    changes(&mut setup, "always:1");
    assert_eq!(setup.daemon.counter("l1_unworthy"), before);
    assert!(setup.is_hit("GET always:1"));
    setup.daemon.stop();
}

#[test]
fn a_configuration_that_does_not_come_holds_nobody_up() {
    let mut setup = Setup::with("[[policy]]\nprefix = 'a:'\ncache = false\n");
    let kept = setup.file.with_extension("kept");
    fs::rename(&setup.file, &kept).unwrap();
    // A pipe that nobody writes to.
    assert!(Command::new("mkfifo").arg(&setup.file).status().unwrap().success());
    setup.daemon.reload();
    let late = "reload: the configuration could not be read within 5s";
    eventually(late, SOON, || setup.daemon.times_logged(late) == 1);
    // The main thread does the rest of its work meanwhile.
    let mut subscriber = setup.daemon.client();
    subscriber.set_timeout(SOON).unwrap();
    assert_eq!(subscriber.command(&["SUBSCRIBE", "channel"]).unwrap().items()[0].text(), "subscribe");
    let published = setup.client.command(&["PUBLISH", "channel", "message"]).unwrap();
    assert_eq!(published.integer(), Some(1));
    assert_eq!(subscriber.receive().unwrap().items()[2].text(), "message");
    assert!(!setup.is_kept("GET a:1"), "the former policies hold");
    // Nobody can write to it any more, and the next one is read all the same.
    fs::remove_file(&setup.file).unwrap();
    fs::rename(&kept, &setup.file).unwrap();
    setup.daemon.reload();
    let read = "reload: the policies are as they were";
    eventually(read, SOON, || setup.daemon.times_logged(read) == 1);
    setup.daemon.stop();

    // Once it can be read, it is.
    let setup = Setup::with("");
    fs::rename(&setup.file, &kept).unwrap();
    assert!(Command::new("mkfifo").arg(&setup.file).status().unwrap().success());
    setup.daemon.reload();
    eventually(late, SOON, || setup.daemon.times_logged(late) == 1);
    fs::write(&setup.file, "not a configuration").unwrap();
    fs::rename(&kept, &setup.file).unwrap();
    let policies = "[[policy]]\nprefix = 'a:'\ncache = false\n";
    write(&setup.file, &setup.upstream, policies);
    let replaced = "reload: the policies were replaced";
    eventually(replaced, SOON, || {
        setup.daemon.reload();
        thread::sleep(Duration::from_millis(100));
        setup.daemon.times_logged(replaced) > 0
    });
    assert_eq!(setup.daemon.times_logged("reload: the configuration is wrong"), 0, "what came too late");
    setup.daemon.stop();
}
