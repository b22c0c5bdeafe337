//! Nodes that come and go: by the thousands with each map, and one that left and comes back as somebody else.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::scripted::{ScriptedNode, bulk, slots};
use crate::support::servers::eventually;

/// New ones in each map.
const NEW: usize = 4_000;

/// More maps than a number of 16 bits has room for nodes.
const MAPS: usize = 20;

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(120);

#[test]
fn a_map_that_names_thousands_of_new_hosts_each_time_stalls_nobody_and_fills_nothing() {
    let maps = Arc::<AtomicUsize>::default();
    let node = ScriptedNode::start("alive", {
        let maps = maps.clone();
        move |request, stream| {
            let ["CLUSTER", "SLOTS"] = request else { return Ok(false) };
            let port = stream.local_addr()?.port();
            let first = maps.fetch_add(1, Ordering::AcqRel) * NEW;
            // Nobody listens at port 1 there.
            let host = |at: usize| format!("127.{}.{}.{}", 9 + (at >> 16), (at >> 8) & 255, at & 255);
            let hosts: Vec<String> = (first..first + NEW).map(host).collect();
            let ids: Vec<String> = (first..first + NEW).map(|at| format!("new{at}")).collect();
            let mut map = vec![(0, 8_191, "127.0.0.1", port, "alive")];
            map.extend(
                hosts.iter().zip(&ids).zip(8_192..).map(|((host, id), slot)| (slot, slot, &**host, 1, &**id)),
            );
            stream.write_all(slots(&map).as_bytes())?;
            Ok(true)
        }
    });
    let url = format!("redis-cluster://{}", node.address());
    let often = ["--topology-refresh-interval", "500ms"];
    let daemon = Daemon::start(&[&["--upstream", &url, "--workers", "2"][..], &often].concat());
    let mut client = daemon.client();
    eventually("the one that is there is served", SOON, || {
        client.command(&["GET", "b"]).unwrap().text() == "value"
    });
    let (mut slowest, mut known) = (Duration::ZERO, 0);
    let began = Instant::now();
    while maps.load(Ordering::Acquire) < MAPS {
        assert!(began.elapsed() < SOON, "{} maps", maps.load(Ordering::Acquire));
        let sent = Instant::now();
        assert_eq!(client.command(&["SET", "b", "value"]).unwrap().text(), "OK");
        slowest = slowest.max(sent.elapsed());
        known = known.max(daemon.counter_by(&mut client, "topology_nodes_known"));
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("{MAPS} maps in {:?}, slowest SET {slowest:?}, {known} nodes known at most", began.elapsed());
    // Those of the last maps, and some that a worker has not given up yet: not those of all of them.
    assert!(known < (MAPS * NEW / 2) as u64, "{known}");
    // A node that comes now is connected to: those that left before their turn are not in its way.
    let told = client.command(&["SET", "a", "value"]).unwrap();
    assert!(told.is_error(), "{told:?}");
}

#[test]
fn attempts_that_fail_have_the_topology_asked_for_once_in_a_while() {
    let asked = Arc::<AtomicUsize>::default();
    let node = ScriptedNode::start("alive", {
        let asked = asked.clone();
        move |request, stream| {
            let ["CLUSTER", "SLOTS"] = request else { return Ok(false) };
            asked.fetch_add(1, Ordering::AcqRel);
            let port = stream.local_addr()?.port();
            let hosts: Vec<String> = (0..64).map(|at| format!("127.8.0.{at}")).collect();
            let mut map = vec![(0, 8_191, "127.0.0.1", port, "alive")];
            map.extend(hosts.iter().zip(8_192..).map(|(host, slot)| (slot, slot, &**host, 1, &**host)));
            stream.write_all(slots(&map).as_bytes())?;
            Ok(true)
        }
    });
    let url = format!("redis-cluster://{}", node.address());
    // So each of the 64 is tried again many times a second, and nothing else asks.
    let hasty = ["--upstream-backoff-max", "60ms", "--topology-refresh-gap-min", "10ms"];
    let rare = ["--topology-refresh-interval", "10m", "--negative-ttl", "10m"];
    let daemon = Daemon::start(&[&["--upstream", &url, "--workers", "1"][..], &hasty, &rare].concat());
    eventually("the one that is there is served", SOON, || {
        daemon.client().command(&["GET", "b"]).unwrap().text() == "value"
    });
    let (began, before) = (Instant::now(), asked.load(Ordering::Acquire));
    eventually("it is asked for again", SOON, || asked.load(Ordering::Acquire) > before);
    std::thread::sleep(Duration::from_secs(3));
    let (times, seconds) = (asked.load(Ordering::Acquire) - before, began.elapsed().as_secs_f64());
    println!("asked {times} times in {seconds:.1} s");
    assert!((times as f64) <= seconds + 2.0, "{times} times in {seconds:.1} s");
}

#[test]
fn a_node_that_left_and_comes_back_is_not_taken_for_the_one_that_left() {
    let (is_part, is_new) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicBool>::default());
    // Either may be asked for the map, and both have the same one.
    let ports = Arc::<OnceLock<[u16; 2]>>::default();
    let map = {
        let (is_part, ports) = (is_part.clone(), ports.clone());
        move || {
            let [host, guest] = *ports.get().unwrap();
            let both = [(0, 8_191, "127.0.0.1", host, "host"), (8_192, 16_383, "127.0.0.1", guest, "guest")];
            let alone = [(0, 16_383, "127.0.0.1", host, "host")];
            if is_part.load(Ordering::Acquire) { slots(&both) } else { slots(&alone) }
        }
    };
    let guest = ScriptedNode::start("guest", {
        let (is_new, map) = (is_new.clone(), map.clone());
        move |request, stream| {
            let answer = match request {
                ["GET", _] if is_new.load(Ordering::Acquire) => bulk("of the new"),
                ["GET", _] => bulk("of the old"),
                ["CLUSTER", "SLOTS"] => map(),
                _ => return Ok(false),
            };
            stream.write_all(answer.as_bytes())?;
            Ok(true)
        }
    });
    let host = ScriptedNode::start("host", move |request, stream| {
        let ["CLUSTER", "SLOTS"] = request else { return Ok(false) };
        stream.write_all(map().as_bytes())?;
        Ok(true)
    });
    ports.set([host.address().port(), guest.address().port()]).unwrap();
    let url = format!("redis-cluster://{}", host.address());
    let daemon = Daemon::start(&["--upstream", &url, "--topology-refresh-interval", "100ms"]);
    daemon.until_tracked(2);
    let mut client = daemon.client();
    // The slot of `a` is the guest's.
    let mut read = || client.command(&["GET", "a"]).unwrap().text();
    for _ in 0..3 {
        eventually("the guest is asked", SOON, || read() == "of the old");
        eventually("it is kept", SOON, || {
            let hits = daemon.counter("l1_hits");
            assert_eq!(read(), "of the old");
            daemon.counter("l1_hits") > hits
        });
        is_part.store(false, Ordering::Release);
        eventually("the guest is forgotten", SOON, || daemon.counter("topology_nodes_known") == 1);
        assert_eq!(read(), "value", "its slots are the host's");
        is_new.store(true, Ordering::Release);
        is_part.store(true, Ordering::Release);
        daemon.until_tracked(2);
        eventually("the guest is asked", SOON, || {
            let said = read();
            assert_ne!(said, "of the old", "an old entry passes for the new node's");
            said == "of the new"
        });
        is_new.store(false, Ordering::Release);
        is_part.store(false, Ordering::Release);
        eventually("the guest is forgotten", SOON, || daemon.counter("topology_nodes_known") == 1);
        is_part.store(true, Ordering::Release);
        daemon.until_tracked(2);
    }
}
