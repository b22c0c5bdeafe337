//! 200 MB over a link of 30 MB/s, in either direction: what everybody else of the same node waits meanwhile.

use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Address, Standalone};
use tokio::time::Instant;

use crate::figures::{print, shown};
use crate::probe::{Probe, patient};
use crate::support::daemon::Daemon;
use crate::support::slow_link::SlowLink;

const BYTES: usize = 200_000_000;
const RATE: u64 = 30_000_000;

const PAUSE: Duration = Duration::from_millis(5);
const CALM: Duration = Duration::from_secs(3);

pub(crate) fn measure() {
    let value = vec![b'x'; BYTES];
    let server = Standalone::launch(&[]).unwrap();
    let mut direct = patient(&Address::Tcp(server.server().address()));
    assert!(direct.command(&[&b"SET"[..], b"large", &value]).unwrap().is_ok());
    let read = encode(&["GET", "large"]);
    let written = encode(&[&b"SET"[..], b"other", &value]);
    for (direction, request, times) in [("a reply", read, 2), ("a request", written, 1)] {
        let link = SlowLink::to(server.server().address());
        let daemon = Daemon::start(&["--upstream", &format!("redis://{}", link.address())]);
        daemon.until_tracked(1);
        link.limit(RATE);
        for time in ["the first time", "again"].into_iter().take(times) {
            measure_one(&daemon, &format!("{direction} of 200 MB at 30 MB/s, {time}"), &request);
        }
    }
}

fn measure_one(daemon: &Daemon, what: &str, request: &[u8]) {
    let hits = Probe::start(daemon.address(), PAUSE, vec![encode(&["GET", "hot"])]);
    let writes = Probe::start(daemon.address(), PAUSE, vec![encode(&["SET", "small", "value"])]);
    let began = Instant::now();
    thread::sleep(CALM);
    let calm = (began, Instant::now());
    let mut asker = patient(daemon.address());
    let hits_before = daemon.counter("l1_hits");
    let asked_at = Instant::now();
    asker.send_raw(request).unwrap();
    assert!(!asker.receive().unwrap().is_error());
    let fault = (asked_at, Instant::now());
    let hits_of = daemon.counter("l1_hits") - hits_before;
    let what = |who: &str| format!("{what}: {who}");
    print(&what("its asker"), "-", shown(asked_at.elapsed()), "-", "-");
    let hot = format!("a read of a hot key, {hits_of} of them hits");
    for (who, probe) in [("another client's SET", writes), (hot.as_str(), hits)] {
        let answers = probe.end();
        let (calm, fault) = (answers.within(calm), answers.within(fault));
        let more = shown(fault.longest().saturating_sub(calm.longest()));
        print(&what(who), calm, fault, &format!("+{more}"), "50 ms over calm");
    }
}
