//! Reads the Redis that an application uses today: INFO by an ordinary client, and MONITOR.
//!
//! MONITOR is read here, because the client's parser drops the arguments behind the first byte that is not
//! printable.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ServerConfig};
use fred::types::{Builder, ClusterHash, CustomCommand};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use super::observations::Observations;
use crate::config::UpstreamUrl;
use crate::protocol::resp::encode;

/// How long a connection and a reply may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of one line of MONITOR. A longer line is counted and not judged.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The Redis that is read.
pub(super) struct ObservedRedis<'a> {
    url: &'a UpstreamUrl,
}

// === impl ObservedRedis ===

impl ObservedRedis<'_> {
    pub(super) fn new(url: &UpstreamUrl) -> ObservedRedis<'_> {
        ObservedRedis { url }
    }

    /// Reads what the server has counted so far, and then each command for `duration`.
    pub(super) async fn read(&self, duration: Duration, seen: &mut Observations) -> io::Result<()> {
        let client = self.client().await?;
        let counted = info(&client, "commandstats").await?;
        counted.lines().for_each(|line| seen.take_line(line.as_bytes()));
        seen.take_keyspace(&info(&client, "keyspace").await?);
        if !duration.is_zero() {
            self.monitor(duration, seen).await?;
        }
        Ok(())
    }

    /// The host and port; the URL of one server has one.
    fn place(&self) -> io::Result<(&str, u16)> {
        match self.url.hosts.as_slice() {
            [(host, port)] => Ok((host, *port)),
            _ => Err(io::Error::other("one server is wanted")),
        }
    }

    async fn client(&self) -> io::Result<Client> {
        let (host, port) = self.place()?;
        let config = Config {
            server: ServerConfig::new_centralized(host, port),
            username: self.url.username.clone(),
            password: self.url.password.as_ref().map(|password| password.expose().to_owned()),
            ..Config::default()
        };
        let client = Builder::from_config(config)
            .with_connection_config(|connection| {
                connection.connection_timeout = PATIENCE;
                connection.internal_command_timeout = PATIENCE;
            })
            .build()
            .map_err(io::Error::other)?;
        client.init().await.map_err(io::Error::other)?;
        Ok(client)
    }

    /// Follows MONITOR until `duration` is over or the server ends it.
    async fn monitor(&self, duration: Duration, seen: &mut Observations) -> io::Result<()> {
        let mut stream = timeout(PATIENCE, TcpStream::connect(self.place()?)).await??;
        let mut requests = BytesMut::new();
        let mut awaited = 1;
        if let Some(password) = &self.url.password {
            let username = self.url.username.as_deref().into_iter();
            let words: Vec<&str> = ["AUTH"].into_iter().chain(username).chain([password.expose()]).collect();
            requests.extend_from_slice(&encode::request(&words));
            awaited += 1;
        }
        requests.extend_from_slice(&encode::request(&["MONITOR"]));
        timeout(PATIENCE, stream.write_all(&requests)).await??;
        let mut lines = FramedRead::new(stream, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
        for _ in 0..awaited {
            match timeout(PATIENCE, lines.next()).await? {
                Some(Ok(line)) if line == "+OK" => {}
                Some(Ok(line)) => return Err(io::Error::other(line.trim_start_matches('-').to_owned())),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let end = Instant::now() + duration;
        while let Ok(Some(line)) = timeout_at(end, lines.next()).await {
            match line {
                Ok(line) => seen.take_line(line.as_bytes()),
                // The rest of the line is passed over.
                Err(LinesCodecError::MaxLineLengthExceeded) => seen.note_unreadable(),
                Err(LinesCodecError::Io(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

async fn info(client: &Client, section: &str) -> io::Result<String> {
    let info = CustomCommand::new_static("INFO", ClusterHash::Random, false);
    client.custom(info, vec![section]).await.map_err(io::Error::other)
}
