//! The same conversations with a plain server and with nearside: byte for byte the same, pushes and their
//! places too.

use std::time::Duration;

use nearside::sandbox::{SandboxClient, Standalone};
use tokio::time::Instant;

use super::SOON;
use crate::support::daemon::Daemon;

/// Who says what. `{1}` is the id of client 1. Each reply is waited for, and what the others got is noted.
type Script = &'static [(usize, &'static str)];

const ERRORS: Script = &[
    (0, "CLIENT GETREDIR"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "CLIENT TRACKING"),
    (0, "CLIENT TRACKING maybe"),
    (0, "CLIENT TRACKING on foo"),
    (0, "CLIENT TRACKING on REDIRECT"),
    (0, "CLIENT TRACKING on REDIRECT abc"),
    (0, "CLIENT TRACKING on REDIRECT 9999"),
    (0, "CLIENT TRACKING on REDIRECT 0"),
    (0, "CLIENT TRACKING on REDIRECT -1"),
    (0, "CLIENT TRACKING on REDIRECT {1} REDIRECT {1}"),
    (0, "CLIENT TRACKING off REDIRECT 9999"),
    (0, "CLIENT TRACKING on PREFIX a"),
    (0, "CLIENT TRACKING on BCAST OPTIN"),
    (0, "CLIENT TRACKING on OPTIN OPTOUT"),
    (0, "CLIENT CACHING YES"),
    (0, "CLIENT CACHING maybe"),
    (0, "CLIENT CACHING"),
    (0, "CLIENT GETREDIR x"),
    (0, "CLIENT TRACKING ON BCAST PREFIX a PREFIX ab"),
    (0, "CLIENT TRACKING ON BCAST PREFIX b PREFIX a"),
    (0, "CLIENT TRACKING ON BCAST PREFIX ab"),
    (0, "CLIENT TRACKING ON BCAST PREFIX c NOLOOP"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "CLIENT TRACKING ON"),
    (0, "CLIENT CACHING YES"),
    (0, "CLIENT TRACKING OFF foo"),
    (0, "CLIENT TRACKING OFF"),
    (0, "CLIENT TRACKING ON OPTIN"),
    (0, "CLIENT CACHING NO"),
    (0, "CLIENT CACHING maybe"),
    (0, "CLIENT TRACKING ON OPTOUT"),
    (0, "CLIENT TRACKING ON"),
    (0, "CLIENT TRACKING ON OPTOUT"),
    (0, "CLIENT CACHING YES"),
    (0, "CLIENT CACHING NO"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "GET a"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "CLIENT TRACKING ON BCAST"),
    (0, "RESET"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "CLIENT TRACKING ON BCAST"),
    (0, "CLIENT TRACKING ON BCAST"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "CLIENT TRACKING OFF"),
    (0, "HELLO 3"),
    (0, "CLIENT TRACKING ON NOLOOP OPTIN REDIRECT {1}"),
    (0, "CLIENT CACHING YES"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "CLIENT GETREDIR"),
];

const DEFAULT: Script = &[
    (0, "HELLO 3"),
    (0, "CLIENT TRACKING ON"),
    (0, "GET k"),
    (1, "SET k 1"),
    (1, "SET k 2"),
    (0, "GET k"),
    (0, "SET k 3"),
    (0, "MGET k k2 k3"),
    (1, "MSET k2 1 k3 2"),
    (0, "SET unread 1"),
    (1, "HSET h f 1"),
    (0, "HGET h f"),
    (0, "HGETALL h"),
    (1, "HSET h f 2"),
    (0, "TTL k"),
    (1, "EXPIRE k 1000"),
    (0, "SADD {s}1 a"),
    (0, "SINTER {s}1 {s}2"),
    (1, "SADD {s}2 a"),
    (0, "GET h"),
    (1, "DEL h"),
    (0, "EXISTS k k2"),
    (1, "DEL k2"),
    (0, "EVAL return(redis.call(\"GET\",KEYS[1])) 1 k"),
    (1, "SET k 4"),
    (0, "EVAL_RO return(redis.call(\"GET\",KEYS[1])) 1 k"),
    (1, "SET k 5"),
    (0, "GET k"),
    (1, "FLUSHALL"),
    (0, "GET k"),
    (0, "FLUSHALL"),
    (0, "CLIENT TRACKING OFF"),
    (0, "GET k"),
    (1, "SET k 6"),
    (1, "FLUSHALL"),
];

const CHOSEN: Script = &[
    (0, "HELLO 3"),
    (0, "CLIENT TRACKING ON OPTIN"),
    (0, "GET a"),
    (1, "SET a 1"),
    (0, "CLIENT CACHING YES"),
    (0, "CLIENT GETNAME"),
    (0, "GET a"),
    (0, "GET b"),
    (1, "MSET a 2 b 2"),
    (0, "CLIENT CACHING YES"),
    (0, "PING"),
    (0, "GET a"),
    (1, "SET a 3"),
    (0, "CLIENT CACHING YES"),
    (0, "MGET a b c"),
    (1, "MSET c 1 b 1 a 1"),
    (0, "CLIENT TRACKING OFF"),
    (0, "CLIENT TRACKING ON OPTOUT"),
    (0, "GET a"),
    (1, "SET a 4"),
    (0, "CLIENT CACHING NO"),
    (0, "GET a"),
    (1, "SET a 5"),
    (0, "CLIENT CACHING NO"),
    (0, "nosuchcommand"),
    (0, "GET a"),
    (1, "SET a 6"),
];

