//! The servers of one family: a plain one, a cluster of the same program, and nearside in front of it.

use std::path::PathBuf;
use std::time::Duration;

use nearside::sandbox::{Cluster, ClusterShape, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::valkey_server;

/// Which server program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// The one that all other tests use too.
    Redis,
    /// Valkey 9.
    Valkey,
}

/// Who is compared.
pub(crate) struct Pair {
    plain: Standalone,
    daemon: Daemon,
    _cluster: Cluster,
}

/// How long a server may take for one command.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing is ever slow enough for these logs, which hold times and would fill at random.
const REDIS_ARGUMENTS: [&str; 2] = ["--slowlog-log-slower-than", "-1"];
const VALKEY_ARGUMENTS: [&str; 6] = [
    "--commandlog-execution-slower-than",
    "-1",
    "--commandlog-request-larger-than",
    "-1",
    "--commandlog-reply-larger-than",
    "-1",
];

// === impl Family ===

impl Family {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Redis => "Redis",
            Family::Valkey => "Valkey",
        }
    }

    /// The program to start; `None` is what [`Standalone::launch`] finds by itself.
    fn program(self) -> Option<PathBuf> {
        match self {
            Family::Redis => None,
            Family::Valkey => Some(valkey_server()),
        }
    }

    pub(crate) fn launch(self) -> Pair {
        let arguments: &[&str] = match self {
            Family::Redis => &REDIS_ARGUMENTS,
            Family::Valkey => &VALKEY_ARGUMENTS,
        };
        let arguments: Vec<String> = arguments.iter().copied().map(str::to_owned).collect();
        // A cluster has one database, and so nearside says that it is a Redis with one.
        let plain_arguments = [arguments.clone(), ["--databases", "1"].map(str::to_owned).to_vec()].concat();
        let program = self.program();
        let plain = Standalone::launch_program(program.as_deref(), &plain_arguments).unwrap();
        let cluster = Cluster::launch(&ClusterShape {
            primaries: 3,
            replicas_each: 0,
            extra_args: arguments,
            // PFSELFTEST takes a server seconds, in which it says nothing to the others.
            node_timeout: PATIENCE,
            program,
        })
        .unwrap();
        let (upstream, patience) = (upstream_url(&cluster), PATIENCE.as_secs().to_string() + "s");
        let mut arguments =
            vec!["--upstream", &upstream, "--upstream-request-timeout", &patience, "--deny-commands", ""];
        arguments.push("--slowlog-log-slower-than=-1");
        let daemon = Daemon::start(&arguments);
        daemon.until_tracked(3);
        Pair { plain, daemon, _cluster: cluster }
    }
}

// === impl Pair ===

impl Pair {
    /// A conversation with the plain server.
    pub(crate) fn plain(&self) -> SandboxClient {
        patient(self.plain.server().connect().unwrap())
    }

    /// A conversation with nearside.
    pub(crate) fn nearside(&self) -> SandboxClient {
        patient(self.daemon.client())
    }

    /// Fails if nearside has logged something that asks an operator to act, or never answered from memory.
    pub(crate) fn end(self) {
        assert!(self.daemon.counter("l1_hits") > 0, "nothing was answered from memory");
        self.daemon.assert_quiet();
        self.daemon.stop();
    }
}

fn patient(client: SandboxClient) -> SandboxClient {
    client.set_timeout(PATIENCE).unwrap();
    client
}
