//! The settings in which the suite compares: what nearside stands in front of, and what may differ there. A new
//! setting is one row.

use std::time::Duration;

use nearside::protocol::command::{Class, Flags, ScriptAction, Spec};
use nearside::sandbox::{Cluster, ClusterShape, Standalone};

use crate::differences::{Difference, EVERYWHERE, IN_CLUSTER, IN_NAMESPACE};
use crate::family::Family;
use crate::support::daemon::upstream_url;

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// What a fault and `NEARSIDE_TEST_SETTING` call it.
    pub(crate) name: &'static str,
    /// What is behind nearside.
    behind: Behind,
    /// Options of nearside.
    pub(crate) options: &'static [&'static str],
    /// Databases of the plain server, and of nearside's clients.
    pub(crate) databases: u32,
    /// Differences that are allowed, in the order in which they are tried.
    pub(crate) allowed: &'static [&'static [Difference]],
    /// Requests of each row in each version of the protocol, in the small run.
    pub(crate) turns: usize,
}

/// What nearside stands in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Cluster,
    OneServer,
}

/// Servers behind nearside, for as long as this lives.
#[derive(Debug)]
#[expect(dead_code, reason = "a guard: the servers end with it")]
pub(crate) enum Servers {
    Cluster(Cluster),
    OneServer(Standalone),
}

/// A transaction may have keys of several slots.
const PER_SLOT: &[&str] = &["--transactions", "per_slot"];

/// A namespace of a cluster, whose keys lie in many slots.
const NAMESPACE: &[&str] = &["--namespace", "app"];

/// A namespace of a cluster that lies in one slot.
const PINNED: &[&str] = &["--namespace", "app", "--pin"];

/// All settings.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "cluster",
        behind: Behind::Cluster,
        options: &[],
        databases: 1,
        allowed: &[EVERYWHERE, IN_CLUSTER],
        turns: 8,
    },
    Setting {
        name: "one server",
        behind: Behind::OneServer,
        options: &[],
        databases: 16,
        allowed: &[EVERYWHERE],
        turns: 4,
    },
    Setting {
        name: "per_slot",
        behind: Behind::Cluster,
        options: PER_SLOT,
        databases: 1,
        allowed: &[EVERYWHERE, IN_CLUSTER],
        turns: 4,
    },
    Setting {
        name: "namespace",
        behind: Behind::Cluster,
        options: NAMESPACE,
        databases: 16,
        allowed: &[EVERYWHERE, IN_NAMESPACE, IN_CLUSTER],
        turns: 4,
    },
    Setting {
        name: "pinned namespace",
        behind: Behind::Cluster,
        options: PINNED,
        databases: 16,
        allowed: &[EVERYWHERE, IN_NAMESPACE],
        turns: 4,
    },
];

const PRIMARIES: usize = 3;

// === impl Setting ===

impl Setting {
    /// Whether nearside stands in front of a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.behind == Behind::Cluster
    }

    /// Whether keys of different slots may not meet in one command.
    pub(crate) fn has_slots(&self) -> bool {
        self.is_cluster() && self.options != PINNED
    }

    /// Whether nearside's clients are in a namespace.
    pub(crate) fn is_namespace(&self) -> bool {
        self.options.starts_with(NAMESPACE)
    }

    /// Whether a namespace refuses a command, because it acts on what all namespaces share.
    pub(crate) fn refuses(&self, spec: &Spec) -> bool {
        let is_function = matches!(spec.class, Class::Script(ScriptAction::Function));
        self.is_namespace() && (spec.flags.has(Flags::SHARED) || is_function)
    }

    /// Whether a conversation that is written down asks for nothing that a namespace refuses, and for no reply
    /// that is another one there: FLUSHALL tells a client that tracks keys of those that were there.
    pub(crate) fn can_hold(&self, requests: &[&str]) -> bool {
        let has = |names: &[&str]| {
            requests.iter().any(|request| names.iter().any(|name| request.starts_with(name)))
        };
        let is_refused = has(&["SWAPDB", "FUNCTION", "FCALL"])
            || has(&["MULTI"]) && has(&["SELECT", "MOVE", "DBSIZE", "FLUSH", "RANDOMKEY"])
            || has(&["CLIENT TRACKING"]) && has(&["FLUSH"]);
        !self.is_namespace() || !is_refused
    }

    /// Whether a transaction may have keys of several slots of a cluster, if nothing is watched.
    pub(crate) fn is_per_slot(&self) -> bool {
        self.options == PER_SLOT
    }

    /// Nodes that nearside follows.
    pub(crate) fn nodes(&self) -> usize {
        if self.is_cluster() { PRIMARIES } else { 1 }
    }

    /// All differences that are allowed.
    pub(crate) fn differences(&self) -> impl Iterator<Item = &'static Difference> {
        self.allowed.iter().copied().flatten()
    }

    /// Starts the servers behind nearside; returns them and their URL. A server may take `patience` for one
    /// command.
    pub(crate) fn launch(
        &self,
        family: Family,
        arguments: Vec<String>,
        patience: Duration,
    ) -> (Servers, String) {
        let program = family.program();
        match self.behind {
            Behind::Cluster => {
                let cluster = Cluster::launch(&ClusterShape {
                    primaries: PRIMARIES,
                    replicas_each: 0,
                    extra_args: arguments,
                    // PFSELFTEST takes a server seconds, in which it says nothing to the others.
                    node_timeout: patience,
                    program,
                })
                .unwrap();
                let url = upstream_url(&cluster);
                (Servers::Cluster(cluster), url)
            }
            Behind::OneServer => {
                let arguments = [arguments, with_databases(self.databases)].concat();
                let server = Standalone::launch_program(program.as_deref(), &arguments).unwrap();
                let url = format!("redis://{}", server.server().address());
                (Servers::OneServer(server), url)
            }
        }
    }
}

/// The arguments that give a server this number of databases.
pub(crate) fn with_databases(databases: u32) -> Vec<String> {
    vec!["--databases".to_owned(), databases.to_string()]
}
