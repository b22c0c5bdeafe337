//! What one connection is told because of what another one does: a wait that ends, a message, an
//! invalidation.

use std::io;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{SandboxClient, client};

use crate::conversation::Differs;
use crate::family::Pair;
use crate::sessions::without_hints;
use crate::words::split;

/// One story.
struct Event {
    /// What the one connection says; all its replies are read, and the last request may get none yet.
    listener: &'static [&'static str],
    /// What the other one does then.
    other: &'static [&'static str],
    /// What the first one says at last, to be answered behind what it was told.
    last: &'static str,
    is_resp3_alone: bool,
}

const fn event(
    listener: &'static [&'static str],
    other: &'static [&'static str],
    last: &'static str,
) -> Event {
    Event { listener, other, last, is_resp3_alone: false }
}

// Messages on one channel come in order; those on several come over several nodes, so each event has one.
const EVENTS: &[Event] = &[
    event(&["BLPOP {e}list {e}list2 5"], &["RPUSH {e}list2 a b"], "ECHO end"),
    event(&["BRPOP {e}list 5"], &["RPUSH {e}list a b c"], "ECHO end"),
    event(&["BLMOVE {e}list {e}list2 RIGHT LEFT 5"], &["RPUSH {e}list a b c"], "LRANGE {e}list2 0 -1"),
    event(&["BRPOPLPUSH {e}list {e}list2 5"], &["RPUSH {e}list a b c"], "LRANGE {e}list2 0 -1"),
    event(&["BLMPOP 5 2 {e}list {e}list2 LEFT COUNT 2"], &["RPUSH {e}list2 a b c"], "ECHO end"),
    event(&["BZPOPMIN {e}z 5"], &["ZADD {e}z 1.5 a 2 b"], "ECHO end"),
    event(&["BZPOPMAX {e}z 5"], &["ZADD {e}z 1.5 a 2 b"], "ECHO end"),
    event(&["BZMPOP 5 1 {e}z MAX COUNT 5"], &["ZADD {e}z 1.5 a 2 b"], "ECHO end"),
    event(&["XREAD BLOCK 5000 STREAMS {e}x $"], &["XADD {e}x 1-1 f v"], "ECHO end"),
    event(
        &["XGROUP CREATE {e}x g $ MKSTREAM", "XREADGROUP GROUP g c BLOCK 5000 STREAMS {e}x >"],
        &["XADD {e}x 1-1 f v"],
        "XPENDING {e}x g",
    ),
    event(&["BLPOP {e}list 5"], &["SET {e}list text", "DEL {e}list", "RPUSH {e}list a"], "ECHO end"),
    event(
        &["BLPOP {e}list 5"],
        &["MULTI", "RPUSH {e}list a", "DEL {e}list", "RPUSH {e}list b", "EXEC"],
        "ECHO end",
    ),
    event(
        &["SUBSCRIBE e-one"],
        &["PUBLISH e-one hello", "PUBLISH e-two no", "PUBLISH e-one \"two words\""],
        "UNSUBSCRIBE",
    ),
    event(
        &["PSUBSCRIBE e-*"],
        &["PUBLISH e-one hello", "PUBLISH other no", "PUBLISH e-one again"],
        "PUNSUBSCRIBE",
    ),
    event(
        &["SUBSCRIBE e-one e-two", "PSUBSCRIBE e-*", "UNSUBSCRIBE e-two"],
        &["PUBLISH e-two hello", "PUBLISH e-two again"],
        "PUNSUBSCRIBE",
    ),
    event(&["SSUBSCRIBE {e}one"], &["SPUBLISH {e}one hello", "SPUBLISH {e}two no"], "SUNSUBSCRIBE"),
    event(
        &["SUBSCRIBE e-one"],
        &["PUBSUB CHANNELS e-*", "PUBSUB NUMSUB e-one e-two", "PUBSUB NUMPAT", "PUBSUB CHANNELS none"],
        "UNSUBSCRIBE",
    ),
    event(
        &["SSUBSCRIBE {e}one"],
        &["PUBSUB SHARDCHANNELS {e}*", "PUBSUB SHARDNUMSUB {e}one"],
        "SUNSUBSCRIBE",
    ),
    event(&["WATCH {e}a", "MULTI", "SET {e}a mine"], &["SET {e}a theirs"], "EXEC"),
    event(&["WATCH {e}a", "MULTI", "SET {e}a mine"], &["GET {e}a", "SET {e}b theirs"], "EXEC"),
    event(&["WATCH {e}a", "GET {e}a", "MULTI", "GET {e}a"], &["FLUSHALL"], "EXEC"),
    event(&["SELECT 1", "BLPOP {e}list 5"], &["RPUSH {e}list a", "SELECT 1", "RPUSH {e}list b"], "ECHO end"),
    event(
        &["SELECT 1", "WATCH {e}a", "MULTI", "SET {e}a mine"],
        &["SET {e}a other", "SELECT 1", "GET {e}a"],
        "EXEC",
    ),
    event(&["SELECT 1", "WATCH {e}a", "MULTI", "SET {e}a mine"], &["SELECT 1", "SET {e}a theirs"], "EXEC"),
    event(&["WATCH {e}a", "MULTI", "SET {e}a mine"], &["SELECT 1", "SET {e}a 1", "SWAPDB 0 1"], "EXEC"),
    event(&["GET {e}a", "GET {e}a"], &["SELECT 1", "SET {e}a 1", "SWAPDB 0 1"], "GET {e}a"),
    event(&["SELECT 1", "BLPOP {e}list 5"], &["RPUSH {e}list a", "SWAPDB 0 1"], "ECHO end"),
    event(&["SELECT 1", "BLPOP {e}list 5"], &["RPUSH {e}list a", "MOVE {e}list 1"], "ECHO end"),
    event(
        &["SELECT 1", "SET {e}a 1", "GET {e}a", "SELECT 0", "SET {e}a 0", "GET {e}a"],
        &["FLUSHDB", "SELECT 1", "DBSIZE"],
        "GET {e}a",
    ),
    event(
        &["SUBSCRIBE __keyspace@0__:{e}a", "SUBSCRIBE __keyspace@1__:{e}a"],
        &["CONFIG SET notify-keyspace-events KEA", "SET {e}a 0", "SELECT 1", "SET {e}a 1", "DEL {e}a"],
        "UNSUBSCRIBE __keyspace@0__:{e}a __keyspace@1__:{e}a",
    ),
    Event {
        listener: &["CLIENT TRACKING ON", "SELECT 1", "SET {e}a 1", "GET {e}a"],
        other: &["SELECT 1", "SET {e}a 2"],
        last: "GET {e}a",
        is_resp3_alone: true,
    },
    Event {
        listener: &["CLIENT TRACKING ON", "SET {e}a 1", "GET {e}a"],
        other: &["SET {e}a 2", "SET {e}a 3"],
        last: "GET {e}a",
        is_resp3_alone: true,
    },
    Event {
        listener: &["CLIENT TRACKING ON BCAST PREFIX {e}"],
        other: &["SET {e}a 2"],
        last: "GET {e}a",
        is_resp3_alone: true,
    },
    Event {
        listener: &["CLIENT TRACKING ON", "GET {e}a"],
        other: &["FLUSHALL"],
        last: "GET {e}a",
        is_resp3_alone: true,
    },
];

