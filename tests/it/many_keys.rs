//! Commands on very many keys of one slot: carried out as a whole, and seen by whoever asks behind them.

use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::{eventually, own_primaries};

/// More than a command has whose keys are looked at in one go.
const KEYS: usize = 3_000;

/// For what must happen, on a busy machine.
const LIMIT: Duration = Duration::from_secs(15);

fn names() -> Vec<String> {
    (0..KEYS).map(|number| format!("{{t}}{number}")).collect()
}

fn request(name: &[&str], args: &[String]) -> Vec<u8> {
    encode(&[name, &args.iter().map(String::as_str).collect::<Vec<_>>()].concat())
}

/// Reads them so often that they are hits.
fn warm(client: &mut SandboxClient, keys: &[String], expected: &Reply) {
    for _ in 0..3 {
        for key in keys.iter().step_by(97) {
            assert_eq!(client.command(&["GET", key]).unwrap(), *expected, "{key}");
        }
    }
}

#[test]
fn what_is_asked_behind_a_command_on_many_keys_sees_it_and_so_do_others() {
    let cluster = own_primaries(1);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(1);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let keys = names();
    let last = keys.last().unwrap();
    let set = |client: &mut SandboxClient, other: &mut SandboxClient, value: &str| {
        let pairs: Vec<String> = keys.iter().flat_map(|key| [key.clone(), value.to_owned()]).collect();
        // One read is on its way before it, and two come behind it.
        let before = encode(&["ECHO", "before"]);
        let behind = [encode(&["GET", last]), encode(&["GET", &keys[0]])].concat();
        client.send_raw(&[before, request(&["MSET"], &pairs), behind].concat()).unwrap();
        assert_eq!(client.receive().unwrap(), Reply::bulk("before"));
        assert!(client.receive().unwrap().is_ok());
        assert_eq!(client.receive().unwrap(), Reply::bulk(value));
        assert_eq!(client.receive().unwrap(), Reply::bulk(value));
        for _ in 0..2 {
            warm(client, &keys, &Reply::bulk(value));
            warm(other, &keys, &Reply::bulk(value));
        }
    };
    set(&mut client, &mut other, "1");
    set(&mut client, &mut other, "2");
    let number = |reply: Reply| reply.integer().unwrap() as usize;

    let script = "for _, key in ipairs(KEYS) do redis.call('SET', key, 'script') end return #KEYS";
    client.send_raw(&request(&["EVAL", script, &KEYS.to_string()], &keys)).unwrap();
    assert_eq!(number(client.receive().unwrap()), KEYS);
    warm(&mut client, &keys, &Reply::bulk("script"));
    warm(&mut other, &keys, &Reply::bulk("script"));

    client.send_raw(&request(&["EXISTS"], &keys)).unwrap();
    assert_eq!(number(client.receive().unwrap()), KEYS);
    client.send_raw(&[request(&["DEL"], &keys), encode(&["GET", last])].concat()).unwrap();
    assert_eq!(number(client.receive().unwrap()), KEYS);
    assert!(client.receive().unwrap().is_nil());
    for key in keys.iter().step_by(97) {
        assert!(other.command(&["GET", key]).unwrap().is_nil());
    }
    client.send_raw(&request(&["SINTER"], &keys)).unwrap();
    assert_eq!(client.receive().unwrap(), Reply::Array(Vec::new()));
}

