//! However the bytes arrive and leave: one at a time, all at once, or more than a socket takes.

use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, Reply, SandboxClient, client};

use super::script::every_byte;
use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{sandbox, shared_cluster};

const PIPELINED: usize = 20_000;

/// More than the daemon writes before it looks at the next request, by far.
const LARGE_BYTES: usize = 3_000_000;

/// How often a request follows a large reply: when it was overlooked, it was so now and then.
const LARGE_READS: usize = 30;

#[test]
fn half_a_command_waits_for_its_other_half() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    let set = client::encode(&[&b"SET"[..], b"fragments:bytes", b"\x00\r\n$3\r\n"]);
    let get = client::encode(&["GET", "fragments:bytes"]);
    for byte in [&set[..], &get, &get, b"PING\r\n"].concat() {
        client.send_raw(&[byte]).unwrap();
        // Long enough for most bytes to be read alone.
        thread::sleep(Duration::from_micros(200));
    }
    assert!(client.receive().unwrap().is_ok());
    for _ in 0..2 {
        assert_eq!(client.receive().unwrap(), Reply::bulk(b"\x00\r\n$3\r\n"));
    }
    assert_eq!(client.receive().unwrap().text(), "PONG");
    daemon.assert_quiet();
}

#[test]
fn twenty_thousand_commands_in_one_write_are_answered_in_order() {
    let daemon = Daemon::before(shared_cluster());
    let mut reader = daemon.client();
    let mut requests = Vec::new();
    for number in 0..PIPELINED {
        let (key, value) = (format!("fragments:{}", number % 50), number.to_string());
        requests.extend(match number % 4 {
            0 => client::encode(&["SET", &key, &value]),
            1 => client::encode(&["ECHO", &value]),
            // What was written two requests ago, and once more.
            _ => client::encode(&["GET", &format!("fragments:{}", (number - number % 4) % 50)]),
        });
    }
    let expected = (0..PIPELINED).map(|number| match number % 4 {
        0 => Reply::Simple(b"OK".to_vec()),
        1 => Reply::bulk(number.to_string()),
        rest => Reply::bulk((number - rest).to_string()),
    });
    reader.send_raw(&requests).unwrap();
    for (number, expected) in expected.enumerate() {
        assert_eq!(reader.receive().unwrap(), expected, "reply {number}");
    }
    daemon.assert_quiet();
}

#[test]
fn a_request_after_a_large_reply_is_not_overlooked() {
    let unix = sandbox().make_directory().unwrap().join("nearside.sock");
    let unix_path = unix.to_str().unwrap();
    let daemon = Daemon::start(&["--upstream", &upstream_url(shared_cluster()), "--unix", unix_path]);
    for address in [daemon.address().clone(), Address::Unix(unix.clone())] {
        let mut client = SandboxClient::connect(&address).unwrap();
        let value = every_byte(LARGE_BYTES);
        client.command(&[&b"SET"[..], b"fragments:large", &value]).unwrap();
        for _ in 0..LARGE_READS {
            assert_eq!(client.command(&["GET", "fragments:large"]).unwrap(), Reply::bulk(&value));
            assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
        }
    }
    daemon.assert_quiet();
}

#[test]
fn a_client_that_writes_all_before_it_reads_anything_is_answered() {
    let unix = sandbox().make_directory().unwrap().join("nearside.sock");
    let unix_path = unix.to_str().unwrap();
    let upstream = upstream_url(shared_cluster());
    let daemon =
        Daemon::start(&["--upstream", &upstream, "--unix", unix_path, "--client-stall-timeout", "2s"]);
    let value = "v".repeat(1_000);
    let requests: [(&[&str], usize); 2] =
        [(&["GET", "fragments:unread"], 10_000), (&["INCR", "fragments:counted"], 40_000)];
    for address in [daemon.address().clone(), Address::Unix(unix.clone())] {
        let mut client = SandboxClient::connect(&address).unwrap();
        client.command(&["SET", "fragments:unread", &value]).unwrap();
        client.command(&["DEL", "fragments:counted"]).unwrap();
        for (request, times) in requests {
            // Far more than the sockets hold, in both directions.
            client.send_raw(&client::encode(request).repeat(times)).unwrap();
            for number in 1..=times as i64 {
                let reply = client.receive().unwrap();
                match request[0] {
                    "GET" => assert_eq!(reply, Reply::bulk(&value), "reply {number}"),
                    _ => assert_eq!(reply, Reply::Integer(number)),
                }
            }
        }
    }
    daemon.assert_quiet();
}
