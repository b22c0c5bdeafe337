//! Namespaces: several applications share one upstream, and each sees a Redis of its own.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient, Standalone};
use tempfile::NamedTempFile;

use crate::support::daemon::{Daemon, run_to_end, upstream_url};
use crate::support::servers::{eventually, shared_cluster};

/// What is asked; `~` stands for a space inside an argument. All keys differ in their slots.
const REQUESTS: &[&str] = &[
    "SET a 1",
    "GET a",
    "GET a",
    "MSET b 2 c 3",
    "MGET a b c none",
    "RENAME a d",
    "RENAME none d",
    "COPY d e",
    "COPY d e",
    "SADD s 1 2",
    "SUNIONSTORE t s none",
    "SMEMBERS t",
    "RPUSH l 2 1",
    "BLPOP none l 1",
    "LMPOP 2 none l LEFT",
    "ZADD z 1 x 2 y",
    "BZPOPMIN none z 1",
    "ZMPOP 2 none z MIN",
    "XADD st 1-1 f v",
    "XREAD STREAMS none st 0 0",
    "XREADGROUP GROUP g c STREAMS st >",
    "XGROUP CREATE st g 0",
    "XREADGROUP GROUP g c STREAMS st >",
    "XREAD BLOCK 10 STREAMS st none $ $",
    "WATCH b c",
    "MULTI",
    "INCR b",
    "BLPOP none s 1",
    "RENAME c f",
    "EXEC",
    "XINFO GROUPS none",
    "OBJECT ENCODING b",
    "TYPE s",
    "EXISTS b f none b",
    "SELECT 3",
    "GET b",
    "SET b other",
    "SELECT 0",
    "GET b",
    "MOVE f 3",
    "MOVE f 3",
    "COPY b copied DB 3",
    "SELECT 3",
    "MGET b f copied",
    "SELECT 16",
    "MOVE b 0",
    "SELECT 0",
    "UNLINK b f s t",
    "KEYS nothing*",
    "SCAN 0 MATCH nothing* COUNT 1000000",
    "KEYS z*",
];

/// A cluster's daemon whose every client is in one namespace.
fn daemon_with(flags: &[&str]) -> Daemon {
    let upstream = upstream_url(shared_cluster());
    Daemon::start(&[&["--upstream", &upstream][..], flags].concat())
}

/// A daemon with two namespaces, of which one is pinned.
pub(crate) struct TwoNamespaces {
    pub(crate) daemon: Daemon,
    /// Their names, which no others have.
    pub(crate) names: [String; 2],
    socket: PathBuf,
    _file: NamedTempFile,
}

// === impl TwoNamespaces ===

impl TwoNamespaces {
    /// In front of `upstream`. Both have the setting `channels`.
    pub(crate) fn before(upstream: &str, channels: &str) -> TwoNamespaces {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let names = ["one", "two"].map(|name| format!("{name}{number}"));
        let file = NamedTempFile::with_suffix(".toml").unwrap();
        let socket = file.path().with_extension("sock");
        let text = format!(
            "upstream = '{upstream}'\nlisten = '127.0.0.1:0'\nunix = '{0}'\n\
             [[namespace]]\nname = '{1}'\nlisten = '127.0.0.1:0'\nchannels = '{channels}'\n\
             [[namespace]]\nname = '{2}'\nlisten = '{0}'\npin = true\nchannels = '{channels}'\n",
            socket.display(),
            names[0],
            names[1],
        );
        fs::write(file.path(), text).unwrap();
        let daemon = Daemon::start(&["--config", file.path().to_str().unwrap()]);
        TwoNamespaces { daemon, names, socket, _file: file }
    }

    /// A client of namespace `one`.
    pub(crate) fn one(&self) -> SandboxClient {
        self.daemon.client()
    }

    /// A client of namespace `two`, which is pinned.
    pub(crate) fn two(&self) -> SandboxClient {
        SandboxClient::connect(&Address::Unix(self.socket.clone())).unwrap()
    }
}

