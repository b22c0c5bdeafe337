//! A plain server, over TCP and a Unix socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::Sandbox;
use super::error::DevError;
use super::server::Server;

/// A server that is no part of a cluster.
#[derive(Debug)]
pub struct Standalone {
    server: Server,
    unix_socket: PathBuf,
}

// === impl Standalone ===

impl Standalone {
    /// Starts it, with these arguments on top (`["--requirepass", "secret"]`).
    pub fn launch(extra_args: &[String]) -> Result<Standalone, DevError> {
        Standalone::launch_program(None, extra_args)
    }

    /// Launches a plain server of this program, if one is named.
    pub fn launch_program(program: Option<&Path>, extra_args: &[String]) -> Result<Standalone, DevError> {
        let sandbox = Arc::new(Sandbox::new()?);
        let unix_socket = sandbox.path().join("redis.sock");
        let mut arguments = vec!["--unixsocket".to_owned(), unix_socket.display().to_string()];
        arguments.extend_from_slice(extra_args);
        Ok(Standalone { server: Server::launch_program(&sandbox, program, &arguments)?, unix_socket })
    }

    /// Its process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The path of its Unix socket.
    pub fn unix_socket(&self) -> &Path {
        &self.unix_socket
    }
}
