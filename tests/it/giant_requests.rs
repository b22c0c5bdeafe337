//! Whatever one client asks, the hits of another are answered meanwhile: each row is a request that is as
//! large as a client may make it, and a client that reads a hot key beside it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::servers::own_primaries;

/// How many of everything a large request has: fewer where the program was not built to be quick.
const MANY: usize = if cfg!(debug_assertions) { 20_000 } else { 200_000 };

/// The same of what takes very long to answer where the program was not built to be quick.
const SLOW: usize = if cfg!(debug_assertions) { MANY / 20 } else { MANY };

/// How long a hit may wait where nothing else is said: what a machine of two processors, busy with other
/// things, takes now and then all by itself.
const CALM: Duration = Duration::from_millis(if cfg!(debug_assertions) { 150 } else { 50 });

/// A hit may wait so many times as long as a read of a plain server beside the same.
const TIMES: u32 = 2;

/// A row may be tried so often: whoever is not given the processor waits for that as well.
const TRIES: usize = 5;

/// What one client asks.
struct Giant {
    name: &'static str,
    /// What is there before: each is sent and answered by itself.
    before: Vec<Vec<u8>>,
    /// What is sent, and how many replies come.
    sent: Vec<u8>,
    replies: usize,
}

/// Says that it is over, also when the thread that has it panics.
struct Over<'a>(&'a AtomicBool);

/// How long it took until all was answered, and each read of the other client, the longest last.
struct Beside {
    whole: Duration,
    hits: Vec<Duration>,
}

// === impl Over ===

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// === impl Giant ===

impl Giant {
    fn new(name: &'static str, sent: Vec<u8>, replies: usize) -> Giant {
        Giant { name, before: Vec::new(), sent, replies }
    }

    fn after(mut self, before: Vec<Vec<u8>>) -> Giant {
        self.before = before;
        self
    }

    /// Carries it out with `large`, while `small` reads.
    fn beside([mut large, mut small]: [SandboxClient; 2], giant: &Giant) -> Beside {
        large.set_timeout(Duration::from_secs(120)).unwrap();
        small.set_timeout(Duration::from_secs(120)).unwrap();
        for request in &giant.before {
            large.send_raw(request).unwrap();
            let reply = large.receive().unwrap();
            assert!(!reply.is_error(), "{}: {reply:?}", giant.name);
        }
        small.command(&["SET", "hot", "value"]).unwrap();
        small.command(&["GET", "hot"]).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let _over = Over(&done);
                let began = Instant::now();
                let mut writer = large.second().unwrap();
                thread::scope(|scope| {
                    scope.spawn(move || writer.send_raw(&giant.sent).unwrap());
                    for _ in 0..giant.replies {
                        let reply = large.receive_raw().unwrap();
                        let first = String::from_utf8_lossy(&reply[..reply.len().min(200)]);
                        assert!(!first.starts_with('-'), "{}: {first}", giant.name);
                    }
                });
                began.elapsed()
            });
            let mut hits = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                let reply = small.command(&["GET", "hot"]).unwrap();
                hits.push(began.elapsed());
                // Some of what is asked takes it away.
                if reply.is_nil() {
                    small.command(&["SET", "hot", "value"]).unwrap();
                }
            }
            hits.sort();
            Beside { whole: asked.join().unwrap(), hits }
        })
    }
}

// === impl Beside ===

impl Beside {
    fn longest(&self) -> Duration {
        self.hits.last().copied().unwrap_or_default()
    }

