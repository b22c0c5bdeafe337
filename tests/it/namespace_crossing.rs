//! A namespace cannot be left: every command of the table, with generated arguments, finds nothing of the other
//! namespace, shows no prefix and changes nothing there.
//!
//! NEARSIDE_TEST_LARGE=1 asks much more, and something else each time: it prints its seed, and
//! NEARSIDE_TEST_SEED runs it again with that one.

use std::env;
use std::time::Duration;

use nearside::protocol::command::{self, Flags, Spec};
use nearside::sandbox::client::encode;
use nearside::sandbox::{Cluster, ClusterShape, SandboxClient, Standalone};

use crate::namespaces::{TwoNamespaces, ask};
use crate::support::daemon::upstream_url;

/// Part of all names and values of the other namespace. Nothing that is sent has it.
const SECRET: &str = "Okapi";

/// Commands that end the connection or silence it, that stop all clients for as long as an argument says, and
/// those that change what the others mean; transactions are made around commands instead.
const LEFT_OUT: &[&str] = &["quit", "client|reply", "client|pause", "hello", "multi", "exec", "discard"];

const OWN: &[&str] = &["s", "h", "l", "z", "set", "st", "{two}x", "none", "w", ""];

const PATTERNS: &[&str] = &[
    "*",
    "?*",
    "[a-zA-Z{]*",
    "*O*",
    "**",
    "\\*",
    "*->f",
    "w*",
    "__key*__:*",
    "__keyevent@*__:*",
    "__keyspace@0__:*",
];

const NUMBERS: &[&str] = &["0", "1", "2", "3", "-1", "16", "1000", "99999999999", "0.5", "nan"];

const OPTIONS: &[&str] = &[
    "BY",
    "GET",
    "STORE",
    "DB",
    "REPLACE",
    "MATCH",
    "COUNT",
    "TYPE",
    "LIMIT",
    "WEIGHTS",
    "AGGREGATE",
    "WITHSCORES",
    "STREAMS",
    "GROUP",
    "ID",
    "BCAST",
    "PREFIX",
    "REDIRECT",
    "ON",
    "OFF",
    "OPTIN",
    "KEYS",
    "LEFT",
    "MIN",
    "EX",
    "NX",
    "FULL",
    "ALL",
    "everything",
    "return redis.call('keys', '*')",
    "return redis.call('get', ARGV[1])",
    "return redis.call('scan', 0)",
    "+",
    "-",
    "$",
    ">",
    "(1",
    "[a",
    "f",
];

/// What is asked beside the generated requests; `OTHER` stands for the prefix of the other namespace.
const CHOSEN: &[&str] = &[
    "KEYS *",
    "SCAN 0 COUNT 1000",
    "RANDOMKEY",
    "SORT set BY OTHERknown* GET OTHERknown* GET #",
    "SORT set BY OTHERh->f GET OTHERh->*",
    "SORT_RO set GET *",
    "PSUBSCRIBE *",
    "PSUBSCRIBE __key*__:*",
    "SUBSCRIBE __keyevent@0__:set OTHERnews __keyspace@0__:OTHERnoise",
    "SSUBSCRIBE OTHERnews",
    "PUBSUB CHANNELS",
    "PUBSUB CHANNELS OTHER*",
    "PUBSUB SHARDCHANNELS",
    "PUBSUB NUMSUB OTHERnews",
    "CLIENT TRACKING ON BCAST",
    "CLIENT TRACKINGINFO",
    "CLIENT LIST",
    "MONITOR",
    "SLOWLOG GET -1",
    "INFO everything",
    "CONFIG GET *",
    "GET OTHERknown",
    "COPY OTHERknown s REPLACE",
    "RENAME OTHERknown s",
    "DEL OTHERknown",
    "NEARSIDE EXPLAIN OTHERknown",
    "NEARSIDE EXPLAIN s",
    "NEARSIDE FLUSH",
    "OBJECT ENCODING OTHERknown",
    "XREAD STREAMS OTHERst st 0 0",
    "XGROUP CREATE none g 0",
    "XREADGROUP GROUP none c STREAMS st >",
    "XINFO STREAM none",
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB 0 1",
    "MOVE s 3",
    "EVAL return{redis.call('keys','*'),redis.call('get','OTHERknown')} 0",
    "EVAL return_G.redis.call('get','OTHERknown') 0",
    "SELECT 3",
    "KEYS *",
    "DBSIZE",
    "SELECT 0",
];

