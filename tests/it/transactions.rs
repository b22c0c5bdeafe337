//! Transactions in front of a cluster: what is watched, what is refused, and what becomes of connections.

use std::thread;

use nearside::sandbox::{Reply, SandboxClient};

use crate::support::daemon::Daemon;
use crate::support::servers::{client_of_owner, own_primaries, owner, shared_cluster};

fn ok(client: &mut SandboxClient, request: &[&str]) {
    let reply = client.command(request).unwrap();
    assert_eq!(reply.text(), "OK", "{request:?}");
}

fn queued(client: &mut SandboxClient, request: &[&str]) {
    let reply = client.command(request).unwrap();
    assert_eq!(reply.text(), "QUEUED", "{request:?}");
}

#[test]
fn a_watched_key_that_changes_stops_the_transaction() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    for version in [2, 3] {
        let key = format!("watch:changed:{version}");
        let mut client = daemon.client();
        client.hello(version).unwrap();
        ok(&mut client, &["SET", &key, "1"]);
        ok(&mut client, &["WATCH", &key]);
        client_of_owner(cluster, key.as_bytes()).command(&["SET", &key, "2"]).unwrap();
        ok(&mut client, &["MULTI"]);
        queued(&mut client, &["SET", &key, "3"]);
        assert!(client.command(&["EXEC"]).unwrap().is_nil());
        assert_eq!(client.command(&["GET", &key]).unwrap(), Reply::bulk("2"));
        // Nothing is watched any more.
        ok(&mut client, &["MULTI"]);
        queued(&mut client, &["SET", &key, "4"]);
        assert_eq!(client.command(&["EXEC"]).unwrap().items().len(), 1);
    }
    daemon.assert_quiet();
}

#[test]
fn what_is_forgotten_does_not_stop_it() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    let mut client = daemon.client();
    let key = "watch:forgotten";
    for forget in [&["UNWATCH"][..], &["RESET"], &["DISCARD"]] {
        ok(&mut client, &["WATCH", key]);
        if forget == ["DISCARD"] {
            ok(&mut client, &["MULTI"]);
        }
        client.command(forget).unwrap();
        client_of_owner(cluster, key.as_bytes()).command(&["INCR", key]).unwrap();
        ok(&mut client, &["MULTI"]);
        queued(&mut client, &["GET", key]);
        assert!(!client.command(&["EXEC"]).unwrap().is_nil(), "after {forget:?}");
    }
}

#[test]
fn what_is_read_while_keys_are_watched_is_no_older_than_the_watch() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    let key = "watch:counter";
    ok(&mut daemon.client(), &["SET", key, "0"]);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut client = daemon.client();
            thread::spawn(move || {
                let mut done = 0;
                while done < 50 {
                    ok(&mut client, &["WATCH", key]);
                    let value: u64 = client.command(&["GET", key]).unwrap().text().parse().unwrap();
                    ok(&mut client, &["MULTI"]);
                    queued(&mut client, &["SET", key, &(value + 1).to_string()]);
                    done += u32::from(!client.command(&["EXEC"]).unwrap().is_nil());
                    // Keeps the value in L1 for the others.
                    client.command(&["GET", key]).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(daemon.client().command(&["GET", key]).unwrap(), Reply::bulk("200"), "no increment is lost");
}

#[test]
fn keys_in_two_slots_are_refused_when_they_are_queued() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
    ok(&mut client, &["MULTI"]);
    queued(&mut client, &["SET", "{a}1", "x"]);
    let others = "nearside: the commands of a transaction may have any keys in a pinned namespace, pin = true, or with \
                  transactions = \"per_slot\" each slot's part by itself";
    assert_eq!(client.command(&["SET", "{b}1", "x"]).unwrap().text(), format!("{CROSS_SLOT} ({others})"));
    let exec = client.command(&["EXEC"]).unwrap().text();
    assert_eq!(exec, "EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(client.command(&["EXISTS", "{a}1"]).unwrap().integer(), Some(0));
    ok(&mut client, &["WATCH", "{a}1"]);
    assert_eq!(client.command(&["WATCH", "{b}1"]).unwrap().text(), CROSS_SLOT);
    ok(&mut client, &["MULTI"]);
    let refused = client.command(&["SET", "{b}1", "x"]).unwrap().text();
    assert!(refused.starts_with(CROSS_SLOT), "{refused}");
    assert!(refused.contains("what is watched"), "{refused}");
    ok(&mut client, &["DISCARD"]);
    assert_eq!(client.command(&["WATCH", "{a}1", "{b}1"]).unwrap().text(), CROSS_SLOT);
}

#[test]
fn what_no_single_node_can_carry_out_is_refused_when_it_is_queued() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    ok(&mut client, &["MULTI"]);
    let refused = client.command(&["DBSIZE"]).unwrap().text();
    assert!(refused.starts_with("ERR DBSIZE is not available inside MULTI through nearside"), "{refused}");
    assert!(client.command(&["EXEC"]).unwrap().text().starts_with("EXECABORT"));
}

#[test]
fn hundreds_of_transactions_open_no_new_connections() {
    let cluster = own_primaries(1);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    let mut node = owner(&cluster, b"{c}").server().connect().unwrap();
    let mut received = || {
        let info = node.command(&["INFO", "stats"]).unwrap().text();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    ok(&mut client, &["WATCH", "{c}k"]);
    ok(&mut client, &["UNWATCH"]);
    let before = received();
    for _ in 0..300 {
        ok(&mut client, &["WATCH", "{c}k"]);
        ok(&mut client, &["MULTI"]);
        queued(&mut client, &["INCR", "{c}k"]);
        assert_eq!(client.command(&["EXEC"]).unwrap().items().len(), 1);
        ok(&mut client, &["MULTI"]);
        queued(&mut client, &["INCR", "{c}n"]);
        assert_eq!(client.command(&["EXEC"]).unwrap().items().len(), 1);
    }
    assert_eq!(received(), before);
    assert_eq!(client.command(&["GET", "{c}k"]).unwrap(), Reply::bulk("300"));
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let daemon = Daemon::before(shared_cluster());
    for _ in 0..20 {
        let mut gone = daemon.client();
        ok(&mut gone, &["WATCH", "leaving:k"]);
        ok(&mut gone, &["MULTI"]);
        queued(&mut gone, &["SET", "leaving:k", "x"]);
        drop(gone);
        let mut next = daemon.client();
        assert!(next.command(&["GET", "leaving:k"]).unwrap().is_nil());
        ok(&mut next, &["WATCH", "leaving:k"]);
        ok(&mut next, &["MULTI"]);
        queued(&mut next, &["GET", "leaving:k"]);
        assert_eq!(next.command(&["EXEC"]).unwrap().items().len(), 1);
    }
}

#[test]
fn an_mset_of_an_odd_number_is_queued_and_its_element_is_the_error() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    ok(&mut client, &["MULTI"]);
    queued(&mut client, &["SET", "{odd}a", "1"]);
    queued(&mut client, &["MSET", "{odd}a", "2", "{odd}b"]);
    queued(&mut client, &["MSETNX", "{odd}a", "3", "{odd}b"]);
    let reply = client.command(&["EXEC"]).unwrap();
    let texts: Vec<String> = reply.items().iter().map(Reply::text).collect();
    assert_eq!(texts[0], "OK");
    assert_eq!(texts[1], "ERR wrong number of arguments for 'mset' command");
    assert_eq!(texts[2], "ERR wrong number of arguments for 'msetnx' command");
    assert_eq!(client.command(&["GET", "{odd}a"]).unwrap().text(), "1");
    daemon.assert_quiet();
}