    fn shown(&self) -> String {
        let at = |part: usize| self.hits.get(self.hits.len() * part / 100).copied().unwrap_or_default();
        let count = self.hits.len();
        let (whole, longest) = (self.whole, self.longest());
        format!(
            "{whole:.1?}, {count} reads: median {:.2?}, p99 {:.2?}, longest {longest:.2?}",
            at(50),
            at(99)
        )
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{{t}}{number}")).collect()
}

fn one(name: &str, args: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<u8> {
    let mut request: Vec<String> = name.split(' ').map(str::to_owned).collect();
    request.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    encode(&request)
}

fn each(requests: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    requests.into_iter().flatten().collect()
}

fn none() -> [&'static str; 0] {
    []
}

fn giants() -> Vec<Giant> {
    let keys = names(MANY);
    let some = names(20_000);
    let patterns: Vec<String> = (0..1_000).map(|number| format!("*{number}")).collect();
    let transaction = |of: &dyn Fn(&String) -> Vec<u8>| {
        each(
            std::iter::once(one("MULTI", none()))
                .chain(names(MANY / 2).iter().map(of))
                .chain([one("EXEC", none())]),
        )
    };
    let fill = |name: &str| vec![one("DEL big", none()), one(&format!("{name} big"), &keys)];
    let set_all = || {
        let pairs = keys.iter().flat_map(|key| [key.clone(), "value".to_owned()]);
        vec![one("MSET", pairs)]
    };
    vec![
        Giant::new("EXEC of SETs", transaction(&|key| encode(&["SET", key, "value"])), MANY / 2 + 2),
        Giant::new("EXEC of GETs", transaction(&|key| encode(&["GET", key])), MANY / 2 + 2),
        Giant::new("EXEC of PINGs", transaction(&|key| encode(&["ECHO", key])), MANY / 2 + 2),
        Giant::new("SUBSCRIBE", one("SUBSCRIBE", &some[..10_000]), 10_000),
        Giant::new(
            "SUBSCRIBE, UNSUBSCRIBE",
            [one("SUBSCRIBE", &some[..10_000]), one("UNSUBSCRIBE", none())].concat(),
            20_000,
        ),
        Giant::new("PSUBSCRIBE", one("PSUBSCRIBE", &patterns), patterns.len()),
        Giant::new("SSUBSCRIBE", one("SSUBSCRIBE", &some[..10_000]), 10_000),
        Giant::new("MSET of one slot", set_all().concat(), 1),
        Giant::new("KEYS *", one("KEYS *", none()), 1).after(set_all()),
        Giant::new("SCAN of all", one("SCAN 0 COUNT 1000000", none()), 1),
        Giant::new("DEL of one slot", one("DEL", &keys), 1),
        Giant::new("LRANGE", one("LRANGE big 0 -1", none()), 1).after(fill("RPUSH")),
        Giant::new("LRANGE again", one("LRANGE big 0 -1", none()), 1),
        Giant::new("SMEMBERS", one("SMEMBERS big", none()), 1).after(fill("SADD")),
        Giant::new("HGETALL", one("HGETALL big", none()), 1).after(fill("HSET")),
        Giant::new("HGETALL again", one("HGETALL big", none()), 1),
        Giant::new("pipeline of hits", each((0..MANY).map(|_| encode(&["GET", "hot"]))), MANY),
        Giant::new("pipeline of misses", each(keys.iter().map(|key| encode(&["GET", key]))), MANY),
        Giant::new("pipeline of writes", each(keys.iter().map(|key| encode(&["SET", key, "1"]))), MANY),
        Giant::new("pipeline of PINGs", each(keys.iter().map(|_| encode(&["PING"]))), MANY),
        Giant::new(
            "pipeline of SCANs",
            each((0..MANY / 40).map(|_| encode(&["SCAN", "0", "COUNT", "1"]))),
            MANY / 40,
        ),
        Giant::new(
            "ZUNIONSTORE",
            one(&format!("ZUNIONSTORE {{t}}sum {MANY}"), keys.iter().map(|key| format!("{key}:none"))),
            1,
        ),
        Giant::new("EVAL with keys", one(&format!("EVAL return(#KEYS) {}", some.len()), &some), 1),
        Giant::new("SCRIPT EXISTS", one("SCRIPT EXISTS", &keys), 1),
        // A server looks through all that is watched already for each.
        Giant::new("WATCH, UNWATCH", [one("WATCH", &some[..2_000]), one("UNWATCH", none())].concat(), 2),
        Giant::new(
            "BLPOP",
            [one("BLPOP", keys.iter().map(|key| format!("{key}:none")).chain(["0.01".to_owned()]))].concat(),
            1,
        ),
        Giant::new("PUBSUB NUMSUB", one("PUBSUB NUMSUB", &keys), 1),
        Giant::new("COMMAND INFO", one("COMMAND INFO", keys.iter().take(SLOW).map(|_| "get")), 1),
        Giant::new("CONFIG GET", one("CONFIG GET", keys.iter().take(SLOW).map(|key| format!("*{key}*"))), 1),
        Giant::new("CLIENT LIST ID", one("CLIENT LIST ID", (1..=20_000).map(|number| number.to_string())), 1),
        Giant::new("FLUSHALL", one("FLUSHALL", none()), 1).after(set_all()),
    ]
}

/// With `--nocapture` it prints how long hits took beside each, and reads of a plain server beside the same.
#[test]
fn hits_are_answered_beside_whatever_another_client_asks() {
    let cluster = own_primaries(1);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(1);
    let plain = Standalone::launch(&[]).unwrap();
    let only = std::env::var("NEARSIDE_TEST_GIANT").ok();
    let giants =
        giants().into_iter().filter(|giant| only.as_ref().is_none_or(|only| giant.name.contains(only)));
    let held: Vec<&str> =
        giants.filter(|giant| !is_fair(giant, &daemon, &plain)).map(|giant| giant.name).collect();
    assert!(held.is_empty(), "hits wait for a large part of {held:?}");
}

/// Servers try each pattern on the name of each message. Here nobody who asks something else waits for that.
#[test]
fn hits_are_answered_beside_messages_that_the_patterns_of_many_clients_are_tried_on() {
    // A server before Redis 7.2 compares each pattern of a connection with all others: more would take it
    // very long.
    const CLIENTS: usize = 16;
    let each_client = 400;
    let cluster = own_primaries(1);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(1);
    let plain = Standalone::launch(&[]).unwrap();
    let subscribers: Vec<SandboxClient> = (0..CLIENTS)
        .flat_map(|number| {
            let patterns: Vec<String> = (0..each_client).map(|index| format!("*{number}:{index}?")).collect();
            [daemon.client(), plain.server().connect().unwrap()].map(|mut client| {
                client.set_timeout(Duration::from_secs(60)).unwrap();
                client.send_raw(&one("PSUBSCRIBE", &patterns)).unwrap();
                patterns.iter().for_each(|_| assert_eq!(client.receive().unwrap().items().len(), 3));
                client
            })
        })
        .collect();
    for channel in ["channel:3:17!", "channel:12:1!", "channel", "3:1"] {
        let count = |mut client: SandboxClient| client.command(&["PUBLISH", channel, "m"]).unwrap();
        assert_eq!(count(daemon.client()), count(plain.server().connect().unwrap()), "{channel}");
    }
    let messages = 200;
    let sent = each((0..messages).map(|number| encode(&["PUBLISH", &format!("channel{number}"), "message"])));
    let giant = Giant::new("PUBLISH beside many patterns", sent, messages);
    assert!(is_fair(&giant, &daemon, &plain), "hits wait for the patterns of others");
    drop(subscribers);
}

/// Whether hits beside a large request are answered as soon as reads of a plain server beside the same, or
/// nearly.
fn is_fair(giant: &Giant, daemon: &Daemon, plain: &Standalone) -> bool {
    let connect = || plain.server().connect().unwrap();
    let others = Giant::beside([connect(), connect()], giant);
    let bound = (others.longest() * TIMES).max(CALM);
    (0..TRIES).any(|_| {
        let hits = Giant::beside([daemon.client(), daemon.client()], giant);
        println!("{}: nearside {}; plain server {}", giant.name, hits.shown(), others.shown());
        hits.longest() < bound
    })
}