/// What the other namespace has, in its databases 0 and 3.
const HIDDEN: &[&str] = &[
    "SET knownOkapi vOkapi",
    "SET known vOkapi",
    "HSET h f vOkapi Okapi 1",
    "RPUSH l vOkapi",
    "SADD set vOkapi",
    "ZADD z 1 vOkapi",
    "XADD st 1-1 f vOkapi",
    "XGROUP CREATE st gOkapi 0",
    "PFADD hllOkapi vOkapi",
];

const HIDDEN_KEYS: &[&str] = &["knownOkapi", "known", "h", "l", "set", "z", "st", "hllOkapi"];

/// What happens there meanwhile.
const NOISE: &[&str] = &[
    "SET noiseOkapi vOkapi",
    "PUBLISH newsOkapi vOkapi",
    "SPUBLISH newsOkapi vOkapi",
    "MULTI",
    "SET noise vOkapi",
    "EXEC",
    "GET noOkapi",
];

/// The client that tries to look and to reach into the other namespace.
struct Intruder<'a> {
    connect: &'a dyn Fn() -> SandboxClient,
    client: SandboxClient,
    /// The prefix of its own namespace, and that of the other one.
    own: String,
    other: String,
    asked: usize,
    /// How many replies were no errors, and how many pushes came.
    done: usize,
    pushed: usize,
    random: fastrand::Rng,
}

// === impl Intruder ===

impl Intruder<'_> {
    fn begin(&mut self) {
        self.client = (self.connect)();
        self.client.set_timeout(Duration::from_secs(2)).unwrap();
        self.client.hello(3).unwrap();
    }

    /// Sends requests, and looks at everything that comes until they have been answered.
    fn ask(&mut self, requests: &[Vec<String>]) {
        self.asked += 1;
        let mark = format!("mark-{}", self.asked);
        let mut bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        bytes.extend(encode(&["ECHO", &mark]));
        let end = format!("${}\r\n{mark}\r\n", mark.len());
        if self.client.send_raw(&bytes).is_err() {
            return self.begin();
        }
        loop {
            let Ok(said) = self.client.receive_raw() else { return self.begin() };
            let text = String::from_utf8_lossy(&said);
            let shown = || format!("{requests:?}: {}", text.escape_debug());
            assert!(!text.contains(SECRET), "a name or value of the other namespace: {}", shown());
            assert!(!text.contains(&self.own), "a prefix: {}", shown());
            self.done += usize::from(!text.starts_with('-'));
            self.pushed += usize::from(text.starts_with('>'));
            if said == end.as_bytes() {
                return;
            }
        }
    }

    fn chosen(&self, text: &str) -> Vec<String> {
        text.split(' ').map(|word| word.replace("OTHER", &self.other)).collect()
    }

    fn argument(&mut self, is_blocking: bool) -> String {
        let of = |random: &mut fastrand::Rng, pool: &[&str]| pool[random.usize(..pool.len())].to_owned();
        let random = &mut self.random;
        match random.u32(..20) {
            0..=6 => of(random, OWN),
            7..=9 => format!("{}{}", self.other, of(random, &["known", "h", "l", "set", "z", "st", "*", ""])),
            10..=11 => of(random, PATTERNS),
            12..=15 if is_blocking => "0.01".to_owned(),
            12..=15 => of(random, NUMBERS),
            _ => of(random, OPTIONS),
        }
    }

    fn generated(&mut self, spec: &Spec) -> Vec<String> {
        let mut request: Vec<String> = spec.name.split('|').map(str::to_owned).collect();
        let least = usize::from(spec.arity.unsigned_abs());
        let more = if self.random.bool() { 0 } else { self.random.usize(..5) };
        let is_blocking = spec.flags.has(Flags::BLOCKING);
        while request.len() < least + more {
            request.push(self.argument(is_blocking));
        }
        if is_blocking && !spec.name.starts_with("wait") && self.random.bool() {
            request.pop();
            request.push("0.01".to_owned());
        }
        request
    }
}

fn rows() -> Vec<&'static Spec> {
    let rows = command::all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    rows.filter(|spec| !LEFT_OUT.contains(&spec.name)).collect()
}

fn dumps(client: &mut SandboxClient) -> Vec<String> {
    let mut dumps = Vec::new();
    for database in ["SELECT 3", "SELECT 0"] {
        ask(client, database);
        dumps.extend(HIDDEN_KEYS.iter().map(|key| format!("{key}: {}", ask(client, &format!("DUMP {key}")))));
        dumps.push(ask(client, &format!("EXISTS {}", HIDDEN_KEYS.join(" "))));
    }
    dumps
}

