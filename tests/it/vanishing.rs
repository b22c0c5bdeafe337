//! Clients that vanish at every step: whatever they leave behind, no reply ever reaches another session.
//!
//! Each thread plays clients one after the other. A client writes values that name it and its request, checks
//! every reply that it reads, and is gone at a random step: with requests unsent in part, unread replies, an
//! open transaction, a wait. The run prints its seed; `NEARSIDE_TEST_SEED` repeats it, `NEARSIDE_TEST_LARGE`
//! makes it a million commands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nearside::sandbox::{Address, Reply, SandboxClient, client};

use crate::support::daemon::Daemon;
use crate::support::servers::shared_cluster;

const THREADS: u64 = 16;

/// Requests of one client between two looks at its replies.
const BURST_MAX: usize = 24;

static CHECKED: AtomicU64 = AtomicU64::new(0);

/// What a request must be answered with.
enum Expected {
    Is(Reply),
    /// Each element is one of these forms.
    Elements(Vec<Expected>),
    Integer,
}

// === impl Expected ===

impl Expected {
    fn check(&self, reply: &Reply, request: &[String]) {
        match self {
            Expected::Is(expected) => assert_eq!(reply, expected, "{request:?}"),
            Expected::Integer => assert!(reply.integer().is_some(), "{request:?} gave {reply:?}"),
            Expected::Elements(elements) => {
                assert_eq!(reply.items().len(), elements.len(), "{request:?} gave {reply:?}");
                for (element, item) in elements.iter().zip(reply.items()) {
                    element.check(item, request);
                }
            }
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn simple(text: &str) -> Expected {
    Expected::Is(Reply::Simple(text.to_owned().into()))
}

fn bulk(text: &str) -> Expected {
    Expected::Is(Reply::bulk(text))
}

/// The requests of one step of the client `me`, with what they are answered.
fn step(random: &mut fastrand::Rng, me: &str, number: usize) -> Vec<(Vec<String>, Expected)> {
    let key = |name: &str| format!("vanish:{me}:{name}");
    let tag = |name: &str| format!("{{vanish:{me}}}{name}");
    let value = format!("{me}-{number}");
    match random.u8(..9) {
        0 => vec![
            (words(&["SET", &key("k"), &value]), simple("OK")),
            (words(&["GET", &key("k")]), bulk(&value)),
        ],
        1 => vec![(words(&["ECHO", &value]), bulk(&value))],
        // A fan-out over three slots.
        2 => vec![
            (words(&["MSET", &key("a"), &value, &key("b"), me, &key("c"), "c"]), simple("OK")),
            (
                words(&["MGET", &key("a"), &key("b"), &key("c"), &key("none")]),
                Expected::Elements(vec![bulk(&value), bulk(me), bulk("c"), Expected::Is(Reply::Nil(b'_'))]),
            ),
        ],
        // A transaction, now and then on a watched key.
        3 | 4 => {
            let mut steps = Vec::new();
            if random.bool() {
                steps.push((words(&["WATCH", &tag("t")]), simple("OK")));
            }
            steps.push((words(&["MULTI"]), simple("OK")));
            steps.push((words(&["SET", &tag("t"), &value]), simple("QUEUED")));
            steps.push((words(&["ECHO", me]), simple("QUEUED")));
            steps.push((words(&["GET", &tag("t")]), simple("QUEUED")));
            let elements = vec![simple("OK"), bulk(me), bulk(&value)];
            steps.push((words(&["EXEC"]), Expected::Elements(elements)));
            steps
        }
        // A wait that is over at once, and one that ends by itself.
        5 => vec![
            (words(&["DEL", &tag("list")]), Expected::Integer),
            (words(&["RPUSH", &tag("list"), &value]), Expected::Is(Reply::Integer(1))),
            (
                words(&["BLPOP", &tag("list"), "1"]),
                Expected::Elements(vec![bulk(&tag("list")), bulk(&value)]),
            ),
        ],
        6 => vec![(words(&["BLPOP", &tag("never"), "0.01"]), Expected::Is(Reply::Nil(b'_')))],
        // A reply that does not fit into a socket's buffer at once.
        7 => {
            let large = value.repeat(random.usize(1..20_000));
            vec![
                (words(&["SET", &key("large"), &large]), simple("OK")),
                (words(&["GET", &key("large")]), bulk(&large)),
                (words(&["STRLEN", &key("large")]), Expected::Is(Reply::Integer(large.len() as i64))),
            ]
        }
        _ => vec![(
            words(&["EVAL", "return {KEYS[1], ARGV[1]}", "1", &tag("e"), &value]),
            Expected::Elements(vec![bulk(&tag("e")), bulk(&value)]),
        )],
    }
}

/// One client's life.
fn live(random: &mut fastrand::Rng, address: &Address, me: &str) {
    let mut client = SandboxClient::connect(address).unwrap();
    client.hello(3).unwrap();
    let mut number = 0;
    loop {
        let mut burst = Vec::new();
        while burst.len() < BURST_MAX && (burst.is_empty() || random.u8(..4) > 0) {
            burst.extend(step(random, me, number));
            number += 1;
        }
        let bytes: Vec<u8> = burst.iter().flat_map(|(request, _)| client::encode(request)).collect();
        if random.u8(..6) == 0 {
            // Gone in the middle of a request, or with all of them unanswered.
            client.send_raw(&bytes[..random.usize(..=bytes.len())]).unwrap();
            return;
        }
        client.send_raw(&bytes).unwrap();
        let unread = if random.u8(..6) == 0 { random.usize(..=burst.len()) } else { 0 };
        for (request, expected) in &burst[..burst.len() - unread] {
            expected.check(&client.receive().unwrap(), request);
            CHECKED.fetch_add(1, Ordering::Relaxed);
        }
        if unread > 0 {
            // Sometimes while it waits for what never comes.
            if random.bool() {
                client.send(&["BLPOP", &format!("vanish:{me}:nothing"), "0"]).unwrap();
            }
            return;
        }
    }
}

#[test]
fn clients_that_vanish_leave_no_reply_to_others() {
    let seed = std::env::var("NEARSIDE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("NEARSIDE_TEST_SEED={seed}");
    let commands = if std::env::var_os("NEARSIDE_TEST_LARGE").is_some() { 1_000_000 } else { 30_000 };
    let daemon = Daemon::before(shared_cluster());
    daemon.until_tracked(3);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let address = daemon.address().clone();
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed ^ thread);
                let mut lives = 0;
                while CHECKED.load(Ordering::Relaxed) < commands {
                    live(&mut random, &address, &format!("{seed:x}.{thread}.{lives}"));
                    lives += 1;
                }
                lives
            })
        })
        .collect();
    let lives: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{} replies checked, {lives} clients", CHECKED.load(Ordering::Relaxed));
    crate::support::servers::eventually("nobody is left", std::time::Duration::from_secs(10), || {
        daemon.counter("connections_accepted") - daemon.counter("connections_closed") <= 2
    });
    daemon.assert_quiet();
}
