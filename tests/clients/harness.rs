//! Runs one program with a daemon of its own, in front of the shared cluster or of one server, and judges how
//! it ended.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, Standalone};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{sandbox, shared_cluster};

/// How long a program may take. It is there to end one that hangs; none needs more than a small part of it.
const LIMIT: Duration = Duration::from_secs(120);

/// A Redis as a program finds it.
struct Endpoint<'a> {
    address: &'a Address,
    unix_socket: &'a Path,
}

/// What a program works with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    /// nearside in front of the shared cluster. Frameworks are given their options for a cluster.
    Cluster,
    /// The same with two databases, but frameworks have their defaults.
    ClusterByDefault,
    /// nearside in front of a server of its own. Frameworks have their defaults.
    OneServer,
    /// nearside in front of the shared cluster, of which clients see a pinned namespace. Frameworks have their
    /// defaults.
    Pinned,
}

/// How a run ended.
pub(crate) struct Run {
    /// None: it was still running when its time was over.
    status: Option<ExitStatus>,
    pub(crate) output: String,
}

// === impl Run ===

impl Run {
    /// It ended well, and its last line says that it checked something.
    pub(crate) fn has_passed(&self) -> bool {
        let last = self.output.lines().last().unwrap_or_default();
        let checks = last.strip_prefix("passed: ").and_then(|rest| rest.strip_suffix(" checks"));
        self.status.is_some_and(|status| status.success())
            && checks.is_some_and(|checks| checks.parse::<u32>().is_ok_and(|checks| checks > 0))
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = match self.status {
            Some(status) => format!("{status}"),
            None => format!("not done after {LIMIT:?}"),
        };
        let _ = write!(text, ", output:\n{}", self.output);
        text
    }
}

/// What the script `setup` of this ecosystem prints: where its packages are. It installs them when they are
/// not there.
pub(crate) fn packages(ecosystem: &str) -> PathBuf {
    let output = Command::new(directory(ecosystem).join("setup")).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{ecosystem}/setup: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().into()
}

/// Where the programs of this ecosystem are.
pub(crate) fn directory(ecosystem: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(ecosystem)
}

/// Fails unless `program` passes in front of a cluster.
pub(crate) fn passes(program: Command) {
    passes_in(Setting::Cluster, program);
}

/// Fails unless what `program` makes passes where a framework needs no options for a cluster: in front of one
/// server, and in a pinned namespace of a cluster.
pub(crate) fn passes_by_default(program: impl Fn() -> Command) {
    let in_front_of_one_server = program();
    thread::scope(|scope| {
        let one_server = scope.spawn(|| passes_in(Setting::OneServer, in_front_of_one_server));
        passes_in(Setting::Pinned, program());
        one_server.join().unwrap();
    });
}

/// One that fails is run once more, against a plain Redis: whether it passes there says whose fault it is.
fn passes_in(setting: Setting, mut program: Command) {
    let run = run_in(setting, &mut program);
    if run.has_passed() {
        return;
    }
    let alone = run_alone(&Standalone::launch(&[]).unwrap(), &mut program);
    let alone = match alone.has_passed() {
        true => "against a plain Redis: passed".to_owned(),
        false => format!("against a plain Redis, too: {}", alone.describe()),
    };
    panic!("{program:?}\nagainst nearside ({setting:?}): {}\n{alone}", run.describe());
}

/// Runs `program` with a daemon. The program finds it by `NEARSIDE_HOST` and `NEARSIDE_PORT`, or by
/// `NEARSIDE_SOCKET`, and runs in an empty directory. Where `NEARSIDE_CLUSTER` is set, keys that meet in one
/// command get a hash tag.
pub(crate) fn run_in(setting: Setting, program: &mut Command) -> Run {
    let unix_socket = sandbox().make_directory().unwrap().join("nearside.sock");
    let start = |upstream: &str, nodes: usize, more: &[&str]| {
        let mut arguments = vec!["--upstream", upstream, "--unix", unix_socket.to_str().unwrap()];
        arguments.extend(more);
        let daemon = Daemon::start(&arguments);
        daemon.until_tracked(nodes);
        daemon
    };
    let start_on_cluster = |more: &[&str]| {
        let cluster = shared_cluster();
        start(&upstream_url(cluster), cluster.primaries().unwrap().len(), more)
    };
    let (daemon, _server) = match setting {
        Setting::Cluster => {
            program.env("NEARSIDE_CLUSTER", "yes");
            (start_on_cluster(&[]), None)
        }
        Setting::ClusterByDefault => (start_on_cluster(&["--databases", "2"]), None),
        Setting::Pinned => {
            static NAMES: AtomicU32 = AtomicU32::new(0);
            let name = format!("trial-{}", NAMES.fetch_add(1, Ordering::Relaxed));
            (start_on_cluster(&["--namespace", &name, "--pin"]), None)
        }
        Setting::OneServer => {
            let server = Standalone::launch(&[]).unwrap();
            (start(&format!("redis://{}", server.server().address()), 1, &[]), Some(server))
        }
    };
    let run = run_before(&daemon, &unix_socket, program);
    if run.has_passed() {
        daemon.stop();
    }
    run
}

/// Runs `program` with this daemon, which listens on this socket too.
pub(crate) fn run_before(daemon: &Daemon, unix_socket: &Path, program: &mut Command) -> Run {
    run(program, &Endpoint { address: daemon.address(), unix_socket })
}

/// Runs `program` without a daemon.
pub(crate) fn run_alone(redis: &Standalone, program: &mut Command) -> Run {
    let address = Address::from(redis.server().address());
    run(program, &Endpoint { address: &address, unix_socket: redis.unix_socket() })
}

fn run(program: &mut Command, endpoint: &Endpoint<'_>) -> Run {
    let directory = sandbox().make_directory().unwrap();
    let output = directory.join("output");
    let file = File::create(&output).unwrap();
    let Address::Tcp(tcp) = endpoint.address else { panic!("not over TCP: {:?}", endpoint.address) };
    let run = program
        .env("NEARSIDE_HOST", tcp.ip().to_string())
        .env("NEARSIDE_PORT", tcp.port().to_string())
        .env("NEARSIDE_SOCKET", endpoint.unix_socket)
        .current_dir(&directory)
        // Workers that it starts end with it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    let mut child = run.spawn().unwrap();
    sandbox().started(child.id()).unwrap();
    let group = Pid::from_child(&child);
    let deadline = Instant::now() + LIMIT;
    let mut status = None;
    while status.is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        status = child.try_wait().unwrap();
    }
    // Nobody may be left in it, which is the ordinary end.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
    sandbox().ended(child.id()).unwrap();
    Run { status, output: String::from_utf8_lossy(&fs::read(&output).unwrap()).into_owned() }
}