/// Sends every command from a client of one namespace, while the other one is in use.
fn intrude(
    seed: u64,
    rounds: usize,
    prefixes: [String; 2],
    connect: &dyn Fn() -> SandboxClient,
    mut victim: SandboxClient,
) {
    // What is left of the other way round.
    ask(&mut victim, "FLUSHALL");
    ask(&mut connect(), "FLUSHALL");
    for database in ["SELECT 3", "SELECT 0"] {
        ask(&mut victim, database);
        for request in HIDDEN {
            let reply = ask(&mut victim, request);
            assert!(!reply.starts_with('-'), "{request}: {reply}");
        }
    }
    let before = dumps(&mut victim);
    assert!(before.iter().all(|dump| !dump.contains("$-1") && !dump.contains("-ERR")), "{before:?}");
    let [own, other] = prefixes;
    let random = fastrand::Rng::with_seed(seed);
    let mut intruder =
        Intruder { connect, client: connect(), own, other, asked: 0, done: 0, pushed: 0, random };
    intruder.begin();
    intruder.ask(&[vec!["CONFIG".into(), "SET".into(), "slowlog-log-slower-than".into(), "0".into()]]);
    let rows = rows();
    for _ in 0..rounds {
        let mut requests: Vec<Vec<String>> = CHOSEN.iter().map(|text| intruder.chosen(text)).collect();
        requests.extend(rows.iter().map(|spec| intruder.generated(spec)));
        intruder.random.shuffle(&mut requests);
        for (number, request) in requests.into_iter().enumerate() {
            if number % 16 == 0 {
                // Out of MONITOR and the like, with something to find.
                intruder.ask(&[vec!["RESET".into()], vec!["HELLO".into(), "3".into()]]);
                let fresh =
                    ["SET s 1", "HSET h f 1", "RPUSH l 1 2", "ZADD z 1 a", "SADD set a", "XADD st * f 1"];
                let fresh: Vec<Vec<String>> = fresh.iter().map(|text| intruder.chosen(text)).collect();
                intruder.ask(&fresh);
            }
            if number % 4 == 0 {
                NOISE.iter().for_each(|request| drop(ask(&mut victim, request)));
            }
            match intruder.random.u32(..5) {
                0 => intruder.ask(&[vec!["MULTI".into()], request, vec!["EXEC".into()]]),
                _ => intruder.ask(&[request]),
            }
        }
    }
    assert_eq!(dumps(&mut victim), before, "keys of the other namespace");
    let Intruder { asked, done, pushed, .. } = intruder;
    println!("{asked} asked, {done} answered without an error, {pushed} pushes");
    // Each is followed by an ECHO, which is one.
    assert!(done > asked * 5 / 4 && pushed > asked / 100, "{asked} asked, {done} done, {pushed} pushes");
}

fn both_ways(upstream: &str) {
    let seed = env::var("NEARSIDE_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let is_large = env::var_os("NEARSIDE_TEST_LARGE").is_some();
    let seed = seed.unwrap_or_else(|| if is_large { fastrand::u64(..) } else { 19 });
    println!("NEARSIDE_TEST_SEED={seed}");
    let rounds = if is_large { 60 } else { 2 };
    let both = TwoNamespaces::before(upstream, "own");
    let [one, two] = [format!("{}:", both.names[0]), format!("{{{}}}:", both.names[1])];
    intrude(seed, rounds, [one.clone(), two.clone()], &|| both.one(), both.two());
    intrude(seed, rounds, [two, one], &|| both.two(), both.one());
}

#[test]
fn no_command_leaves_its_namespace_in_front_of_a_cluster() {
    let shape = ClusterShape {
        primaries: 3,
        replicas_each: 0,
        extra_args: ["--notify-keyspace-events", "KEA"].map(str::to_owned).into(),
        ..ClusterShape::default()
    };
    let cluster = Cluster::launch(&shape).unwrap();
    both_ways(&upstream_url(&cluster));
}

#[test]
#[should_panic(expected = "a name or value of the other namespace")]
fn what_is_to_be_found_is_found() {
    let server = Standalone::launch(&["--notify-keyspace-events", "KEA"].map(str::to_owned)).unwrap();
    let both = TwoNamespaces::before(&format!("redis://{}", server.server().address()), "own");
    let prefixes = ["nothing".to_owned(), format!("{}:", both.names[1])];
    intrude(19, 1, prefixes, &|| both.one(), both.one());
}

#[test]
fn no_command_leaves_its_namespace_in_front_of_one_server() {
    let server = Standalone::launch(&["--notify-keyspace-events", "KEA"].map(str::to_owned)).unwrap();
    both_ways(&format!("redis://{}", server.server().address()));
}