/// What another client asks while one monitors.
const MONITORED: [&str; 4] = ["SET {e}a \"two words\"", "get {e}a", "PING", "MGET {e}a {e}none other"];

/// How long the two connections are given to see what the other did. When that was too short, and so the
/// sides differ, it is tried again with the next.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(40), Duration::from_millis(200), Duration::from_millis(1000)];

pub(crate) fn compare(pair: &Pair) -> Vec<Differs> {
    let mut differing = Vec::new();
    let can_be_held =
        |event: &&Event| pair.setting.can_hold(&[event.listener, event.other, &[event.last]].concat());
    for event in EVENTS.iter().filter(can_be_held) {
        for version in if event.is_resp3_alone { 3..=3 } else { 2..=3 } {
            let [mut plain, mut nearside] = [String::new(), String::new()];
            for pause in PAUSES {
                plain = shown(happen(event, version, pause, pair.plain(), pair.plain()));
                let said = happen(event, version, pause, pair.nearside(), pair.nearside());
                nearside = shown(said.map(|said| without_hints(&said)));
                if plain == nearside {
                    break;
                }
            }
            if plain != nearside {
                differing.push(Differs {
                    request: event.listener.join(" "),
                    story: format!(
                        "RESP{version}: one: {}; other: {}; one: {}\n    plain:    {plain}\n    nearside: {nearside}",
                        event.listener.join("; "),
                        event.other.join("; "),
                        event.last
                    ),
                });
            }
        }
    }
    differing
}

/// All that the first connection was sent until its end, and then what the other was.
fn happen(
    event: &Event,
    version: u8,
    pause: Duration,
    mut one: SandboxClient,
    mut other: SandboxClient,
) -> io::Result<Vec<u8>> {
    other.command(&["FLUSHALL"])?;
    if version == 3 {
        one.hello(3)?;
        other.hello(3)?;
    }
    let send = |client: &mut SandboxClient, requests: &[&str]| {
        let requests = requests.iter().map(|request| client::encode(&split(request)));
        client.send_raw(&requests.collect::<Vec<_>>().concat())
    };
    send(&mut one, event.listener)?;
    thread::sleep(pause);
    send(&mut other, event.other)?;
    thread::sleep(pause);
    send(&mut one, &[event.last, "QUIT"])?;
    send(&mut other, &["QUIT"])?;
    Ok([one.receive_rest()?, other.receive_rest()?].concat())
}

/// What MONITOR shows of another client's requests, without times and addresses.
pub(crate) fn compare_monitor(pair: &Pair) -> Option<Differs> {
    let plain = monitor(pair.plain(), pair.plain());
    let nearside = monitor(pair.nearside(), pair.nearside());
    (plain != nearside).then(|| Differs {
        request: "MONITOR".to_owned(),
        story: format!("MONITOR shows of {MONITORED:?}\n    plain:    {plain:?}\n    nearside: {nearside:?}"),
    })
}

fn monitor(mut one: SandboxClient, mut other: SandboxClient) -> Vec<String> {
    let mut seen = vec![one.command(&["MONITOR"]).unwrap().text()];
    for request in MONITORED {
        other.command(&split(request)).unwrap();
        // `1700000000.123456 [0 127.0.0.1:12345] "PING"`
        let line = one.receive().unwrap().text();
        seen.push(line.split_once(" [0 ").and_then(|(_, line)| line.split_once("] ")).unwrap().1.to_owned());
    }
    seen
}

fn shown(said: io::Result<Vec<u8>>) -> String {
    said.map_or_else(|error| error.to_string(), |said| said.escape_ascii().to_string())
}
