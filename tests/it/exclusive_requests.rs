//! A request that has its session for itself: what is pushed to its client meanwhile is not held up, and
//! nothing of it goes on when the client is gone.

use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
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
