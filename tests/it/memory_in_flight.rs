//! Very many small commands wait for a node that does not answer: what each of them takes counts towards
//! `memory_max`, no more is taken of those who wait for many, what does not fit is refused, and nothing of it
//! is kept when they have their replies.

use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{SandboxClient, Standalone};

use crate::memory_ceiling::Group;
use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

const MIB: usize = 1 << 20;

const MEMORY_MAX: usize = 64 * MIB;

const CLIENTS: usize = 120;
const COMMANDS: usize = 1_500;

const SOON: Duration = Duration::from_secs(60);

fn under_ceiling(upstream: &Standalone) -> Daemon {
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--memory-max", &MEMORY_MAX.to_string()]);
    daemon.until_tracked(1);
    daemon
}

#[test]
fn small_commands_that_wait_for_a_node_count_for_what_they_take_and_leave_nothing() {
    let upstream = Standalone::launch(&[]).unwrap();
    // In a control group whose limit kills, where one can be made.
    let group = Group::new(MEMORY_MAX);
    let daemon = group.as_ref().map_or_else(|| under_ceiling(&upstream), |group| group.daemon(&upstream));
    let mut other = daemon.client();
    let before = daemon.counter_by(&mut other, "memory_used");
    let mut direct = upstream.server().connect().unwrap();
    assert_eq!(direct.command(&["CLIENT", "PAUSE", "3600000", "WRITE"]).unwrap().text(), "OK");
    let mut clients: Vec<SandboxClient> = (0..CLIENTS).map(|_| daemon.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.set_timeout(SOON).unwrap();
        let set = |key| encode(&["SET", &format!("key{number}-{key}"), "value"]);
        client.send_raw(&(0..COMMANDS).flat_map(set).collect::<Vec<u8>>()).unwrap();
    }
    // What is pressed for may be refused, or dropped, before anybody looks.
    let signs = ["memory_pressed", "memory_requests_refused", "memory_clients_dropped"];
    let mut most = 0;
    eventually("memory is scarce", SOON, || {
        most = most.max(daemon.counter_by(&mut other, "memory_in_flight"));
        signs.iter().any(|sign| daemon.counter_by(&mut other, sign) > 0)
    });
    assert!(most.max(daemon.counter_by(&mut other, "memory_in_flight")) > 4 << 20);
    println!("{} resident at most", daemon.peak_memory());
    assert_eq!(direct.command(&["CLIENT", "UNPAUSE"]).unwrap().text(), "OK");
    // Those that were not dropped get every reply, and stay.
    let mut refused = 0;
    for client in &mut clients {
        for _ in 0..COMMANDS {
            let Ok(reply) = client.receive() else { break };
            refused += usize::from(reply.is_error());
        }
    }
    println!("{refused} refused");
    eventually("nothing of it is kept", SOON, || {
        daemon.counter_by(&mut other, "memory_in_flight") == 0
            && daemon.counter_by(&mut other, "memory_used") < before + (6 << 20)
    });
    assert_eq!(other.command(&["SET", "key", "value"]).unwrap().text(), "OK");
}