pub(crate) fn ask(client: &mut SandboxClient, request: &str) -> String {
    let words: Vec<String> = request.split(' ').map(|word| word.replace('~', " ")).collect();
    client.send(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    client.receive_raw().unwrap().escape_ascii().to_string()
}

#[test]
fn a_pinned_namespace_of_a_cluster_answers_as_a_plain_server() {
    let plain = Standalone::launch(&[]).unwrap();
    let daemon = daemon_with(&["--namespace", "pinned", "--pin"]);
    for version in [2, 3] {
        let mut sides = [plain.server().connect().unwrap(), daemon.client()];
        if version == 3 {
            sides.iter_mut().for_each(|side| drop(side.hello(3).unwrap()));
        }
        for request in REQUESTS {
            let [wanted, got] = sides.each_mut().map(|side| ask(side, request));
            assert_eq!(got, wanted, "{request} in RESP{version}");
        }
        for side in &mut sides {
            for key in ["a", "b", "c", "d", "e", "f", "s", "t", "l", "z", "st"] {
                ask(side, &format!("DEL {key}"));
            }
            ask(side, "SELECT 3");
            ask(side, "DEL b f copied");
        }
    }
}

#[test]
fn two_namespaces_of_one_cluster_do_not_see_each_other() {
    let both = TwoNamespaces::before(&upstream_url(shared_cluster()), "own");
    let (mut one, mut two) = (both.one(), both.two());
    let [first, second] = &both.names;
    let without = daemon_with(&[]);
    let mut direct = without.client();
    assert_eq!(ask(&mut one, "SET shared of-one"), "+OK\\r\\n");
    assert_eq!(ask(&mut two, "GET shared"), "$-1\\r\\n");
    assert_eq!(ask(&mut two, "SET shared of-two"), "+OK\\r\\n");
    for _ in 0..2 {
        assert_eq!(ask(&mut one, "GET shared"), "$6\\r\\nof-one\\r\\n");
        assert_eq!(ask(&mut two, "GET shared"), "$6\\r\\nof-two\\r\\n");
    }
    assert_eq!(ask(&mut direct, &format!("GET {first}:shared")), "$6\\r\\nof-one\\r\\n");
    assert_eq!(ask(&mut direct, &format!("GET {{{second}}}:shared")), "$6\\r\\nof-two\\r\\n");
    assert_eq!(ask(&mut two, "KEYS *"), "*1\\r\\n$6\\r\\nshared\\r\\n");
    assert!(ask(&mut one, "RENAME shared elsewhere").starts_with("-CROSSSLOT"));
    // A write from outside reaches L1 under the name that the servers have.
    assert_eq!(ask(&mut direct, &format!("SET {first}:shared changed")), "+OK\\r\\n");
    eventually("the change", Duration::from_secs(5), || {
        ask(&mut one, "GET shared") == "$7\\r\\nchanged\\r\\n"
    });
}

#[test]
fn databases_of_a_cluster_are_namespaces() {
    let daemon = daemon_with(&["--databases", "4"]);
    let mut client = daemon.client();
    ask(&mut client, "SET in-databases zero");
    assert_eq!(ask(&mut client, "SELECT 3"), "+OK\\r\\n");
    assert_eq!(ask(&mut client, "GET in-databases"), "$-1\\r\\n");
    ask(&mut client, "SET in-databases three");
    assert_eq!(ask(&mut client, "SELECT 0"), "+OK\\r\\n");
    assert_eq!(ask(&mut client, "GET in-databases"), "$4\\r\\nzero\\r\\n");
    assert_eq!(ask(&mut client, "GET db3:in-databases"), "$5\\r\\nthree\\r\\n");
    assert_eq!(ask(&mut client, "SELECT 4"), "-ERR DB index is out of range\\r\\n");
    assert_eq!(ask(&mut client, "SELECT 3"), "+OK\\r\\n");
    for request in ["MOVE in-databases 2", "COPY in-databases other DB 0"] {
        let error = ask(&mut client, request);
        assert!(error.starts_with("-ERR nearside: MOVE and COPY do not reach another database of a cluster"));
    }
    for request in [
        "redis.call('SELECT',1)",
        "redis.call('MOVE',KEYS[1],0)",
        "redis.call('COPY',KEYS[1],KEYS[1],'DB',2)",
    ] {
        let error = ask(&mut client, &format!("EVAL {request} 1 in-databases"));
        assert!(error.starts_with("-ERR nearside: a script does not reach another database"), "{error}");
    }
    let own = "EVAL redis.call('SELECT',3);return~redis.call('GET',KEYS[1]) 1 in-databases";
    assert_eq!(ask(&mut client, own), "$5\\r\\nthree\\r\\n");
    assert_eq!(
        ask(&mut client, "COPY in-databases other DB 3"),
        "-CROSSSLOT Keys in request don\\'t hash to the same slot\\r\\n"
    );
    assert_eq!(ask(&mut client, "GET in-databases"), "$5\\r\\nthree\\r\\n");
    assert!(ask(&mut client, "INFO keyspace").contains("db3:keys=1,"));
    assert_eq!(ask(&mut client, "FLUSHDB"), "+OK\\r\\n");
}

#[test]
fn faults_of_namespaces_are_reported_all_at_once() {
    let file = NamedTempFile::with_suffix(".toml").unwrap();
    let text = "upstream = 'redis-cluster://h'\nlisten = '127.0.0.1:0'\ndatabases = 3\n\
         [[namespace]]\nname = '{a}'\n[[namespace]]\nname = ''\n[[namespace]]\nname = 'x'\n\
         [[namespace]]\nname = 'y'\nlisten = '127.0.0.1:0'\n[[namespace]]\nname = 'y'\nlisten = '127.0.0.1:0'\n\
         [[namespace]]\nname = 'z'\nlisten = '127.0.0.1:9'\ndatabase = 1\n[[namespace]]\nname = 'w'\ndatabase = 1\n\
         [[namespace]]\nname = 'db2'\ndatabase = 16\nchannels = 'mine'\npinn = true\n[[namespace]]\ndatabase = 4\n";
    fs::write(file.path(), text).unwrap();
    let ended = run_to_end(&["--config", file.path().to_str().unwrap()]);
    assert!(!ended.status.success());
    let printed = ended.stderr;
    for wanted in [
        "namespace.name = \"{a}\"",
        "namespace.name = \"\"",
        "namespace.name = \"x\" (",
        "has no clients: give listen or database",
        "has a namespace of this name already",
        "namespace.listen = \"127.0.0.1:0\"",
        "namespace.listen = \"127.0.0.1:9\"",
        "namespace.database = \"1\"",
        "namespace.database = \"16\"",
        "namespace.channels = \"mine\"",
        "namespace.pinn",
        "did you mean pin?",
        "has a namespace db2, the name of database 2",
        "is not given",
    ] {
        assert!(printed.contains(wanted), "{wanted} is not in {printed}");
    }
}
