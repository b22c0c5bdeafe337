//! A request that has its session for itself: what is pushed to its client meanwhile is not held up, and
//! nothing of it goes on when the client is gone.

use std::net::TcpListener;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers::eventually;

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// So many that a walk over them takes hundreds of requests.
const KEYS: usize = 300_000;

struct World {
    server: Standalone,
    daemon: Daemon,
}

impl World {
    fn new() -> World {
        let server = Standalone::launch(&[]).unwrap();
        let mut direct = server.server().connect().unwrap();
        direct.set_timeout(SOON).unwrap();
        let fill = "for i = 1, ARGV[1] do redis.call('SET', 'many:' .. i, '') end";
        assert!(!direct.command(&["EVAL", fill, "0", &KEYS.to_string()]).unwrap().is_error());
        let daemon = Daemon::start(&["--upstream", &format!("redis://{}", server.server().address())]);
        daemon.until_tracked(1);
        World { server, daemon }
    }

    fn client(&self) -> SandboxClient {
        let client = self.daemon.client();
        client.set_timeout(SOON).unwrap();
        client
    }

    /// How many pages of walks the server was asked for.
    fn pages(&self) -> u64 {
        let stats = self.server.server().connect().unwrap().command(&["INFO", "commandstats"]).unwrap();
        let calls = stats.text().split_once("cmdstat_scan:calls=").map(|(_, rest)| rest.to_owned());
        calls.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    }
}

#[test]
fn a_push_leaves_while_a_walk_has_the_session_for_itself() {
    let world = World::new();
    let (mut client, mut other) = (world.client(), world.client());
    client.command(&["HELLO", "3"]).unwrap();
    client.command(&["CLIENT", "TRACKING", "ON"]).unwrap();
    client.command(&["GET", "many:1"]).unwrap();
    client.send_raw(&encode(&["KEYS", "none:*"])).unwrap();
    eventually("the walk has begun", SOON, || world.pages() > 0);
    assert_eq!(other.command(&["SET", "many:1", "new"]).unwrap().text(), "OK");
    let first = client.receive().unwrap();
    assert!(matches!(&first, Reply::Push(_)), "{first:?} came before the push");
    assert_eq!(client.receive().unwrap(), Reply::Array(Vec::new()));
}

#[test]
fn a_walk_ends_with_its_client() {
    let world = World::new();
    let (mut client, mut other) = (world.client(), world.client());
    let id = client.command(&["CLIENT", "ID"]).unwrap();
    let Reply::Integer(id) = id else { panic!("{id:?}") };
    client.send_raw(&encode(&["KEYS", "none:*"])).unwrap();
    eventually("the walk has begun", SOON, || world.pages() > 0);
    let killed = other.command(&["CLIENT", "KILL", "ID", &id.to_string()]).unwrap();
    assert_eq!(killed, Reply::Integer(1));
    // One page may be on its way.
    let pages = world.pages() + 1;
    // Another walk, whose end comes long after that of the first would have come.
    let size = other.command(&["DBSIZE"]).unwrap();
    assert_eq!(size, Reply::Integer(KEYS as i64));
    std::thread::sleep(Duration::from_millis(300));
    let later = world.pages();
    assert!(later <= pages, "the walk of a client that is gone goes on: {later} pages after {pages}");
}

#[test]
fn a_client_that_kills_itself_and_another_gets_its_answer() {
    let world = World::new();
    let (mut client, mut other) = (world.client(), world.client());
    other.command(&["PING"]).unwrap();
    let killed = client.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]).unwrap();
    let Reply::Integer(count) = killed else { panic!("{killed:?}") };
    assert!(count >= 2, "{count}");
    assert!(client.receive().is_err(), "it is gone");
}

#[test]
fn a_client_that_wants_no_replies_gets_none_of_a_walk() {
    let world = World::new();
    let mut client = world.client();
    let requests: [&[&str]; 4] =
        [&["CLIENT", "REPLY", "SKIP"], &["KEYS", "none:*"], &["KEYS", "many:1"], &["PING"]];
    client.send_raw(&requests.map(encode).concat()).unwrap();
    assert_eq!(client.receive().unwrap(), Reply::Array(vec![Reply::bulk("many:1")]));
    assert_eq!(client.receive().unwrap().text(), "PONG");
}

/// A daemon whose server can be made silent.
struct SilentWorld {
    server: Standalone,
    relay: Relay,
    daemon: Daemon,
}

