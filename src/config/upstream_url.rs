//! The URL of the upstream: which kind of Redis it is, where it is reached, and as whom.

use std::fmt;
use std::path::PathBuf;

use super::secret::Secret;
use super::value::host_port;

/// Where the upstream is and how to log in there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// What kind of Redis it is.
    pub kind: UpstreamKind,
    /// The hosts to ask first; none for a Unix socket, one for a standalone Redis.
    pub hosts: Vec<(String, u16)>,
    /// The user to log in as; the default user when there is a password alone.
    pub username: Option<String>,
    /// The password; without one there is no login.
    pub password: Option<Secret>,
    /// The database in which clients begin.
    pub database: u32,
}

/// The kinds of upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UpstreamKind {
    /// A Redis or Valkey Cluster; the hosts are some of its nodes.
    Cluster,
    /// A single Redis.
    #[default]
    Standalone,
    /// A single Redis that Sentinels watch; the hosts are Sentinels.
    Sentinel {
        /// The name that the Sentinels know it by.
        service: String,
    },
    /// A single Redis on a Unix socket.
    Unix(PathBuf),
}

const FORMS: &str = "redis-cluster://HOST:PORT,HOST:PORT, redis://HOST:PORT, \
                     redis-sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+unix:///PATH is wanted";

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

// === impl UpstreamUrl ===

impl UpstreamUrl {
    /// Reads a URL; the error says what is wrong with it or what is allowed.
    pub fn parse(text: &str) -> Result<UpstreamUrl, String> {
        let (scheme, rest) = text.split_once("://").ok_or(FORMS)?;
        if matches!(scheme, "rediss" | "rediss-cluster" | "rediss-sentinel" | "valkeys") {
            return Err(
                "TLS upstream is not supported yet: write redis, redis-cluster or redis-sentinel before a port \
                 without TLS, or name a local proxy that speaks TLS to the server"
                    .to_owned(),
            );
        }
        let (rest, database) = match rest.split_once("?db=").filter(|_| scheme == "redis+unix") {
            Some((rest, number)) => (rest, database(number)?),
            None => (rest, 0),
        };
        if rest.contains(['?', '#']) {
            return Err(
                "parameters in the URL are not supported; write ? and # in a password as %3F and %23".into(),
            );
        }
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (username, password) = login(credentials)?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, path),
            None => (rest, ""),
        };
        let (kind, hosts, of_path) = place(scheme, authority, path)?;
        Ok(UpstreamUrl { kind, hosts, username, password, database: database.max(of_path) })
    }
}

/// Shows where the upstream is, never how to log in.
impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match &self.kind {
            UpstreamKind::Cluster => "redis-cluster",
            UpstreamKind::Standalone => "redis",
            UpstreamKind::Sentinel { .. } => "redis-sentinel",
            UpstreamKind::Unix(path) => {
                write!(f, "redis+unix://{}", path.display())?;
                return if self.database > 0 { write!(f, "?db={}", self.database) } else { Ok(()) };
            }
        };
        write!(f, "{scheme}://")?;
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
            write!(f, "{comma}{open}{host}{close}:{port}")?;
        }
        if let UpstreamKind::Sentinel { service } = &self.kind {
            write!(f, "/{service}")?;
        }
        if self.database > 0 { write!(f, "/{}", self.database) } else { Ok(()) }
    }
}

/// The kind, the hosts and the database.
type UrlParts = (UpstreamKind, Vec<(String, u16)>, u32);

fn place(scheme: &str, authority: &str, path: &str) -> Result<UrlParts, String> {
    match scheme {
        "redis-cluster" => {
            if database(path)? > 0 {
                return Err("a Redis Cluster has database 0 alone".to_owned());
            }
            Ok((UpstreamKind::Cluster, hosts(authority, REDIS_PORT)?, 0))
        }
        "redis" => {
            let database = database(path)?;
            let hosts = hosts(authority, REDIS_PORT)?;
            if hosts.len() > 1 {
                return Err("redis:// takes one host; redis-cluster:// takes several".to_owned());
            }
            Ok((UpstreamKind::Standalone, hosts, database))
        }
        "redis-sentinel" => {
            let (service, number) = path.split_once('/').unwrap_or((path, ""));
            let database = database(number)?;
            if service.is_empty() {
                return Err("the service name is missing: redis-sentinel://HOST:PORT/SERVICE".to_owned());
            }
            let service = percent_decoded(service)?;
            Ok((UpstreamKind::Sentinel { service }, hosts(authority, SENTINEL_PORT)?, database))
        }
        "redis+unix" if authority.is_empty() && !path.is_empty() => {
            Ok((UpstreamKind::Unix(format!("/{}", percent_decoded(path)?).into()), Vec::new(), 0))
        }
        "redis+unix" => Err("an absolute path is wanted: redis+unix:///PATH".to_owned()),
        _ => Err(FORMS.to_owned()),
    }
}

fn hosts(authority: &str, default_port: u16) -> Result<Vec<(String, u16)>, String> {
    let host = |text: &str| match host_port(text) {
        Some((host, port)) if port != Some(0) => Ok((host.to_owned(), port.unwrap_or(default_port))),
        _ => Err(format!("HOST:PORT or [IPV6]:PORT is wanted, not {text:?}")),
    };
    authority.split(',').map(host).collect()
}

fn database(number: &str) -> Result<u32, String> {
    let number = number.trim_end_matches('/');
    let database = if number.is_empty() {
        Ok(0)
    } else {
        number.parse::<i32>().map(u32::try_from).unwrap_or(Ok(u32::MAX))
    };
    match database {
        Ok(database) if database < u32::MAX => Ok(database),
        _ => {
            Err("the number of a database is wanted behind the host, such as redis://HOST:PORT/3".to_owned())
        }
    }
}

fn login(credentials: Option<&str>) -> Result<(Option<String>, Option<Secret>), String> {
    let Some(credentials) = credentials else { return Ok((None, None)) };
    let (username, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let not_empty =
        |text: &str| Ok::<_, String>(Some(percent_decoded(text)?).filter(|text| !text.is_empty()));
    Ok((not_empty(username)?, not_empty(password)?.map(Secret::new)))
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let broken =
        || "every % in the URL must be followed by two hexadecimal digits and yield UTF-8".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = digit().zip(digit()).ok_or_else(broken)?;
            (high * 16 + low) as u8
        } else {
            byte
        });
    }
    String::from_utf8(bytes).map_err(|_| broken())
}
