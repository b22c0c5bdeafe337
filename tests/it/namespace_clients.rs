//! What clients of a namespace see of each other: invalidations, MONITOR, the slow log and CLIENT LIST are about
//! their own namespace, with the names that they know.

use std::fs;
use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient, Standalone};
use tempfile::NamedTempFile;

use crate::namespaces::{TwoNamespaces, ask};
use crate::pubsub::assert_silent;
use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, shared_cluster};

const SOON: Duration = Duration::from_secs(5);

/// A client that gets pushes between its replies.
struct Cacher {
    client: SandboxClient,
    pushes: Vec<String>,
}

// === impl Cacher ===

impl Cacher {
    fn new(mut client: SandboxClient) -> Cacher {
        client.hello(3).unwrap();
        Cacher { client, pushes: Vec::new() }
    }

    fn ask(&mut self, request: &str) -> String {
        self.client.send(&request.split(' ').collect::<Vec<_>>()).unwrap();
        loop {
            let said = self.client.receive_raw().unwrap().escape_ascii().to_string();
            assert!(!said.contains("one") && !said.contains("two"), "{request}: {said}");
            if !said.starts_with('>') {
                return said;
            }
            self.pushes.push(said);
        }
    }

    /// Does `change` until the invalidation of `name` comes.
    fn until_invalid(&mut self, name: &str, mut change: impl FnMut(&mut Cacher)) {
        let wanted = format!(">2\\r\\n$10\\r\\ninvalidate\\r\\n*1\\r\\n${}\\r\\n{name}\\r\\n", name.len());
        eventually(name, SOON, || {
            change(self);
            self.ask("PING");
            let pushes = std::mem::take(&mut self.pushes);
            assert!(pushes.iter().all(|push| !push.contains("strange")), "{pushes:?}");
            pushes.contains(&wanted)
        });
    }
}

fn tracked(upstream: &str) {
    let both = TwoNamespaces::before(upstream, "own");
    let clients: [[SandboxClient; 5]; 2] = [
        [both.one(), both.one(), both.one(), both.one(), both.two()],
        [both.two(), both.two(), both.two(), both.two(), both.one()],
    ];
    for [cacher, mut writer, mut redirecting, mut target, mut stranger] in clients {
        let mut cacher = Cacher::new(cacher);
        assert_eq!(cacher.ask("CLIENT TRACKING ON"), "+OK\\r\\n");
        cacher.until_invalid("tracked", |cacher| {
            cacher.ask("MGET tracked strange");
            ask(&mut stranger, "MSET tracked 2 strange 2");
            ask(&mut writer, "SET tracked 3");
        });
        // What was read in one database is invalid in another one too.
        ask(&mut writer, "SELECT 3");
        cacher.until_invalid("third", |cacher| {
            cacher.ask("SELECT 3");
            cacher.ask("GET third");
            cacher.ask("SELECT 0");
            ask(&mut writer, "SET third 1");
        });
        cacher.ask("CLIENT TRACKING OFF");
        assert_eq!(cacher.ask("CLIENT TRACKING ON BCAST PREFIX user: PREFIX x"), "+OK\\r\\n");
        ask(&mut stranger, "MSET user:strange 1 x:strange 2");
        cacher.until_invalid("user:1", |_| {
            ask(&mut writer, "MSET strange 1 user:1 1");
        });
        ask(&mut writer, "SELECT 0");
        cacher.until_invalid("x", |_| drop(ask(&mut writer, "SET x 1")));
        let overlapping = cacher.ask("CLIENT TRACKING ON BCAST PREFIX user");
        let wanted = "-ERR Prefix 'user' overlaps with an existing prefix 'user:'. Prefixes for a single client must \
                      not overlap.\\r\\n";
        assert_eq!(overlapping.replace('\\', ""), wanted.replace('\\', ""));
        let info = cacher.ask("CLIENT TRACKINGINFO");
        assert!(info.ends_with("prefixes\\r\\n*2\\r\\n$5\\r\\nuser:\\r\\n$1\\r\\nx\\r\\n"), "{info}");
        cacher.ask("CLIENT TRACKING OFF");
        cacher.ask("CLIENT TRACKING ON BCAST NOLOOP");
        cacher.until_invalid("anything", |_| drop(ask(&mut writer, "SET anything 1")));

        let id =
            ask(&mut target, "CLIENT ID").trim_matches(|letter: char| !letter.is_ascii_digit()).to_owned();
        let redirect = format!("CLIENT TRACKING ON REDIRECT {id}");
        let refused = "-ERR The client ID you want redirect to does not exist\\r\\n";
        assert_eq!(ask(&mut stranger, &redirect), refused);
        assert_eq!(ask(&mut redirecting, &redirect), "+OK\\r\\n");
        ask(&mut target, "SUBSCRIBE __redis__:invalidate");
        let wanted =
            "*3\\r\\n$7\\r\\nmessage\\r\\n$20\\r\\n__redis__:invalidate\\r\\n*1\\r\\n$5\\r\\nthere\\r\\n";
        target.set_timeout(Duration::from_millis(100)).unwrap();
        eventually("the message", SOON, || {
            ask(&mut redirecting, "GET there");
            ask(&mut writer, "SET there 1");
            target.receive_raw().is_ok_and(|said| said.escape_ascii().to_string() == wanted)
        });
    }
}