const NO_LOOP: Script = &[
    (0, "HELLO 3"),
    (0, "CLIENT TRACKING ON NOLOOP"),
    (0, "GET k"),
    (0, "SET k 1"),
    (1, "SET k 2"),
    (0, "GET k"),
    (1, "SET k 3"),
    (0, "MGET k l"),
    (0, "MSET k 4 l 4"),
    (0, "MGET k l"),
    (0, "DEL k l"),
    (0, "LPUSH list a"),
    (0, "GET list"),
    (0, "SET k 1 NX"),
    (0, "GET k"),
    (1, "SET k 7"),
];

const BROADCAST: Script = &[
    (0, "HELLO 3"),
    (0, "CLIENT TRACKING ON BCAST PREFIX u: PREFIX v:"),
    (1, "SET u:1 1"),
    (1, "SET x 1"),
    (1, "MSET u:2 1 u:1 2 v:1 1 x 1"),
    (0, "GET u:1"),
    (1, "SET u:1 3"),
    (1, "SET u:1 3"),
    (0, "SET v:1 1"),
    (1, "FLUSHALL"),
    (0, "CLIENT TRACKING OFF"),
    (1, "SET u:1 3"),
    (0, "CLIENT TRACKING ON BCAST"),
    (1, "SET any 3"),
];

/// Client 2 takes what client 0 must forget.
const REDIRECTED: Script = &[
    (2, "HELLO 3"),
    (0, "CLIENT TRACKING ON REDIRECT {2}"),
    (0, "CLIENT GETREDIR"),
    (0, "GET k"),
    (1, "SET k 1"),
    (0, "GET k"),
    (0, "SET k 2"),
    (0, "HELLO 3"),
    (0, "GET k"),
    (1, "SET k 3"),
    (0, "GET k"),
    (1, "FLUSHALL"),
    (0, "GET k"),
    (2, "QUIT"),
    (1, "SET k 4"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "CLIENT TRACKING ON"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "GET k"),
    (1, "SET k 5"),
];

/// As `REDIRECTED`, where client 2 speaks RESP2: it has to be subscribed to something.
const SUBSCRIBED: Script = &[
    (0, "CLIENT TRACKING ON REDIRECT {2}"),
    (0, "GET k"),
    (1, "SET k 1"),
    (2, "SUBSCRIBE __redis__:invalidate"),
    (0, "GET k"),
    (1, "SET k 2"),
    (0, "MGET k l"),
    (1, "MSET k 3 l 3"),
    (0, "GET k"),
    (1, "FLUSHALL"),
    (1, "PUBLISH __redis__:invalidate hello"),
    (2, "UNSUBSCRIBE"),
    (0, "GET k"),
    (1, "SET k 4"),
    (2, "PSUBSCRIBE any*"),
    (0, "GET k"),
    (1, "SET k 5"),
];

const TRANSACTIONS: Script = &[
    (0, "HELLO 3"),
    (0, "CLIENT TRACKING ON"),
    (0, "MULTI"),
    (0, "GET {t}a"),
    (1, "SET {t}a 1"),
    (0, "MGET {t}b {t}c"),
    (0, "EXEC"),
    (1, "SET {t}a 2"),
    (1, "SET {t}c 2"),
    (0, "MULTI"),
    (0, "GET {t}a"),
    (0, "DISCARD"),
    (1, "SET {t}a 3"),
    (0, "GET {t}b"),
    (1, "SET {t}b 3"),
    (0, "MULTI"),
    (0, "GET {t}a"),
    (0, "EXEC x"),
    (0, "GET {t}b"),
    (1, "MSET {t}a 4 {t}b 4"),
    (0, "CLIENT TRACKING OFF"),
    (0, "CLIENT TRACKING ON OPTIN"),
    (0, "CLIENT CACHING YES"),
    (0, "MULTI"),
    (0, "GET {t}a"),
    (0, "GET {t}b"),
    (0, "EXEC"),
    (0, "GET {t}c"),
    (1, "SET {t}a 5"),
    (1, "SET {t}b 5"),
    (1, "SET {t}c 5"),
];

/// RESP2 without a redirect has no way to be told.
const UNTOLD: Script = &[
    (0, "CLIENT TRACKING ON"),
    (0, "CLIENT TRACKINGINFO"),
    (0, "GET k"),
    (1, "SET k 1"),
    (1, "FLUSHALL"),
    (0, "GET k"),
];

/// The clients of one conversation.
struct Talk {
    clients: Vec<Option<SandboxClient>>,
    ids: Vec<String>,
    /// Client 0 is between MULTI and EXEC.
    in_transaction: bool,
}

