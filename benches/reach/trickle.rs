//! A reply that goes on a byte at a time: how long its asker waits, and everybody else of the same node.

use std::time::Duration;

use nearside::sandbox::Standalone;
use nearside::sandbox::client::encode;
use tokio::time::Instant;

use crate::figures::{print, shown};
use crate::probe::{Probe, patient};
use crate::support::daemon::Daemon;
use crate::support::slow_link::SlowLink;

/// The slowest first: the last one is silence.
const GAPS: [(&str, Duration); 3] = [
    ("a byte each 0.1 s", Duration::from_millis(100)),
    ("a byte each 0.9 s", Duration::from_millis(900)),
    ("nothing more", Duration::from_secs(600)),
];

const MARK: &str = "FROM-HERE-ON";

const PAUSE: Duration = Duration::from_millis(5);
const CALM: Duration = Duration::from_secs(3);

pub(crate) fn measure() {
    for (gap_name, gap) in GAPS {
        let server = Standalone::launch(&[]).unwrap();
        let link = SlowLink::to(server.server().address());
        // So small that a value of 1 MB is not kept.
        let url = format!("redis://{}", link.address());
        let daemon = Daemon::start(&["--upstream", &url, "--l1-size", "7mb"]);
        daemon.until_tracked(1);
        let half = "x".repeat(500_000);
        let value = format!("{half}{MARK}{half}");
        server.server().command(&["SET", "large", &value]).unwrap();
        server.server().command(&["SET", "hot", "value"]).unwrap();
        for time in ["the first time", "again"] {
            measure_one(&daemon, &link, gap, &format!("1 MB, half of it, then {gap_name}, {time}"));
        }
    }
}

fn measure_one(daemon: &Daemon, link: &SlowLink, gap: Duration, what: &str) {
    let hits = Probe::start(daemon.address(), PAUSE, vec![encode(&["GET", "hot"])]);
    let writes = Probe::start(daemon.address(), PAUSE, vec![encode(&["SET", "small", "value"])]);
    let mut asker = patient(daemon.address());
    let began = Instant::now();
    std::thread::sleep(CALM);
    let calm = (began, Instant::now());
    link.trickle_behind(MARK, gap);
    let asked_at = Instant::now();
    let reply = asker.command(&["GET", "large"]).unwrap();
    let fault = (asked_at, Instant::now());
    link.be_quick();
    let how = if reply.is_error() { "an error" } else { "the value" };
    let what = |who: &str| format!("{what}: {who}");
    print(
        &what("its asker"),
        "-",
        format!("{how} after {}", shown(asked_at.elapsed())),
        "-",
        "an error within the ceiling",
    );
    for (who, probe) in [("another client's SET", writes), ("a read of a hot key", hits)] {
        let answers = probe.end();
        print(&what(who), answers.within(calm), answers.within(fault), "-", "under 50 ms");
    }
}