#[test]
fn invalidations_have_the_names_of_the_client() {
    tracked(&upstream_url(shared_cluster()));
    let server = Standalone::launch(&[]).unwrap();
    tracked(&format!("redis://{}", server.server().address()));
}

#[test]
fn databases_that_are_namespaces_are_tracked_as_databases() {
    let upstream = upstream_url(shared_cluster());
    let daemon = Daemon::start(&["--upstream", &upstream, "--databases", "3"]);
    let (mut cacher, mut writer) = (Cacher::new(daemon.client()), daemon.client());
    for mode in ["CLIENT TRACKING ON", "CLIENT TRACKING ON BCAST PREFIX numbered"] {
        assert_eq!(cacher.ask(mode), "+OK\\r\\n");
        for database in ["SELECT 2", "SELECT 0"] {
            ask(&mut writer, database);
            cacher.until_invalid("numbered", |cacher| {
                cacher.ask(database);
                cacher.ask("GET numbered");
                cacher.ask("SELECT 1");
                ask(&mut writer, "SET numbered 1");
            });
        }
        cacher.ask("CLIENT TRACKING OFF");
    }
}

const SHOWN: &[&str] = &[
    "SET k v",
    "GET k",
    "GET k",
    "MULTI",
    "SET k 1",
    "COPY k l DB 4",
    "SORT k BY w_* GET o_*",
    "PING",
    "EXEC",
    "SELECT 3",
    "SET l 1",
    "MULTI",
    "RENAME l k",
    "GET k",
    "EXEC",
    "MOVE k 4",
    "SCAN 0 MATCH x*",
    "PUBLISH c m",
    "BLPOP none 0.01",
];

/// The lines of `monitor` up to the command `end`, without times and addresses.
fn lines(monitor: &mut SandboxClient) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = monitor.receive().unwrap().text();
        let (time, line) = line.split_once(" [").unwrap();
        assert!(time.contains('.'), "{time}");
        let (database, line) = line.split_once(' ').unwrap();
        let (_, line) = line.split_once("] ").unwrap();
        if line == "\"ECHO\" \"end\"" {
            return lines;
        }
        lines.push(format!("{database} {line}"));
    }
}

fn begin(mut monitor: SandboxClient) -> SandboxClient {
    assert!(monitor.command(&["MONITOR"]).unwrap().is_ok());
    monitor
}

