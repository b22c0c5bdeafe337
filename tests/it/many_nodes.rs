//! A map with thousands of nodes that nobody can reach: those that are there are served, and the log stays
//! short.

use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::scripted::{ScriptedNode, slots};
use crate::support::servers::eventually;

/// As many as are taken, less the one that is there.
const DEAD: u16 = 4_000;

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn thousands_of_dead_nodes_hold_nobody_up_and_have_no_line_each() {
    let node = ScriptedNode::start("alive", |request, stream| {
        let ["CLUSTER", "SLOTS"] = request else { return Ok(false) };
        let port = stream.local_addr()?.port();
        // Nobody listens at port 1 there.
        let hosts: Vec<String> = (0..DEAD).map(|at| format!("127.9.{}.{}", at >> 8, at & 255)).collect();
        let ids: Vec<String> = (0..DEAD).map(|at| format!("dead{at}")).collect();
        let mut map = vec![(0, 8_191, "127.0.0.1", port, "alive")];
        map.extend(hosts.iter().zip(&ids).zip(8_192..).map(|((host, id), slot)| {
            let (host, id): (&str, &str) = (host, id);
            (slot, slot, host, 1, id)
        }));
        stream.write_all(slots(&map).as_bytes())?;
        Ok(true)
    });
    let url = format!("redis-cluster://{}", node.address());
    let daemon = Daemon::start(&["--upstream", &url, "--workers", "2"]);
    let mut client = daemon.client();
    eventually("the one that is there is served", SOON, || {
        client.command(&["GET", "b"]).unwrap().text() == "value"
    });
    let mut slowest = Duration::ZERO;
    for _ in 0..1_000 {
        let began = Instant::now();
        assert_eq!(client.command(&["GET", "b"]).unwrap().text(), "value");
        slowest = slowest.max(began.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("slowest of 1,000 hits: {slowest:?}");
    // One that is not there: the client is told so, and does not wait for the others' turns.
    let told = client.command(&["SET", "a", "value"]).unwrap();
    assert!(told.is_error(), "{told:?}");
    let lines = daemon.times_logged("upstream connection failed");
    assert!(lines < usize::from(DEAD) / 10, "{lines} lines");
    eventually("that it is about many is logged", SOON, || {
        daemon.times_logged("many nodes join, leave or fail") > 0
    });
}
