//! What a node hangs up on is refused before it is sent, or sent apart: nobody but who went too far notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nearside::dev::{Cluster, ClusterShape, Reply, Standalone};

use crate::support::daemon::Daemon;

const MIB: usize = 1024 * 1024;

/// Clients that write small values again and again, each of keys of its own, while somebody else goes too far.
struct Others {
    done: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(usize, Vec<String>)>>,
}

impl Others {
    fn of(daemon: &Daemon) -> Others {
        let done = Arc::new(AtomicBool::new(false));
        let clients = (0..6).map(|number| {
            let (mut client, done) = (daemon.client(), done.clone());
            thread::spawn(move || {
                let (mut errors, mut turn) = (Vec::new(), 0);
                while !done.load(Ordering::Relaxed) {
                    turn += 1;
                    let reply =
                        client.command(&["INCR", &format!("counter:{number}:{}", turn % 50)]).unwrap();
                    if reply.is_error() {
                        errors.push(reply.text());
                    }
                }
                (turn, errors)
            })
        });
        Others { clients: clients.collect(), done }
    }

    /// None of them has met an error, and all went on.
    fn saw_nothing(self) {
        self.done.store(true, Ordering::Relaxed);
        for client in self.clients {
            let (turns, errors) = client.join().unwrap();
            assert!(turns > 1 && errors.is_empty(), "{turns} turns, {errors:?}");
        }
    }
}

fn server(settings: &[&str]) -> (Standalone, Daemon) {
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let upstream = Standalone::launch(&settings).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", upstream.server().address())]);
    daemon.until_tracked(1);
    (upstream, daemon)
}

fn lost(daemon: &Daemon) -> u64 {
    daemon.counter("upstream_losses")
}

#[test]
fn an_argument_beyond_proto_max_bulk_len_is_refused_and_nobody_else_notices() {
    let (_upstream, daemon) = server(&["--proto-max-bulk-len", "1mb"]);
    let (others, mut client) = (Others::of(&daemon), daemon.client());
    let large = vec![b'v'; 2 * MIB];
    let requests: [&[&[u8]]; 5] = [
        &[b"SET", b"key", &large],
        &[b"GET", &large],
        &[b"EVAL", b"return 1", b"0", &large],
        &[b"MSET", b"a", b"1", b"b", &large],
        &[b"PUBLISH", b"channel", &large],
    ];
    for request in requests {
        let reply = client.command(request).unwrap().text();
        assert!(reply.starts_with("ERR Protocol error: invalid bulk length: nearside: node "), "{reply}");
        assert!(reply.contains("proto-max-bulk-len") && reply.ends_with("was not executed"), "{reply}");
    }
    assert!(client.command(&[&b"SET"[..], b"key", &large[..MIB]]).unwrap().is_ok());
    others.saw_nothing();
    assert_eq!(lost(&daemon), 0);
}

#[test]
fn an_argument_or_a_transaction_beyond_client_query_buffer_limit_is_refused() {
    let (_upstream, daemon) = server(&["--client-query-buffer-limit", "1mb"]);
    let (others, mut client) = (Others::of(&daemon), daemon.client());
    let (large, half) = (vec![b'v'; 2 * MIB], vec![b'v'; 600 * 1024]);
    let reply = client.command(&[&b"SET"[..], b"key", &large]).unwrap().text();
    assert!(reply.starts_with("ERR nearside: the request is too large: node "), "{reply}");
    assert!(reply.contains("client-query-buffer-limit") && reply.contains("an argument"), "{reply}");
    // Its sum passes the limit.
    client.command(&["MULTI"]).unwrap();
    for key in ["{t}1", "{t}2", "{t}3"] {
        assert_eq!(client.command(&[&b"SET"[..], key.as_bytes(), &half]).unwrap().text(), "QUEUED");
    }
    let reply = client.command(&["EXEC"]).unwrap().text();
    assert!(reply.contains("client-query-buffer-limit") && reply.contains("the transaction"), "{reply}");
    assert!(client.command(&["GET", "{t}1"]).unwrap().is_nil(), "nothing of it was carried out");
    // The same without a transaction is taken, one after the other.
    let request: [&[u8]; 7] = [b"MSET", b"{t}1", &half, b"{t}2", &half, b"{t}3", &half];
    assert!(client.command(&request).unwrap().is_ok());
    others.saw_nothing();
    assert_eq!(lost(&daemon), 0);
}

#[test]
fn the_connection_is_exempt_from_maxmemory_clients_where_that_is_allowed() {
    let (_upstream, daemon) = server(&["--maxmemory-clients", "8mb"]);
    let (others, mut client) = (Others::of(&daemon), daemon.client());
    let value = vec![b'v'; MIB];
    for _ in 0..40 {
        client.send(&[&b"RPUSH"[..], b"list", &value]).unwrap();
    }
    (0..40).for_each(|_| assert!(!client.receive().unwrap().is_error()));
    assert_eq!(client.command(&["LRANGE", "list", "0", "-1"]).unwrap().items().len(), 40);
    others.saw_nothing();
    assert_eq!(lost(&daemon), 0);
}

#[test]
fn a_limit_that_a_cluster_came_to_have_is_known_from_the_next_connection_on() {
    let cluster = Cluster::launch(&ClusterShape { primaries: 1, ..ClusterShape::default() }).unwrap();
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(1);
    let node = &cluster.nodes()[0];
    cluster.command(node, &["CONFIG", "SET", "proto-max-bulk-len", "1mb"]).unwrap();
    let (mut client, large) = (daemon.client(), vec![b'v'; 2 * MIB]);
    let first = client.command(&[&b"SET"[..], b"key", &large]).unwrap();
    assert!(first.is_error(), "the node hangs up: {first:?}");
    let second = client.command(&[&b"SET"[..], b"key", &large]).unwrap().text();
    assert!(second.contains("proto-max-bulk-len"), "{second}");
    assert_eq!(lost(&daemon), 1);
    assert_eq!(client.command(&["INCR", "counter"]).unwrap(), Reply::Integer(1));
}
