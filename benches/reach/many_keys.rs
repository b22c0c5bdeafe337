//! A hit beside commands of 200,000 keys, and a read of a plain server beside the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Address, Reply, Standalone};
use tokio::time::Instant;

use crate::figures::{Latencies, print, ratio};
use crate::probe::patient;
use crate::support::daemon::Daemon;
use crate::support::servers::own_primaries;

const KEYS: usize = 200_000;

/// The two take turns.
const ROUNDS: usize = 10;

pub(crate) fn measure() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(3);
    let plain = Standalone::launch(&[]).unwrap();
    let plain = Address::Tcp(plain.server().address());
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key:{number}")).collect();
    let pairs: Vec<String> = keys.iter().flat_map(|key| [key.clone(), "value".to_owned()]).collect();
    for (name, arguments) in [("MSET", &pairs), ("MGET", &keys), ("EXISTS", &keys)] {
        let request = encode(&[&[name.to_owned()][..], &arguments[..]].concat());
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            others.push(beside(&plain, &request));
            own.push(beside(daemon.address(), &request));
        }
        let longest = |of: &[Latencies]| crate::figures::median(of.iter().map(Latencies::longest).collect());
        let (own, others) = (longest(&own), longest(&others));
        let shown = |time| format!("longest {}", crate::figures::shown(time));
        let what = format!(
            "a hit beside {name} of 200,000 keys (calm: a plain server beside it), middle of {ROUNDS}"
        );
        print(&what, shown(others), shown(own), &ratio(own, others), "at most 2");
    }
}

/// How long each read took that was asked before `request` was answered.
fn beside(address: &Address, request: &[u8]) -> Latencies {
    let (mut large, mut small) = (patient(address), patient(address));
    small.command(&["SET", "hot", "value"]).unwrap();
    small.command(&["GET", "hot"]).unwrap();
    // All of the request has arrived but its end.
    let (begin, end) = request.split_at(request.len() - 1);
    large.send_raw(begin).unwrap();
    small.command(&["GET", "hot"]).unwrap();
    let is_answered = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            large.send_raw(end).unwrap();
            assert!(!large.receive().unwrap().is_error());
            is_answered.store(true, Ordering::Relaxed);
        });
        let mut times = Vec::new();
        while !is_answered.load(Ordering::Relaxed) {
            let began = Instant::now();
            assert_eq!(small.command(&["GET", "hot"]).unwrap(), Reply::bulk("value"));
            times.push(began.elapsed());
        }
        Latencies::new(times, 0)
    })
}