#[test]
fn a_large_transaction_is_carried_out_as_a_small_one_is() {
    let cluster = own_primaries(1);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(1);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let keys = names();
    for (version, watches, value) in [(2, false, "1"), (3, false, "2"), (2, true, "3"), (3, true, "4")] {
        client.hello(version).unwrap();
        let watch = if watches { encode(&["WATCH", &keys[0]]) } else { encode(&["PING"]) };
        let mut sent = [watch, encode(&["MULTI"]), encode(&["HSET", "{t}hash", "field", value])].concat();
        for key in &keys {
            sent.extend(
                [encode(&["SET", key, value]), encode(&["ECHO", key]), encode(&["GET", key])].concat(),
            );
        }
        let last = keys.last().unwrap();
        sent.extend([encode(&["HGETALL", "{t}hash"]), encode(&["EXEC"]), encode(&["GET", last])].concat());
        client.send_raw(&sent).unwrap();
        for _ in 0..4 + 3 * KEYS {
            assert!(!client.receive().unwrap().is_error());
        }
        let reply = client.receive().unwrap();
        let elements = reply.items();
        assert_eq!(elements.len(), 2 + 3 * KEYS);
        for (key, replies) in keys.iter().zip(elements[1..].chunks(3)) {
            assert!(replies[0].is_ok());
            assert_eq!(replies[1..], [Reply::bulk(key), Reply::bulk(value)]);
        }
        let pair = (Reply::bulk("field"), Reply::bulk(value));
        let hash = if version == 2 { Reply::Array(vec![pair.0, pair.1]) } else { Reply::Map(vec![pair]) };
        assert_eq!(elements[1 + 3 * KEYS], hash);
        assert_eq!(client.receive().unwrap(), Reply::bulk(value), "what comes behind sees it");
        warm(&mut client, &keys, &Reply::bulk(value));
        warm(&mut other, &keys, &Reply::bulk(value));
    }
    // Nothing but what the daemon answers itself.
    let mut sent = encode(&["MULTI"]);
    (0..KEYS).for_each(|_| sent.extend(encode(&["ECHO", "own"])));
    sent.extend(encode(&["EXEC"]));
    client.send_raw(&sent).unwrap();
    (0..=KEYS).for_each(|_| assert!(!client.receive().unwrap().is_error()));
    assert_eq!(client.receive().unwrap(), Reply::Array(vec![Reply::bulk("own"); KEYS]));
    // A watched key that has changed.
    client.command(&["WATCH", &keys[0]]).unwrap();
    other.command(&["SET", &keys[0], "changed"]).unwrap();
    let mut sent = encode(&["MULTI"]);
    keys.iter().for_each(|key| sent.extend(encode(&["SET", key, "never"])));
    sent.extend(encode(&["EXEC"]));
    client.send_raw(&sent).unwrap();
    (0..=KEYS).for_each(|_| assert!(!client.receive().unwrap().is_error()));
    assert!(client.receive().unwrap().is_nil());
    assert_eq!(client.command(&["GET", &keys[1]]).unwrap(), Reply::bulk("4"));
}

#[test]
fn a_wait_on_many_keys_is_seen_by_whoever_reads_behind_it() {
    let cluster = own_primaries(1);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(1);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let (keys, last) = (names(), format!("{{t}}{}", KEYS - 1));
    let range = ["LRANGE", &last, "0", "-1"];
    let waited: Vec<String> = keys.iter().cloned().chain(["0".to_owned()]).collect();
    for round in 0..10 {
        other.command(&["DEL", &last]).unwrap();
        if round % 2 == 0 {
            other.command(&["RPUSH", &last, "one", "two"]).unwrap();
        }
        for _ in 0..3 {
            client.command(&range).unwrap();
            other.command(&range).unwrap();
        }
        client.send_raw(&[request(&["BLPOP"], &waited), encode(&range)].concat()).unwrap();
        if round % 2 == 1 {
            other.command(&["RPUSH", &last, "one", "two"]).unwrap();
        }
        assert_eq!(client.receive().unwrap().items()[1], Reply::bulk("one"));
        let left = Reply::Array(vec![Reply::bulk("two")]);
        assert_eq!(client.receive().unwrap(), left, "what comes behind sees it");
        eventually("others see it", LIMIT, || other.command(&range).unwrap() == left);
    }
}

#[test]
fn nobody_asks_for_the_sizes_of_many_keys() {
    let limit = ["--client-output-buffer-limit", "normal 8mb 8mb 60"].map(str::to_owned);
    let upstream = Standalone::launch(&limit).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    // More than are remembered.
    let keys: Vec<String> = (0..5_000).map(|number| format!("{{t}}{number}")).collect();
    client.send_raw(&request(&["SUNION"], &keys)).unwrap();
    assert_eq!(client.receive().unwrap(), Reply::Array(Vec::new()));
}
