//! A cluster that is far away, and addresses at which nobody answers: how long it takes from the start of the
//! daemon until the first command is answered.

use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use nearside::sandbox::Cluster;
use tokio::time::Instant;

use crate::figures::{print, shown};
use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers::{own_primaries, sandbox};
use crate::support::silent::Silent;

const ROUND_TRIPS: [u64; 2] = [200, 400];
const ROUNDS: usize = 5;

/// How often it is tried again while the daemon says that it is not there yet.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn measure() {
    let cluster = own_primaries(3);
    far_away(&cluster);
    silent(&cluster);
}

fn far_away(cluster: &Cluster) {
    let relays: Vec<Relay> = cluster.nodes().iter().map(Relay::before).collect();
    let seeds: Vec<String> = relays.iter().map(|relay| relay.address().to_string()).collect();
    let url = format!("redis-cluster://{}", seeds.join(","));
    let near = until_answered(|| Daemon::start(&["--upstream", &url]));
    for millis in ROUND_TRIPS {
        let round_trip = Duration::from_millis(millis);
        relays.iter().for_each(|relay| relay.be_far_away(round_trip));
        let far = until_answered(|| Daemon::start(&["--upstream", &url]));
        relays.iter().for_each(|relay| relay.be_far_away(Duration::ZERO));
        let round_trips = far.saturating_sub(near).as_secs_f64() / round_trip.as_secs_f64();
        let what = format!("a cluster {millis} ms away: the first reply");
        print(&what, shown(near), shown(far), &format!("{round_trips:.2} round trips"), "6 round trips");
    }
}

fn silent(cluster: &Cluster) {
    let node = cluster.nodes()[0].server().address();
    let near = until_answered(|| Daemon::start(&["--upstream", &format!("redis-cluster://{node}")]));
    let holes: Vec<Silent> = (0..5).map(|_| Silent::at("127.0.0.1")).collect();
    let holes: Vec<String> = holes.iter().map(|hole| hole.address().to_string()).collect();
    let url = format!("redis-cluster://{},{node}", holes.join(","));
    let far = until_answered(|| Daemon::start(&["--upstream", &url]));
    print("five seeds of six are silent: the first reply", shown(near), shown(far), "-", "under 1.5 s");

    // The system's resolver names the one first that most resembles its own.
    let hole = Silent::at("127.0.0.1");
    let port = hole.address().port();
    let relay = Relay::to(TcpListener::bind(("127.0.0.2", port)).unwrap(), node);
    let hosts = sandbox().path().join("hosts-of-reach");
    fs::write(&hosts, "127.0.0.1 redis.test\n127.0.0.2 redis.test\n").unwrap();
    let url = format!("redis-cluster://redis.test:{port}");
    let far = until_answered(|| Daemon::start_with_hosts(&hosts, &["--upstream", &url]));
    drop(relay);
    print(
        "the first of two addresses is silent: the first reply",
        shown(near),
        shown(far),
        "-",
        "under 1.5 s",
    );
}

/// The middle of some starts.
fn until_answered(start: impl Fn() -> Daemon) -> Duration {
    let once = |_| {
        let began = Instant::now();
        let daemon = start();
        let mut client = daemon.client();
        while client.command(&["SET", "key", "value"]).unwrap().is_error() {
            thread::sleep(PAUSE);
        }
        let took = began.elapsed();
        daemon.stop();
        took
    };
    crate::figures::median((0..ROUNDS).map(once).collect())
}
