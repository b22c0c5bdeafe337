//! A daemon that is stopped for a while and goes on: what came meanwhile is read before anything is served
//! from memory.

use std::fs;
use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{SandboxClient, Standalone};
use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

/// Far longer than any of it takes.
const SOON: Duration = Duration::from_secs(20);

/// For how long the daemon is stopped: always for less than its lease, and also for less than a heartbeat
/// takes to be due.
const PAUSES_MS: [u64; 6] = [20, 40, 90, 200, 450, 900];

fn stop(daemon: &Daemon) {
    daemon.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", daemon.pid().as_raw_nonzero());
    eventually("the daemon has stopped", SOON, || {
        fs::read_to_string(&stat).unwrap().rsplit(')').next().unwrap().trim_start().starts_with('T')
    });
}

#[test]
fn what_came_while_the_process_was_stopped_is_read_before_anybody_is_answered() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--workers", "2", "--lease", "5s"]);
    daemon.until_tracked(1);
    let mut node = upstream.server().connect().unwrap();
    let mut clients: Vec<_> = (0..16).map(|_| daemon.client()).collect();
    let request = encode(&["GET", "key"]);
    let (half, rest) = request.split_at(9);
    let set = |node: &mut SandboxClient, value: &str| {
        assert!(node.command(&["SET", "key", value]).unwrap().is_ok());
    };
    set(&mut node, "0");
    let mut value = String::from("0");
    for round in 1..=60 {
        for client in &mut clients {
            client.set_timeout(SOON).unwrap();
            eventually("what was written is read", SOON, || {
                client.command(&["GET", "key"]).unwrap().text() == value
            });
        }
        let hits = daemon.counter("l1_hits");
        assert_eq!(clients[0].command(&["GET", "key"]).unwrap().text(), value);
        eventually("the key is served from memory", SOON, || {
            clients[1].command(&["GET", "key"]).unwrap().text() == value && daemon.counter("l1_hits") > hits
        });
        stop(&daemon);
        // The sockets of half of the clients have something to read before that of the node has.
        for client in clients.iter_mut().step_by(2) {
            client.send_raw(half).unwrap();
        }
        value = round.to_string();
        set(&mut node, &value);
        thread::sleep(Duration::from_millis(PAUSES_MS[round % PAUSES_MS.len()]));
        for (number, client) in clients.iter_mut().enumerate() {
            client.send_raw(if number % 2 == 0 { rest } else { &request }).unwrap();
        }
        daemon.signal(Signal::CONT);
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.receive().unwrap().text(), value, "client {number} in round {round}, I4");
        }
    }
    println!("l1_unseen {} in 60 stops", daemon.counter("l1_unseen"));
    assert!(daemon.counter("l1_unseen") > 0);
    daemon.stop();
}
