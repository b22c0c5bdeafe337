//! `nearside dev`: starts a throwaway cluster of real servers and the daemon in front of it, and shows live
//! what the daemon does.
//!
//! This is the only room that knows both the daemon and the sandbox: what serves clients can never reach a
//! throwaway server.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::thread;

use crate::config::{Config, ConfigErrors, Key, Sources};
use crate::daemon::{Daemon, DaemonError};
use crate::drain::Drain;
use crate::memory::Allocator;
use crate::sandbox::{Cluster, ClusterShape, DevError, show};

/// Why the demonstration did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The cluster did not start, or a step did not hold.
    #[error(transparent)]
    Dev(#[from] DevError),
    /// The daemon did not start.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(ConfigErrors),
    /// There is no TCP address to show anything at.
    #[error("dev needs a TCP address to listen on")]
    NoAddress,
    /// The terminal failed.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// Starts the cluster and the daemon, shows the main job on `out`, and serves until a signal.
///
/// # Errors
/// Something did not start, or a step of the demonstration did not hold.
pub fn dev(
    flags: Vec<(&'static Key, String)>,
    mut out: impl Write + Send + 'static,
    allocator: Allocator,
) -> Result<(), ShowError> {
    writeln!(out, "Starting three primaries and three replicas ...")?;
    let cluster = Cluster::launch(&ClusterShape::default())?;
    let sources = sources(flags, &cluster);
    let config = Config::load(&sources).map_err(ShowError::Config)?;
    // In a namespace the key has another name on the cluster.
    let prefix = config.namespaces.prefixes().into_iter().next().unwrap_or_default();
    let prefix = String::from_utf8_lossy(&prefix).into_owned();
    let daemon = Daemon::start(&config, allocator)?;
    let address = daemon.addresses().first().copied().ok_or(ShowError::NoAddress)?;
    let drain = daemon.drain();
    let showing = thread::spawn(move || present(out, address, &cluster, &prefix, &drain).map(|()| cluster));
    daemon.run(sources)?;
    // The cluster goes only after the daemon.
    showing.join().map_err(|_| io::Error::other("the demonstration panicked"))?.map(drop)
}

/// Shows, and ends the daemon if a step does not hold.
fn present(
    mut out: impl Write,
    address: SocketAddr,
    cluster: &Cluster,
    prefix: &str,
    drain: &Drain,
) -> Result<(), ShowError> {
    let shown = show::show(&mut out, address, cluster, prefix);
    if shown.is_err() && !drain.has_begun() {
        drain.begin();
    }
    Ok(shown?)
}

fn sources(mut flags: Vec<(&'static Key, String)>, cluster: &Cluster) -> Sources {
    let url = format!("redis-cluster://{}", cluster.addresses());
    flags.extend(Key::named("upstream").map(|key| (key, url)));
    Sources { flags, ..Sources::default() }
}
