//! Large commands are worked on in slices: others get their turn, and the session sees nothing of that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Reply, SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::servers::own_primaries;

/// More keys than go into some slices.
const KEYS: usize = 3000;

/// Very many: as many as the goal names, where the program was built to be quick.
const LARGE: usize = if cfg!(debug_assertions) { 20_000 } else { 200_000 };

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key:{number}")).collect()
}

fn request<'a>(name: &'a str, args: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    std::iter::once(name).chain(args.into_iter().map(String::as_str)).collect()
}

fn fill(client: &mut SandboxClient, keys: &[String]) {
    let pairs: Vec<&str> = keys.iter().flat_map(|key| [key.as_str(), &key[4..]]).collect();
    assert!(client.command(&[&["MSET"][..], &pairs].concat()).unwrap().is_ok());
}

#[test]
fn a_large_command_is_answered_as_a_small_one_is() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(3);
    for version in [2, 3] {
        let mut client = daemon.client();
        client.hello(version).unwrap();
        let keys = names(KEYS);
        fill(&mut client, &keys);
        for _ in 0..2 {
            // With some that are not there, and some twice, in other slices than before.
            let asked: Vec<String> =
                keys.iter().chain(["none".to_owned()].iter()).chain(keys.iter().rev()).cloned().collect();
            let reply = client.command(&request("MGET", &asked)).unwrap();
            assert_eq!(reply.items().len(), asked.len());
            for (key, value) in asked.iter().zip(reply.items()) {
                if key == "none" {
                    assert!(value.is_nil(), "{value:?}");
                } else {
                    assert_eq!(*value, Reply::bulk(&key[4..]));
                }
            }
        }
        let twice: Vec<String> = keys.iter().chain(&keys).cloned().collect();
        let number = |reply: Reply| reply.integer().unwrap() as usize;
        assert_eq!(number(client.command(&request("EXISTS", &twice)).unwrap()), 2 * KEYS);
        assert_eq!(number(client.command(&request("TOUCH", &keys)).unwrap()), KEYS);
        assert_eq!(number(client.command(&request("DEL", &twice)).unwrap()), KEYS);
        assert_eq!(number(client.command(&request("UNLINK", &twice)).unwrap()), 0);
    }
}

#[test]
fn a_few_large_values_and_keys_are_a_large_command_too() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(3);
    let mut client = daemon.client();
    client.set_timeout(Duration::from_secs(60)).unwrap();
    let value = |number: usize| number.to_string().repeat(300 * 1024);
    let keys: Vec<String> = (0..6).map(|number| format!("{number}:{}", "k".repeat(100 * 1024))).collect();
    let pairs: Vec<String> = (0..6).flat_map(|number| [keys[number].clone(), value(number)]).collect();
    assert!(client.command(&request("MSET", &pairs)).unwrap().is_ok());
    for _ in 0..2 {
        let reply = client.command(&request("MGET", &keys)).unwrap();
        let values: Vec<Reply> = (0..6).map(|number| Reply::bulk(value(number))).collect();
        assert!(reply.items() == values);
    }
    assert_eq!(client.command(&request("EXISTS", &keys)).unwrap().integer(), Some(6));
    assert_eq!(client.command(&request("UNLINK", &keys)).unwrap().integer(), Some(6));
    let odd = client.command(&request("MSET", &pairs[1..])).unwrap().text();
    assert!(odd.starts_with("ERR wrong number of arguments"), "{odd}");
}

#[test]
fn a_large_mget_sees_what_was_written_before_it_and_nothing_of_what_comes_behind() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(3);
    let mut client = daemon.client();
    let keys = names(KEYS);
    fill(&mut client, &keys);
    let (first, last) = (&keys[0], &keys[KEYS - 1]);
    for _ in 0..5 {
        client.command(&["SET", last, "before"]).unwrap();
        let mut pipeline = encode(&["SET", first, "written"]);
        pipeline.extend(encode(&request("MGET", &keys)));
        pipeline.extend(encode(&["SET", last, "behind"]));
        pipeline.extend(encode(&["GET", last]));
        client.send_raw(&pipeline).unwrap();
        assert!(client.receive().unwrap().is_ok());
        let values = client.receive().unwrap();
        assert_eq!(values.items()[0], Reply::bulk("written"));
        assert_eq!(values.items()[KEYS - 1], Reply::bulk("before"));
        assert!(client.receive().unwrap().is_ok());
        assert_eq!(client.receive().unwrap(), Reply::bulk("behind"));
    }
}

#[test]
fn a_large_command_that_fails_in_part_is_one_error() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--client-output-max", "1mb"]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    let (keys, value) = (names(KEYS), "v".repeat(1000));
    let pairs: Vec<&str> = keys.iter().flat_map(|key| [key.as_str(), &value]).collect();
    assert!(client.command(&[&["MSET"][..], &pairs].concat()).unwrap().is_ok());
    for _ in 0..2 {
        let reply = client.command(&request("MGET", &keys)).unwrap().text();
        assert!(reply.contains("client_output_max"), "{reply}");
    }
    assert_eq!(client.command(&["GET", "key:1"]).unwrap(), Reply::bulk(&value), "it goes on");
}

/// How long it took until the first client got what it asked for, and each read of `hot` that the other sent
/// meanwhile, the longest last.
fn beside([mut large, mut small]: [SandboxClient; 2], request: &[u8]) -> (Duration, Vec<Duration>) {
    large.set_timeout(Duration::from_secs(60)).unwrap();
    small.command(&["SET", "hot", "value"]).unwrap();
    small.command(&["GET", "hot"]).unwrap();
    // All of the request has arrived but its end.
    let (begin, end) = request.split_at(request.len() - 1);
    large.send_raw(begin).unwrap();
    small.command(&["GET", "hot"]).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let began = Instant::now();
            large.send_raw(end).unwrap();
            assert!(!large.receive().unwrap().is_error());
            done.store(true, Ordering::Relaxed);
            began.elapsed()
        });
        let mut times = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let began = Instant::now();
            assert_eq!(small.command(&["GET", "hot"]).unwrap(), Reply::bulk("value"));
            times.push(began.elapsed());
        }
        times.sort();
        (asked.join().unwrap(), times)
    })
}

fn shown((whole, times): &(Duration, Vec<Duration>)) -> String {
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    let count = times.len();
    format!("{whole:?}, {count} reads: median {:?}, p99 {:?}, longest {longest:?}", at(50), at(99))
}

/// With `--nocapture` it prints how long hits took beside the command, and reads of a plain server beside the
/// same.
#[test]
fn hits_of_others_are_answered_while_a_large_command_is_worked_on() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(3);
    let plain = Standalone::launch(&[]).unwrap();
    let keys = names(LARGE);
    let pairs: Vec<String> = keys.iter().flat_map(|key| [key.clone(), "value".to_owned()]).collect();
    for (name, args) in [("MGET", &keys), ("MSET", &pairs), ("MGET", &keys), ("DEL", &keys)] {
        let wanted = encode(&request(name, args));
        let connect = || plain.server().connect().unwrap();
        let others = beside([connect(), connect()], &wanted);
        // Whoever is not given the processor waits for that as well: it is tried again.
        let turns = (0..10).any(|_| {
            let times = beside([daemon.client(), daemon.client()], &wanted);
            println!("{name} of {LARGE} keys: nearside {}; plain server {}", shown(&times), shown(&others));
            times.1.last().is_some_and(|longest| *longest < times.0 / 3)
        });
        assert!(turns, "{name}: a hit waits for a large part of it");
    }
}
