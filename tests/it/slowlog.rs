//! SLOWLOG: what took long is there, in the form of Redis, and no more of it than is wanted.

use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

fn before(upstream: &Standalone, options: &[&str]) -> Daemon {
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], options].concat());
    daemon.until_tracked(1);
    daemon
}

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

/// The entries, the newest first, each with its arguments as text.
fn entries(client: &mut SandboxClient) -> Vec<Vec<String>> {
    let reply = say(client, "SLOWLOG GET -1");
    reply.items().iter().map(|entry| entry.items()[3].items().iter().map(Reply::text).collect()).collect()
}

#[test]
fn a_slow_command_is_kept_with_who_sent_it() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = before(&upstream, &["--slowlog-log-slower-than", "100000"]);
    let mut client = daemon.client();
    say(&mut client, "CLIENT SETNAME bob");
    assert!(say(&mut client, "SET key value").is_ok());
    upstream.server().stop_signal().unwrap();
    let long = "v".repeat(200);
    let many: Vec<String> = (0..40).map(|number| format!("{{k}}{number}")).collect();
    client.send(&["SET", "key", &long]).unwrap();
    client.send(&[&["MGET".to_owned()][..], &many[..]].concat()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    upstream.server().continue_signal().unwrap();
    client.receive().unwrap();
    client.receive().unwrap();
    let mut looker = daemon.client();
    let reply = say(&mut looker, "SLOWLOG GET");
    assert_eq!((reply.items().len(), say(&mut looker, "SLOWLOG LEN")), (2, Reply::Integer(2)));
    let [mget, set] = reply.items() else { panic!("{reply:?}") };
    let [id, at, micros, arguments, address, name] = set.items() else { panic!("{set:?}") };
    assert_eq!(id.integer(), Some(0));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((now - 60..=now).contains(&at.integer().unwrap()));
    assert!((100_000..10_000_000).contains(&micros.integer().unwrap()), "{micros:?}");
    let shown: Vec<String> = arguments.items().iter().map(Reply::text).collect();
    assert_eq!(
        shown,
        ["SET".to_owned(), "key".to_owned(), format!("{}... (72 more bytes)", "v".repeat(128))]
    );
    assert!(address.text().starts_with("127.0.0.1:"));
    assert_eq!(name.text(), "bob");
    assert_eq!(mget.items()[0].integer(), Some(1), "the newest first");
    let shown: Vec<String> = mget.items()[3].items().iter().map(Reply::text).collect();
    assert_eq!((shown.len(), &*shown[31]), (32, "... (10 more arguments)"));
    assert_eq!(say(&mut looker, "SLOWLOG GET 1").items().len(), 1);
    assert!(say(&mut looker, "SLOWLOG RESET").is_ok());
    assert_eq!(say(&mut looker, "SLOWLOG LEN"), Reply::Integer(0));
}

#[test]
fn only_so_many_are_kept_and_what_is_answered_on_the_spot_is_among_them() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = before(&upstream, &["--slowlog-log-slower-than", "0", "--slowlog-max-len", "3"]);
    let mut client = daemon.client();
    for number in 0..5 {
        say(&mut client, &format!("SET key {number}"));
    }
    say(&mut client, "GET key");
    let hits = daemon.counter("l1_hits");
    say(&mut client, "GET key");
    say(&mut client, "PING");
    let newest = [vec!["PING"], vec!["GET", "key"], vec!["INFO", "nearside"]];
    assert_eq!(entries(&mut client), newest);
    assert_eq!(daemon.counter("l1_hits"), hits + 1, "a hit is among them");
    assert!(say(&mut client, "CONFIG SET slowlog-max-len 1").is_ok());
    say(&mut client, "SET key 5");
    assert_eq!(entries(&mut client), [vec!["SET", "key", "5"]]);
    assert!(say(&mut client, "CONFIG SET slowlog-log-slower-than -1").is_ok());
    say(&mut client, "SET key 6");
    assert_eq!(entries(&mut client), [vec!["SLOWLOG", "GET", "-1"]], "from before");
    assert!(say(&mut client, "CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 0").is_ok());
    say(&mut client, "SET key 7");
    eventually("an empty bound keeps none", Duration::from_secs(5), || entries(&mut client).is_empty());
}

