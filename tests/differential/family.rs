//! The servers of one family: a plain one, those of a setting with the same program, and nearside in front of
//! them.

use std::path::PathBuf;
use std::time::Duration;

use nearside::sandbox::{SandboxClient, Standalone};

use crate::settings::{Servers, Setting, with_databases};
use crate::support::daemon::Daemon;
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
    /// The setting of nearside.
    pub(crate) setting: &'static Setting,
    plain: Standalone,
    daemon: Daemon,
    _servers: Servers,
}

/// How long a server may take for one command.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing is ever slow enough for these logs, which hold times and would fill at random.
const REDIS_ARGUMENTS: [&str; 4] = ["--slowlog-log-slower-than", "-1", "--enable-debug-command", "yes"];
const VALKEY_ARGUMENTS: [&str; 8] = [
    "--enable-debug-command",
    "yes",
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
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Family::Redis => None,
            Family::Valkey => Some(valkey_server()),
        }
    }

    pub(crate) fn launch(self, setting: &'static Setting) -> Pair {
        let arguments: &[&str] = match self {
            Family::Redis => &REDIS_ARGUMENTS,
            Family::Valkey => &VALKEY_ARGUMENTS,
        };
        let arguments: Vec<String> = arguments.iter().copied().map(str::to_owned).collect();
        let plain_arguments = [arguments.clone(), with_databases(setting.databases)].concat();
        let plain = Standalone::launch_program(self.program().as_deref(), &plain_arguments).unwrap();
        let (servers, upstream) = setting.launch(self, arguments, PATIENCE);
        let patience = PATIENCE.as_secs().to_string() + "s";
        let mut arguments =
            vec!["--upstream", &upstream, "--upstream-request-timeout", &patience, "--deny-commands", ""];
        arguments.push("--slowlog-log-slower-than=-1");
        arguments.extend_from_slice(setting.options);
        let daemon = Daemon::start(&arguments);
        daemon.until_tracked(setting.nodes());
        Pair { setting, plain, daemon, _servers: servers }
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
