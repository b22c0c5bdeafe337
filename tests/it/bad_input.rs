//! What no client should send gets what Redis gives it: its error, and the end of the connection.

use std::time::Duration;

use nearside::sandbox::SandboxClient;

use crate::support::daemon::Daemon;
use crate::support::servers::{client_of_owner, eventually, shared_cluster};

/// What came back: the error line, and whether the connection was closed after it.
#[derive(Debug, PartialEq)]
struct Outcome {
    reply: String,
    is_closed: bool,
}

#[test]
fn malformed_requests_get_the_error_of_redis_and_the_end() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    // One byte more than Redis takes: with more, what it leaves unread may turn its close into a reset.
    let endless = vec![b'1'; 64 * 1024 + 1];
    let cases: [(&str, Vec<u8>); 11] = [
        ("no bulk", b"*1\r\n+PING\r\n".to_vec()),
        ("count is no number", b"*abc\r\n".to_vec()),
        ("count beyond all bounds", b"*2147483648\r\n".to_vec()),
        ("count beyond 64 bits", b"*99999999999999999999\r\n".to_vec()),
        ("length beyond all bounds", b"*1\r\n$999999999999\r\n".to_vec()),
        ("negative length", b"*1\r\n$-5\r\n".to_vec()),
        ("length is no number", b"*1\r\n$4x\r\n".to_vec()),
        ("unbalanced quotes", b"GET \"open\r\n".to_vec()),
        ("endless inline", endless.clone()),
        ("endless count", [b"*", endless.as_slice()].concat()),
        ("endless length", [b"*1\r\n$", endless.as_slice()].concat()),
    ];
    for (name, bytes) in cases {
        let said = send(client_of_owner(cluster, b"bad"), &bytes);
        assert!(said.reply.contains("Protocol error") && said.is_closed, "{name}: {said:?}");
        assert_eq!(send(daemon.client(), &bytes), said, "{name}");
    }
    // Each of them was one client's own trouble.
    assert_eq!(daemon.client().command(&["PING"]).unwrap().text(), "PONG");
    daemon.assert_quiet();
    daemon.stop();
}

#[test]
fn requests_before_a_malformed_one_are_answered() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    client.send_raw(b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$3\r\nbad\r\n$1\r\n1\r\n*2\r\n:7\r\n").unwrap();
    assert_eq!(client.receive().unwrap().text(), "PONG");
    assert!(client.receive().unwrap().is_ok());
    assert_eq!(client.receive().unwrap().text(), "ERR Protocol error: expected '$', got ':'");
    assert!(client.is_closed().unwrap());
}

#[test]
fn empty_requests_are_passed_over() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    client.send_raw(b"\r\n*0\r\n*-1\r\n\r\nPING\r\n").unwrap();
    assert_eq!(client.receive().unwrap().text(), "PONG");
}

#[test]
fn what_stands_behind_an_argument_is_nobodys_business_and_never_kept_where_it_cannot_be_found() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    let mut direct = client_of_owner(cluster, b"odd:hash");
    let odd: [&[u8]; 4] = [
        b"*3\r\n$4\r\nHGET\r\n$8\r\nodd:hashXX$1\r\nf\r\n",
        b"*3\r\n$4\r\nHGET\r\n$8\r\nodd:hash\r\n$1\r\nfYY",
        b"*3\r\n$4\r\nHGETZZ$8\r\nodd:hash\r\n$1\r\nf\r\n",
        b"*3\r\n$4\r\nHGET\r\n$8\rXodd:hash\r\n$1\rYf\r\n",
    ];
    let mut client = daemon.client();
    for value in ["before", "after"] {
        direct.command(&["HSET", "odd:hash", "f", value]).unwrap();
        for request in odd {
            direct.send_raw(request).unwrap();
            let wanted = direct.receive().unwrap().text();
            assert_eq!(wanted, value);
            eventually("what was written is heard of", Duration::from_secs(10), || {
                client.send_raw(request).unwrap();
                client.receive().unwrap().text() == wanted
            });
        }
    }
    client.send_raw(b"*3\r\n$4\r\nHGET\r\n$9\r\nodd:otherXX$1\r\nf\r\n").unwrap();
    assert!(client.receive().unwrap().is_nil());
    let explained = client.command(&["NEARSIDE", "EXPLAIN", "odd:other"]).unwrap();
    let why = explained.items().chunks(2).find(|pair| pair[0].text() == "last_not_cached").unwrap()[1].text();
    assert_eq!(why, "its request had something else than \\r\\n behind an argument");
    daemon.assert_quiet();
    daemon.stop();
}

fn send(mut client: SandboxClient, bytes: &[u8]) -> Outcome {
    client.send_raw(bytes).unwrap();
    let reply = client.receive().unwrap().text();
    Outcome { reply, is_closed: client.is_closed().unwrap() }
}
