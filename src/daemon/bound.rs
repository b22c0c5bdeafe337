//! The sockets that clients connect to: bound before anything is served, and what the operator should know of
//! them.

use std::io;
use std::net::SocketAddr;

use socket2::Socket;

use crate::config::{Config, SettingValues};
use crate::net::listener::{tcp, unix};

/// The bound sockets.
pub(super) struct Bound {
    /// For each worker, its listener on each address.
    pub(super) tcp: Vec<Vec<Socket>>,
    /// The TCP addresses, with the ports that the kernel chose.
    pub(super) addresses: Vec<SocketAddr>,
    /// The Unix socket, behind its path.
    pub(super) unix: Option<(unix::SocketPath, Socket)>,
}

/// Binds every socket of the configuration, for each worker.
pub(super) fn bind(values: &SettingValues) -> io::Result<Bound> {
    let (workers, backlog) = (values.workers, values.listen_backlog as u32);
    let mut tcp: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for address in &values.listen {
        let listeners = tcp::bind(*address, workers, backlog)?;
        let bound = listeners.first().map(Socket::local_addr).transpose()?;
        addresses.extend(bound.and_then(|bound| bound.as_socket()));
        for (worker, listener) in tcp.iter_mut().zip(listeners) {
            worker.push(listener);
        }
    }
    let unix = values.unix.as_ref().map(|path| unix::bind(path, values.unix_mode, backlog)).transpose()?;
    Ok(Bound { tcp, addresses, unix })
}

/// Warns of clients that may do too much or nothing.
pub(super) fn warn(config: &Config, tcp: &[SocketAddr]) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.values.password_file.is_some() {
        return;
    }
    for address in tcp.iter().filter(|address| !address.ip().to_canonical().is_loopback()) {
        match config.values.allow_remote {
            true => tracing::warn!(
                %address,
                "every client that reaches this address may do everything with the data: there is no password (password_file), and \
                 allow_remote is true"
            ),
            false => tracing::warn!(
                %address,
                "clients of other machines will be refused: set password_file, or allow_remote if nobody can reach this \
                 address who should not"
            ),
        }
    }
}

/// Logs each address with the upstream behind it.
pub(super) fn announce(tcp: &[SocketAddr], values: &SettingValues) {
    let upstream = values.upstream.to_string();
    for address in tcp {
        tracing::info!(address = %address, upstream, "listening");
    }
    if let Some(path) = &values.unix {
        tracing::info!(address = %path.display(), upstream, "listening");
    }
}