/// What came to each client because of one line.
type Seen = Vec<Vec<u8>>;

// === impl Talk ===

impl Talk {
    fn new(connect: impl Fn() -> SandboxClient) -> Talk {
        let mut clients: Vec<SandboxClient> = (0..3).map(|_| connect()).collect();
        let id = |client: &mut SandboxClient| {
            client.command(&["CLIENT", "ID"]).unwrap().integer().unwrap().to_string()
        };
        let ids = clients.iter_mut().map(id).collect();
        Talk { clients: clients.into_iter().map(Some).collect(), ids, in_transaction: false }
    }

    /// Says a line, and listens until what came is as much as `expected`, or for as long as that may take.
    fn say(&mut self, who: usize, line: &str, expected: Option<&Seen>) -> Seen {
        let named = self.ids.iter().enumerate();
        let line = named.fold(line.to_owned(), |line, (index, id)| line.replace(&format!("{{{index}}}"), id));
        let words: Vec<&str> = line.split(' ').collect();
        let mut seen: Seen = vec![Vec::new(); self.clients.len()];
        let speaker = self.clients[who].as_mut().unwrap();
        speaker.send(&words).unwrap();
        while {
            let frame = speaker.receive_raw().unwrap();
            seen[who].extend_from_slice(&frame);
            frame.starts_with(b">")
        } {}
        match words[0] {
            "MULTI" => self.in_transaction = true,
            "EXEC" | "DISCARD" => self.in_transaction = false,
            _ => {}
        }
        if line == "QUIT" {
            assert!(speaker.is_closed().unwrap());
            self.clients[who] = None;
        }
        let deadline = Instant::now() + SOON;
        loop {
            self.listen(&mut seen);
            let so_far: Seen = seen.iter().map(|bytes| self.without_ids(bytes)).collect();
            let enough = expected.is_none_or(|expected| {
                so_far.iter().zip(expected).all(|(seen, expected)| seen.len() >= expected.len())
            });
            if enough || Instant::now() > deadline {
                return so_far;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What has come by now stands before the reply to one more command. CLIENT HELP leaves CLIENT CACHING
    /// alone, and nearside asks upstream for it: its reply comes behind what the server had to tell of
    /// the line. A client of RESP2 that is subscribed may say PING.
    fn listen(&mut self, seen: &mut Seen) {
        for (index, (client, seen)) in self.clients.iter_mut().zip(seen).enumerate() {
            let Some(client) = client.as_mut().filter(|_| index != 0 || !self.in_transaction) else {
                continue;
            };
            client.send(if index == 2 { &["PING", "that's all"] } else { &["CLIENT", "HELP"] }).unwrap();
            loop {
                let frame = client.receive_raw().unwrap();
                if frame.ends_with(b"that's all\r\n") || frame.windows(9).any(|part| part == b"+CLIENT <") {
                    break;
                }
                seen.extend_from_slice(&frame);
            }
        }
    }

    /// Ids differ between the two, and so may their length.
    fn without_ids(&self, bytes: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let named = self.ids.iter().enumerate();
        let text = named.fold(text, |text, (index, id)| {
            text.replace(&format!("\r\n:{id}\r\n"), &format!("\r\n:{{{index}}}\r\n"))
        });
        text.into_bytes()
    }
}

fn compare(scripts: &[Script], arguments: &[&str]) {
    for script in scripts {
        let plain = Standalone::launch(&[]).unwrap();
        let behind = Standalone::launch(&[]).unwrap();
        let url = format!("redis://{}", behind.server().address());
        // On a busy machine a heartbeat may be late, and clients that cache would be told of that.
        let daemon = Daemon::start(&[&["--upstream", &url, "--lease", "60s"], arguments].concat());
        daemon.until_tracked(1);
        let mut reference = Talk::new(|| plain.server().connect().unwrap());
        let mut talk = Talk::new(|| daemon.client());
        let shown = |seen: &Seen| -> Vec<String> {
            seen.iter().map(|bytes| bytes.escape_ascii().to_string()).collect()
        };
        for (who, line) in *script {
            let expected = reference.say(*who, line, None);
            if line.starts_with("HELLO") || line.ends_with("GETREDIR") {
                // The ids of clients are all there is to differ.
                talk.say(*who, line, None);
                continue;
            }
            let seen = talk.say(*who, line, Some(&expected));
            assert_eq!(shown(&seen), shown(&expected), "after client {who} said {line:?}");
        }
    }
}

#[test]
fn replies_and_errors_are_those_of_redis() {
    compare(&[ERRORS, UNTOLD], &[]);
}

#[test]
fn what_was_read_is_told_as_redis_tells_it() {
    compare(&[DEFAULT, CHOSEN, NO_LOOP, TRANSACTIONS], &[]);
}

#[test]
fn prefixes_and_redirects_are_served_as_by_redis() {
    compare(&[BROADCAST, REDIRECTED, SUBSCRIBED], &[]);
}

#[test]
fn several_workers_tell_the_same() {
    compare(&[CHOSEN, BROADCAST, REDIRECTED, TRANSACTIONS], &["--workers", "3"]);
}