/// What a Redis keeps of the same requests: of a transaction its commands, and not EXEC; of commands that block,
/// those whose time did not run out.
#[test]
fn from_0_on_every_command_is_kept_as_in_redis() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = before(&upstream, &[]);
    let kept = |client: &mut SandboxClient| {
        say(client, "CONFIG SET slowlog-log-slower-than 0");
        say(client, "SLOWLOG RESET");
        for request in [
            "PING",
            "ECHO x",
            "SET key 1",
            "GET key",
            "GET key",
            "INCR key",
            "LPUSH key x",
            "CLIENT ID",
            "COMMAND COUNT",
            "SELECT 0",
            "HELLO 2",
            "NOSUCH",
            "GET",
            "CONFIG GET maxclients",
            "CONFIG GET maxmemory",
            "SUBSCRIBE channel",
            "UNSUBSCRIBE channel",
            "MULTI",
            "DISCARD",
            "WATCH key",
            "UNWATCH",
            "SLOWLOG LEN",
            "DBSIZE",
            "CLIENT NO-EVICT off",
            "LATENCY LATEST",
            "PUBLISH channel x",
            "EXISTS key other",
            "AUTH default secret",
            "MULTI",
            "SET key 5",
            "PING",
            "INCR other",
            "LPUSH key x",
            "EXEC",
            "MULTI",
            "NOSUCH",
            "EXEC",
            "WATCH key",
            "SET key 6",
            "MULTI",
            "GET key",
            "EXEC",
            "RPUSH list a",
            "BLPOP list 1",
            "BLPOP list 0.01",
            "RESET",
        ] {
            say(client, request);
        }
        entries(client)
    };
    let plain = Standalone::launch(&[]).unwrap();
    let wanted = kept(&mut plain.server().connect().unwrap());
    assert_eq!(wanted.len(), 39, "{wanted:?}");
    assert_eq!(kept(&mut daemon.client()), wanted);
}

#[test]
fn commands_and_errors_are_counted_as_in_redis() {
    let [plain, behind] = [0, 1].map(|_| Standalone::launch(&[]).unwrap());
    let daemon = before(&behind, &[]);
    let counted = |client: &mut SandboxClient| {
        say(client, "CONFIG RESETSTAT");
        for request in [
            "PING",
            "SET key 1",
            "GET key",
            "GET key",
            "MGET key other",
            "MULTI",
            "SET key x",
            "INCR key",
            "LPUSH key x",
            "PING",
            "EXEC",
            "MULTI",
            "NOSUCH",
            "SET key 2",
            "EXEC",
            "WATCH key",
            "SET key 6",
            "MULTI",
            "GET key",
            "EXEC",
            "EXEC",
            "NOSUCH",
            "GET",
            "LPUSH key x",
            "SUBSCRIBE channel",
            "UNSUBSCRIBE channel",
            "BLPOP list 0.01",
            "SELECT 99",
            "AUTH wrong",
        ] {
            say(client, request);
        }
        let lines = |client: &mut SandboxClient, section: &str, begins: &str| {
            let info = say(client, &format!("INFO {section}")).text();
            let counts = info.lines().filter(|line| line.starts_with(begins)).map(|line| {
                let shown = line.split(',').filter(|field| !field.starts_with("usec"));
                shown
                    .map(|field| field.split(",usec").next().unwrap().to_owned())
                    .collect::<Vec<_>>()
                    .join(",")
            });
            let mut counts: Vec<String> = counts.collect();
            counts.sort();
            counts
        };
        [
            lines(client, "stats", "total_commands_processed"),
            lines(client, "stats", "total_error_replies"),
            lines(client, "commandstats", "cmdstat"),
            lines(client, "errorstats", "errorstat"),
        ]
    };
    let wanted = counted(&mut plain.server().connect().unwrap());
    assert_eq!(counted(&mut daemon.client()), wanted);
}