impl SilentWorld {
    fn new() -> SilentWorld {
        let server = Standalone::launch(&[]).unwrap();
        let relay = Relay::to(TcpListener::bind("127.0.0.1:0").unwrap(), server.server().address());
        let daemon = Daemon::start(&["--upstream", &format!("redis://{}", relay.address())]);
        daemon.until_tracked(1);
        SilentWorld { server, relay, daemon }
    }

    fn direct(&self) -> SandboxClient {
        self.server.server().connect().unwrap()
    }

    fn client(&self) -> SandboxClient {
        let client = self.daemon.client();
        client.set_timeout(SOON).unwrap();
        client
    }

    /// Sends `request`, and waits until the daemon has it.
    fn send(&self, client: &mut SandboxClient, request: &[&str]) {
        client.send(request).unwrap();
        let present = format!(" cmd={} ", request[0].to_ascii_lowercase());
        let mut control = self.client();
        eventually("the daemon has the request", SOON, || {
            control.command(&["CLIENT", "LIST"]).unwrap().text().contains(&present)
        });
    }

    /// Pauses writes while `client` waits for what the server does not say, and sees that what it has sent is
    /// carried out when the pause is over and not before: until then `looked` says false.
    fn assert_held(&self, client: &mut SandboxClient, looked: impl Fn() -> bool) -> Reply {
        let mut control = self.client();
        assert!(control.command(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap().is_ok());
        self.relay.resume();
        // Behind all that the server was asked before.
        assert!(control.command(&["GET", "nothing"]).unwrap().is_nil());
        client.set_timeout(Duration::from_millis(300)).unwrap();
        assert!(client.receive().is_err(), "it waits");
        assert!(!looked(), "it is carried out though clients are paused");
        assert!(control.command(&["CLIENT", "UNPAUSE"]).unwrap().is_ok());
        client.set_timeout(SOON).unwrap();
        let reply = client.receive().unwrap();
        assert!(looked());
        reply
    }
}

#[test]
fn a_script_or_function_that_is_looked_for_when_a_pause_begins_runs_when_the_pause_is_over() {
    let world = SilentWorld::new();
    let mut direct = world.direct();
    let sha = direct.command(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"]).unwrap().text();
    let library = "#!lua name=lib\nredis.register_function('bump', function(keys) return redis.call('INCR', keys[1]) end)";
    assert_eq!(direct.command(&["FUNCTION", "LOAD", library]).unwrap(), Reply::bulk("lib"));
    for request in [["EVALSHA", &sha, "1", "script"], ["FCALL", "bump", "1", "function"]] {
        let mut client = world.client();
        world.relay.pause();
        world.send(&mut client, &request);
        let ran = || !world.direct().command(&["GET", request[3]]).unwrap().is_nil();
        assert_eq!(world.assert_held(&mut client, ran), Reply::Integer(1), "{request:?}");
    }
}

#[test]
fn a_message_that_waits_for_subscriptions_when_a_pause_begins_is_sent_when_the_pause_is_over() {
    let world = SilentWorld::new();
    let (mut client, mut open) = (world.client(), world.client());
    assert!(open.command(&["MULTI"]).unwrap().is_ok());
    assert_eq!(open.command(&["PUBLISH", "second", "message"]).unwrap().text(), "QUEUED");
    assert_eq!(open.command(&["INCR", "published"]).unwrap().text(), "QUEUED");
    let published = || {
        let stats = world.direct().command(&["INFO", "commandstats"]).unwrap().text();
        let calls = stats.split_once("cmdstat_publish:calls=").map(|(_, rest)| rest.to_owned());
        calls.map_or(0, |rest| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    let (mut first, mut second) = (world.client(), world.client());
    // The node has to know a connection that subscribes.
    first.command(&["SUBSCRIBE", "other"]).unwrap();
    world.relay.pause();
    world.send(&mut first, &["SUBSCRIBE", "first"]);
    world.send(&mut client, &["PUBLISH", "first", "message"]);
    assert_eq!(world.assert_held(&mut client, || published() == 1), Reply::Integer(1));
    world.relay.pause();
    world.send(&mut second, &["PSUBSCRIBE", "second"]);
    world.send(&mut open, &["EXEC"]);
    let replies = world.assert_held(&mut open, || published() == 2);
    assert_eq!(replies.items()[1], Reply::Integer(1));
}