#[test]
fn monitor_shows_what_clients_of_the_namespace_sent() {
    let plain = Standalone::launch(&[]).unwrap();
    let (mut client, mut monitor) =
        (plain.server().connect().unwrap(), begin(plain.server().connect().unwrap()));
    SHOWN.iter().for_each(|request| drop(ask(&mut client, request)));
    ask(&mut client, "ECHO end");
    let wanted = lines(&mut monitor);
    let both = TwoNamespaces::before(&upstream_url(shared_cluster()), "own");
    let (mut two, mut stranger) = (both.two(), both.one());
    let mut monitors = [begin(both.two()), begin(both.one())];
    SHOWN.iter().for_each(|request| drop(ask(&mut two, request)));
    ask(&mut stranger, "GET strange");
    ask(&mut stranger, "ECHO end");
    ask(&mut two, "ECHO end");
    let [of_two, of_one] = monitors.each_mut().map(lines);
    assert_eq!(of_two, wanted);
    assert_eq!(of_one, ["0 \"GET\" \"strange\""]);
    monitors.iter_mut().for_each(assert_silent);
}

#[test]
fn a_client_in_no_namespace_sees_the_requests_and_clients_of_all() {
    let file = NamedTempFile::with_suffix(".toml").unwrap();
    let socket = file.path().with_extension("sock");
    let text = format!(
        "upstream = '{}'\nlisten = '127.0.0.1:0'\nunix = '{1}'\n[[namespace]]\nname = 'app'\nlisten = '{1}'\n",
        upstream_url(shared_cluster()),
        socket.display(),
    );
    fs::write(file.path(), text).unwrap();
    let daemon = Daemon::start(&["--config", file.path().to_str().unwrap()]);
    let mut inside = SandboxClient::connect(&Address::Unix(socket)).unwrap();
    let (mut monitor, mut outside) = (begin(daemon.client()), daemon.client());
    ask(&mut inside, "GET seen");
    ask(&mut inside, "ECHO end");
    assert_eq!(lines(&mut monitor), ["0 \"GET\" \"seen\""]);
    let listed = |client: &mut SandboxClient| ask(client, "CLIENT LIST").matches("id=").count();
    assert_eq!((listed(&mut inside), listed(&mut outside)), (1, 3));
    let ids: Vec<String> = [&mut inside, &mut outside].map(|client| ask(client, "CLIENT ID")).into();
    let ids: Vec<&str> =
        ids.iter().map(|id| id.trim_matches(|letter: char| !letter.is_ascii_digit())).collect();
    assert_eq!(ask(&mut inside, &format!("CLIENT KILL ID {}", ids[1])), ":0\\r\\n");
    assert_eq!(ask(&mut inside, &format!("CLIENT UNBLOCK {}", ids[1])), ":0\\r\\n");
    assert_eq!(ask(&mut outside, &format!("CLIENT KILL ID {}", ids[0])), ":1\\r\\n");
}

#[test]
fn the_slow_log_has_the_commands_of_the_namespace() {
    let both = TwoNamespaces::before(&upstream_url(shared_cluster()), "own");
    let (mut one, mut two) = (both.one(), both.two());
    ask(&mut one, "CONFIG SET slowlog-log-slower-than 0");
    ask(&mut one, "SLOWLOG RESET");
    ask(&mut one, "GET of-one");
    ask(&mut two, "SORT of-two BY w_*");
    let shown = ask(&mut two, "SLOWLOG GET");
    assert!(shown.contains("of-two") && shown.contains("w_*"), "{shown}");
    assert!(!shown.contains("{two") && !shown.contains("of-one"), "{shown}");
    ask(&mut two, "SLOWLOG RESET");
    let shown = ask(&mut two, "SLOWLOG GET -1");
    assert!(!shown.contains("of-two"), "{shown}");
    let shown = ask(&mut one, "SLOWLOG GET");
    assert!(shown.contains("of-one") && !shown.contains("of-two"), "{shown}");
    ask(&mut one, "CONFIG SET slowlog-log-slower-than -1");
}
