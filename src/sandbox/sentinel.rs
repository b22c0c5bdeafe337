//! A primary and a replica, watched by three sentinels.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::directory::Sandbox;
use super::error::DevError;
use super::reply::Reply;
use super::server::Server;
use super::view::field;
use super::wait;

/// A Sentinel setup that fails over within a few seconds.
#[derive(Debug)]
pub struct Sentinel {
    /// What was started as the primary comes first.
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

/// The name that the sentinels know the primary by.
pub const SERVICE: &str = "nearside-dev";

const SENTINELS: usize = 3;

/// How long the sentinels may take to find each other, or to fail over.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

// === impl Sentinel ===

impl Sentinel {
    /// Starts all five, and returns once each sentinel knows the replica and the other sentinels.
    pub fn launch() -> Result<Sentinel, DevError> {
        let sandbox = Arc::new(Sandbox::new()?);
        let quick = ["--repl-diskless-sync-delay".to_owned(), "0".to_owned()];
        let primary = Server::launch(&sandbox, &quick)?;
        let (host, port) = (primary.address().ip(), primary.address().port());
        let mut arguments = quick.to_vec();
        arguments.extend(["--replicaof".to_owned(), format!("{host} {port}")]);
        let replica = Server::launch(&sandbox, &arguments)?;
        wait::until("the replica is connected", SETTLE_LIMIT, || {
            let status = field(&replica.command(&["INFO", "replication"])?.text(), "master_link_status");
            Ok(if status.as_deref() == Some("up") { Ok(()) } else { Err(format!("{status:?}")) })
        })?;
        let config = format!(
            "sentinel monitor {SERVICE} {host} {port} 2\n\
             sentinel down-after-milliseconds {SERVICE} 500\n\
             sentinel failover-timeout {SERVICE} 2000\n"
        );
        let sentinels = (0..SENTINELS).map(|_| Server::launch_sentinel(&sandbox, &config));
        let sentinels = sentinels.collect::<Result<Vec<_>, DevError>>()?;
        let all = Sentinel { servers: vec![primary, replica], sentinels };
        all.wait_until_stable()?;
        Ok(all)
    }

    /// The primary and the replica, in the order they were started.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// Where the first sentinel says the primary is now.
    pub fn primary_address(&self) -> Result<SocketAddr, DevError> {
        let sentinel = self.sentinels.first().ok_or_else(|| DevError::NoNode("is a sentinel".to_owned()))?;
        let reply = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE])?;
        let words: Vec<String> = reply.items().iter().map(Reply::text).collect();
        words.join(":").parse().map_err(|_| DevError::NoNode(format!("is the primary: {reply:?}")))
    }

    /// Waits until the first sentinel names another primary than `old`.
    pub fn wait_for_failover(&self, old: SocketAddr) -> Result<SocketAddr, DevError> {
        wait::until("the sentinels fail over", SETTLE_LIMIT, || {
            let now = self.primary_address()?;
            Ok(if now == old { Err(format!("still {old}")) } else { Ok(now) })
        })
    }

    fn wait_until_stable(&self) -> Result<(), DevError> {
        let wanted =
            format!("status=ok,address={},slaves=1,sentinels={SENTINELS}", self.servers[0].address());
        wait::until("the sentinels know each other and the replica", SETTLE_LIMIT, || {
            for sentinel in &self.sentinels {
                let seen =
                    field(&sentinel.command(&["INFO", "sentinel"])?.text(), "master0").unwrap_or_default();
                if !seen.ends_with(&wanted) {
                    return Ok(Err(seen));
                }
            }
            Ok(Ok(()))
        })
    }
}
