//! The application of the demonstration: an ordinary client library that knows nothing of nearside.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::{Config, ServerConfig};
use fred::types::{Builder, ClusterHash, CustomCommand};
use tokio::runtime::{self, Runtime};

/// How long it waits for a connection and for each reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// An application, connected.
pub(super) struct Application {
    runtime: Runtime,
    client: Client,
}

// === impl Application ===

impl Application {
    /// Connects to whatever listens there.
    pub(super) fn connect(address: SocketAddr) -> io::Result<Application> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let server = ServerConfig::new_centralized(address.ip().to_string(), address.port());
        let client = Builder::from_config(Config { server, ..Config::default() })
            .with_connection_config(|connection| {
                connection.connection_timeout = PATIENCE;
                connection.internal_command_timeout = PATIENCE;
            })
            .build()
            .map_err(io::Error::other)?;
        runtime.block_on(client.init()).map_err(io::Error::other)?;
        Ok(Application { runtime, client })
    }

    /// The value of `key`, if it has one.
    pub(super) fn get(&self, key: &str) -> io::Result<Option<String>> {
        self.runtime.block_on(self.client.get(key)).map_err(io::Error::other)
    }

    /// A section of INFO.
    pub(super) fn info(&self, section: &str) -> io::Result<String> {
        let info = CustomCommand::new_static("INFO", ClusterHash::Random, false);
        self.runtime.block_on(self.client.custom(info, vec![section])).map_err(io::Error::other)
    }
}
