//! Real servers for tests: one cluster that all share, and own ones for those that break theirs.

use std::env;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::directory::Sandbox;
use nearside::sandbox::{Cluster, ClusterShape, Node, SandboxClient};
use tokio::time::Instant;

/// The package that `scripts/fetch-valkey` takes the server from.
const VALKEY: &str = "valkey-9.1.2.post2";

/// Statics are never dropped: the reaper ends these servers when the process ends.
static SANDBOX: LazyLock<Arc<Sandbox>> = LazyLock::new(|| Arc::new(Sandbox::new().unwrap()));
static SHARED: LazyLock<Cluster> = LazyLock::new(|| Cluster::launch(&ClusterShape::default()).unwrap());

/// What is to be gone with this process, and a directory for its files.
pub(crate) fn sandbox() -> &'static Sandbox {
    &SANDBOX
}

/// A cluster for tests that neither break it nor flush it, and that keep to keys of their own.
pub(crate) fn shared_cluster() -> &'static Cluster {
    &SHARED
}

/// A cluster of its own for a test, with primaries alone.
pub(crate) fn own_primaries(primaries: usize) -> Cluster {
    Cluster::launch(&ClusterShape { primaries, replicas_each: 0, ..ClusterShape::default() }).unwrap()
}

/// The node that owns `key`.
pub(crate) fn owner<'a>(cluster: &'a Cluster, key: &[u8]) -> &'a Node {
    cluster.owner_of(Slot::of(key)).unwrap()
}

/// A conversation with the owner of `key`, past the daemon.
pub(crate) fn client_of_owner(cluster: &Cluster, key: &[u8]) -> SandboxClient {
    owner(cluster, key).server().connect().unwrap()
}

/// How many times longer than on a quick machine with nothing else to do anything may take: tests run side by
/// side, and on machines of all kinds.
const PATIENCE: u32 = 4;

/// Looks until `look` holds; fails the test when it does not within `limit` on a quick machine.
pub(crate) fn eventually(what: &str, limit: Duration, mut look: impl FnMut() -> bool) {
    let limit = limit * PATIENCE;
    let deadline = Instant::now() + limit;
    while !look() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The program of Valkey 9: where `scripts/fetch-valkey` has put it, unless another is named.
pub(crate) fn valkey_server() -> PathBuf {
    if let Some(named) = env::var_os("NEARSIDE_VALKEY_SERVER") {
        return PathBuf::from(named);
    }
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap();
    let program = cache.join("nearside").join(VALKEY).join("valkey-server");
    assert!(
        program.is_file(),
        "{} is not there: run `make setup-tests`, or name a valkey-server of version 9 in NEARSIDE_VALKEY_SERVER",
        program.display()
    );
    program
}
