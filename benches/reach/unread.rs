//! Three clients that ask for replies of 1 MB and never read them: what that costs in memory, and everybody
//! else.

use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{SandboxClient, Standalone};
use tokio::time::Instant;

use crate::figures::{print, ratio};
use crate::probe::Probe;
use crate::support::daemon::Daemon;

const CLIENTS: usize = 3;
const VALUES: usize = 200;
const REQUESTS: usize = 2_000;

const PAUSE: Duration = Duration::from_millis(1);
const TIME: Duration = Duration::from_secs(10);

pub(crate) fn measure() {
    let server = Standalone::launch(&[]).unwrap();
    let value = "x".repeat(1_000_000);
    for number in 0..VALUES {
        server.server().command(&["SET", &format!("large:{number}"), &value]).unwrap();
    }
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", server.server().address())]);
    daemon.until_tracked(1);
    let hits = Probe::start(daemon.address(), PAUSE, vec![encode(&["GET", "hot"])]);
    let writes = Probe::start(daemon.address(), PAUSE, vec![encode(&["SET", "small", "value"])]);
    let began = Instant::now();
    thread::sleep(TIME);
    let calm = (began, Instant::now());
    let calm_memory = daemon.peak_memory();
    for _ in 0..CLIENTS {
        let mut client = SandboxClient::connect(daemon.address()).unwrap();
        thread::spawn(move || {
            for number in 0..REQUESTS {
                // It may be closed for what it does.
                if client.send(&["GET", &format!("large:{}", number % VALUES)]).is_err() {
                    break;
                }
            }
            // For as long as the bench.
            thread::sleep(2 * TIME);
        });
    }
    let began = Instant::now();
    thread::sleep(TIME);
    let fault = (began, Instant::now());
    let ceiling = format!("under memory_max, {} bytes", daemon.counter("memory_max"));
    let what = |who: &str| format!("{CLIENTS} clients leave {REQUESTS} replies of 1 MB each unread: {who}");
    print(&what("most memory"), calm_memory, daemon.peak_memory(), "-", &ceiling);
    for (who, probe) in [("another client's SET", writes), ("a read of a hot key", hits)] {
        let answers = probe.end();
        let (calm, fault) = (answers.within(calm), answers.within(fault));
        let ratio = ratio(fault.at(99), calm.at(99));
        print(&what(who), calm, fault, &ratio, "unhurt");
    }
}
