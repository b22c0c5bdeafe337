//! The configuration: plain, validated values, grouped by who reads them, and where they come from. A flag
//! wins over an environment variable, that over the configuration file, that over the default. What was typed
//! becomes a [`Config`] in one place, and everything that is wrong with it is reported at once.

mod bounded_file;
mod change;
pub mod cli;
mod error;
mod exposed;
mod file;
mod key;
mod policy;
mod raw;
mod upstream_url;
mod validator;
mod value;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::policy::{AdmissionRule, Policy};
use crate::memory::{Limit, SMALL_BYTES, memory_max_by_default};
use crate::protocol::command::Denied;
pub use change::Change;
pub use error::{ConfigError, ConfigErrors};
pub use key::{Group, KEYS, Key};
use raw::RawConfig;
pub use raw::Source;
pub use upstream_url::{Secret, UpstreamKind, UpstreamUrl};
use validator::Validator;
pub use value::AddressRule;

/// The validated configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients connect.
    pub listen: ListenConfig,
    /// The Redis behind the daemon.
    pub upstream: UpstreamConfig,
    /// The near cache.
    pub cache: CacheConfig,
    /// What one client may ask for.
    pub session: SessionConfig,
    /// What is remembered and gathered for clients.
    pub memory: MemoryConfig,
    /// What differs for the keys of some prefixes.
    pub policies: Vec<Policy>,
    /// The log.
    pub log: LogConfig,
    /// Threads that serve clients; at least 1.
    pub workers: usize,
    /// How long running requests may take to end once the daemon was told to stop.
    pub drain_timeout: Duration,
    /// Every key with its value as one would type it; the password of a URL is left out.
    pub typed: Vec<(&'static str, String)>,
    /// What its operator should know and need not heed.
    pub warnings: Vec<String>,
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// TCP addresses; may be empty when there is a Unix socket.
    pub tcp: Vec<SocketAddr>,
    /// The path of the Unix socket.
    pub unix: Option<PathBuf>,
    /// Permission bits of the Unix socket.
    pub unix_mode: u32,
    /// Connections that the kernel holds until they are accepted.
    pub backlog: u32,
    /// What clients have to say first.
    pub password: Option<Secret>,
    /// Whether clients that are not on this machine are let in without a password.
    pub allow_remote: bool,
    /// What no client may do.
    pub denied: Denied,
    /// Clients connected at the same time, over all listeners.
    pub max_clients: usize,
}

/// The Redis behind the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Where it is and how to log in; user and password are merged in from wherever they were given.
    pub url: UpstreamUrl,
    /// The file that the password was read from, if it was.
    pub password_file: Option<PathBuf>,
    /// Who we are to Sentinels.
    pub sentinel_username: Option<String>,
    /// The password for that.
    pub sentinel_password: Option<Secret>,
    /// The file that it was read from.
    pub sentinel_password_file: Option<PathBuf>,
    /// Where nodes are reached that announce other addresses.
    pub address_map: Vec<AddressRule>,
    /// Wait for a connection to a node.
    pub connect_timeout: Duration,
    /// Wait for the reply of a node.
    pub request_timeout: Duration,
    /// Bytes a second that have to come along for a large request or reply to take longer.
    pub rate_min: u64,
    /// How long it may take then.
    pub request_time_max: Duration,
    /// From this size on a request or reply is large.
    pub large_bytes_min: usize,
    /// Connections of one worker to one node beside the main one.
    pub sides_max: usize,
    /// Commands in flight on one connection.
    pub in_flight_max: usize,
    /// Bytes of the commands in flight on one connection.
    pub in_flight_bytes_max: usize,
    /// Bytes of one whole reply.
    pub reply_bytes_max: usize,
    /// Connections for one client each in use at the same time.
    pub dedicated_max: usize,
    /// Such connections to one node that a worker keeps for reuse.
    pub dedicated_idle_max: usize,
    /// How long they are kept.
    pub dedicated_idle_timeout: Duration,
    /// First wait before a lost node is tried again, and the least from one connection to the next.
    pub backoff_min: Duration,
    /// Longest wait before a lost node is tried again.
    pub backoff_max: Duration,
    /// How often a connection proves that it is alive.
    pub heartbeat_interval: Duration,
    /// How long one such proof counts; more than `heartbeat_interval`.
    pub lease: Duration,
    /// How often the topology is asked for; at most `negative_ttl`.
    pub topology_refresh_interval: Duration,
    /// Shortest time between two such questions.
    pub topology_refresh_gap_min: Duration,
    /// The hosts of the URL alone are asked, and none that a cluster names.
    pub topology_configured_only: bool,
    /// Bytes of one answer.
    pub topology_reply_bytes_max: usize,
}

/// The near cache.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheConfig {
    /// Memory for entries in bytes; none when there is no near cache.
    pub size_bytes: Option<usize>,
    /// How long an entry is kept at most.
    pub ttl: Duration,
    /// How long the absence of a key is remembered; at most `ttl`.
    pub negative_ttl: Duration,
    /// Whether keys are kept that are invalidated more often than they are read.
    pub admission: AdmissionRule,
    /// The part of the hits that is asked upstream as well, if any are.
    pub shadow_verify: Option<f64>,
    /// How often a key of each node is written to measure until that is heard of, if at all.
    pub canary_interval: Option<Duration>,
    /// What survives a restart, if anything.
    pub warm: Option<WarmConfig>,
}

/// Which names of hot reads survive a restart, and how they are read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmConfig {
    /// The file.
    pub file: PathBuf,
    /// Keys in it at most.
    pub keys: usize,
    /// How often it is written.
    pub interval: Duration,
    /// Reads a second when it is read.
    pub rate: usize,
}

/// What one client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Requests that may wait for their replies before the socket is no longer read.
    pub pipeline_depth_max: usize,
    /// Bytes of the requests of one client that are on their way to nodes before its socket is no longer
    /// read.
    pub in_flight_bytes_max: usize,
    /// Arguments of one request.
    pub request_args_max: usize,
    /// Bytes of one argument.
    pub request_bulk_bytes_max: usize,
    /// Bytes of one whole request.
    pub request_bytes_max: usize,
    /// Bytes of the requests queued since MULTI.
    pub transaction_bytes_max: usize,
    /// Bytes of one inline request.
    pub request_inline_bytes_max: usize,
    /// Bytes of replies that wait to be taken before the client is closed.
    pub output_bytes_max: usize,
    /// How long replies may wait to be taken before the client is closed.
    pub stall_timeout: Duration,
    /// How long a request may take to arrive, and a client to say its password.
    pub arrival_timeout: Duration,
    /// How long a client may ask nothing before it is closed; zero is for ever.
    pub idle_timeout: Duration,
    /// Bytes that wait to be taken by a client that is subscribed to something, before it is closed.
    pub pubsub_output_bytes_max: usize,
    /// Subscriptions of one client.
    pub pubsub_subscriptions_max: usize,
    /// Patterns among those.
    pub pubsub_patterns_max: usize,
    /// Different channels and patterns that all clients together are subscribed to.
    pub pubsub_names_max: usize,
    /// Commands that take longer, in microseconds, are kept in the slow log; none when it is negative.
    pub slowlog_log_slower_than: i64,
    /// Entries of the slow log.
    pub slowlog_max_len: usize,
    /// Keys that are remembered for clients that cache them.
    pub tracking_keys_max: usize,
}

/// What is remembered and gathered for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// What the whole daemon may hold, in bytes; none when there is no ceiling.
    pub max: Option<usize>,
    /// What is no larger is taken in without a question, in bytes.
    pub small_bytes: usize,
    /// The limit of the machine that it follows from, if it does.
    pub limit: Option<Limit>,
    /// Bytes of the names of keys gathered for one request.
    pub keyspace_bytes_max: usize,
    /// Places that cursors of SCAN stand for.
    pub scan_passes_max: usize,
    /// Bytes of scripts.
    pub script_bytes_max: usize,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Its form.
    pub format: LogFormat,
    /// Which events it shows, as filter directives that are known to parse.
    pub filter: String,
    /// Lines that wait to be written.
    pub queue_max: usize,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// What the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The flags that were given, each with its text.
    pub flags: Vec<(&'static Key, String)>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The configuration file, where a flag names one.
    pub file: Option<PathBuf>,
    /// Where `proc` and `sys` of the machine are, if not at the root: its limit of memory stands there.
    pub machine: Option<PathBuf>,
}

/// The variable that names the configuration file where no flag does.
const FILE_VARIABLE: &str = "NEARSIDE_CONFIG";

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

// === impl Config ===

impl Config {
    /// Reads the configuration from its sources.
    pub fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
        let mut given = RawConfig::defaults();
        let (mut faults, mut policies) = (Vec::new(), Vec::new());
        let variable = sources.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        if let Some(path) = sources.file.clone().or_else(|| variable.map(|(_, path)| path.into())) {
            policies = file::read(&path, &mut given, &mut faults);
        }
        given.take_environment(&sources.environment, &mut faults);
        given.take_flags(&sources.flags);
        let machine = sources.machine.as_deref().unwrap_or(Path::new("/"));
        validated(Validator::new(given, faults), policies, machine)
    }
}

// === impl ListenConfig ===

impl ListenConfig {
    /// Reads from the flags alone where to listen; all else is the default.
    pub fn load(flags: &[(&'static Key, String)]) -> Result<ListenConfig, ConfigErrors> {
        let mut given = RawConfig::defaults();
        given.take_flags(flags);
        let mut read = Validator::new(given, Vec::new());
        let config = listen(&mut read);
        read.finish(Some(config))
    }
}

/// The secret in a file that the configuration names, as it is now.
///
/// # Errors
/// It cannot be read, or is empty or too long; the text says which.
pub fn read_secret(file: &Path) -> Result<Secret, String> {
    value::secret(file)
}

fn validated(mut read: Validator, policies: Vec<Policy>, machine: &Path) -> Result<Config, ConfigErrors> {
    let (max, limit) = memory_max(&mut read, machine);
    let listen = listen(&mut read);
    let (cache, negative_ttl) = cache(&mut read, max);
    let upstream = upstream(&mut read, negative_ttl);
    let session = session(&mut read);
    let memory = memory(&mut read, max, limit);
    let log = log(&mut read);
    let workers = read.number("workers", 1..=256);
    let drain_timeout = read.duration("drain_timeout", Duration::ZERO..=HOUR);
    let warnings = exposed::warnings(&read);
    let config = upstream.map(|upstream| {
        let mut typed = read.typed();
        for (key, text) in &mut typed {
            match *key {
                "upstream" => *text = upstream.url.to_string(),
                "memory_max" => *text = max.map_or("none".to_owned(), |bytes| bytes.to_string()),
                "l1_size" if is_lowered(&cache, max) => {
                    *text = cache.size_bytes.unwrap_or_default().to_string();
                }
                _ => {}
            }
        }
        Config {
            listen,
            upstream,
            cache,
            session,
            memory,
            policies,
            log,
            workers,
            drain_timeout,
            typed,
            warnings,
        }
    });
    read.finish(config)
}

fn listen(read: &mut Validator) -> ListenConfig {
    let tcp = read.value("listen", value::addresses);
    let unix = read.value("unix", value::path);
    if tcp.as_ref().is_some_and(Vec::is_empty) && unix.is_none() {
        read.fault("listen", "there is nothing to listen on: give an address, or a Unix socket as unix");
    }
    ListenConfig {
        tcp: tcp.unwrap_or_default(),
        unix,
        unix_mode: read.value("unix_mode", value::mode).unwrap_or_default(),
        password: read.value("password_file", value::secret_file),
        allow_remote: read.value("allow_remote", value::switch).unwrap_or_default(),
        denied: read.value("deny_commands", Denied::read).unwrap_or_default(),
        backlog: read.number("listen_backlog", 1..=65_535) as u32,
        max_clients: read.number("max_clients", change::MAX_CLIENTS),
    }
}

/// What the whole daemon may hold, and the limit of the machine that this follows from. Sizes that are a part
/// of it are read from here on.
fn memory_max(read: &mut Validator, machine: &Path) -> (Option<usize>, Option<Limit>) {
    let typed = read.value("memory_max", value::memory_max).unwrap_or_default();
    let (max, limit) = match typed {
        value::MemoryMax::Auto => {
            let limit = Limit::read(machine);
            (Some(memory_max_by_default(machine, limit.as_ref())), limit)
        }
        value::MemoryMax::None => (None, None),
        value::MemoryMax::Size(bytes) => (Some(bytes), None),
    };
    read.parts_are_of(max.unwrap_or_else(|| memory_max_by_default(machine, None)));
    (max, limit)
}

/// Whether L1 is smaller than what was typed, because it has half of `max` at most.
fn is_lowered(cache: &CacheConfig, max: Option<usize>) -> bool {
    max.is_some_and(|max| cache.size_bytes == Some(max / L1_PART))
}

/// L1 has this part of `memory_max` at most: half.
const L1_PART: usize = 2;

/// The cache's part, and `negative_ttl` as it was typed, which bounds the refresh of the topology.
fn cache(read: &mut Validator, max: Option<usize>) -> (CacheConfig, Duration) {
    let size_bytes = read.size("l1_size", 0..=1024 * GIB).min(max.map_or(usize::MAX, |max| max / L1_PART));
    let size_bytes = Some(size_bytes).filter(|size| *size > 0);
    let ttl = read.duration("l1_ttl", change::L1_TTL);
    let negative_ttl = read.duration("negative_ttl", change::NEGATIVE_TTL);
    let file = read.value("warm_file", value::regular_file);
    let keys = read.number("warm_keys", 1..=1_000_000);
    let interval = read.duration("warm_interval", SECOND..=DAY);
    let rate = read.number("warm_rate", 1..=1_000_000);
    let warm = file.map(|file| WarmConfig { file, keys, interval, rate });
    let admission = read.value("admission", value::admission).unwrap_or_default();
    let shadow_verify = read.value("shadow_verify", value::fraction).flatten();
    let canary_interval =
        read.value("canary_interval", |text| value::duration(text, 10 * MILLISECOND..=HOUR));
    let config = CacheConfig {
        size_bytes,
        ttl,
        negative_ttl: negative_ttl.min(ttl),
        admission,
        shadow_verify,
        canary_interval,
        warm,
    };
    (config, negative_ttl)
}

fn upstream(read: &mut Validator, negative_ttl: Duration) -> Option<UpstreamConfig> {
    let (url, password_file) = upstream_url(read).unzip();
    let (sentinel_username, sentinel_password) = sentinel_login(read, url.as_ref());
    let (sentinel_password, sentinel_password_file) = sentinel_password.unzip();
    let wait = MILLISECOND..=10 * MINUTE;
    let backoff_min = read.duration("upstream_backoff_min", wait.clone());
    let backoff_max = read.duration("upstream_backoff_max", wait.clone());
    read.rule(backoff_min <= backoff_max, "upstream_backoff_min", "at most", "upstream_backoff_max");
    let heartbeat_interval = read.duration("heartbeat_interval", wait.clone());
    let lease = read.duration("lease", wait.clone());
    read.rule(lease > heartbeat_interval, "lease", "more than", "heartbeat_interval");
    let topology_refresh_interval = read.duration("topology_refresh_interval", wait.clone());
    let in_time = topology_refresh_interval <= negative_ttl;
    read.rule(in_time, "topology_refresh_interval", "at most", "negative_ttl");
    let topology_refresh_gap_min = read.duration("topology_refresh_gap_min", wait.clone());
    let in_time = topology_refresh_gap_min <= topology_refresh_interval;
    read.rule(in_time, "topology_refresh_gap_min", "at most", "topology_refresh_interval");
    let connect_timeout = read.duration("upstream_connect_timeout", wait.clone());
    let request_timeout = read.duration("upstream_request_timeout", wait.clone());
    let rate_min = read.number("upstream_rate_min", 1..=GIB) as u64;
    let request_time_max = read.duration("upstream_request_time_max", MILLISECOND..=DAY);
    let in_time = request_timeout <= request_time_max;
    read.rule(in_time, "upstream_request_timeout", "at most", "upstream_request_time_max");
    let dedicated_idle_timeout = read.duration("upstream_dedicated_idle_timeout", wait);
    let in_flight_max = read.number("upstream_in_flight_max", 1..=16_777_216);
    let in_flight_bytes_max = read.size("upstream_in_flight_bytes_max", MIB..=1024 * GIB);
    let reply_bytes_max = read.size("upstream_reply_bytes_max", MIB..=64 * GIB);
    Some(UpstreamConfig {
        url: url?,
        password_file: password_file?,
        sentinel_username,
        sentinel_password,
        sentinel_password_file,
        address_map: read.value("address_map", value::address_map).unwrap_or_default(),
        connect_timeout,
        request_timeout,
        rate_min,
        request_time_max,
        large_bytes_min: read.size("upstream_large_min", 64..=GIB),
        sides_max: read.number("upstream_side_connections_max", 0..=64),
        in_flight_max,
        in_flight_bytes_max,
        reply_bytes_max,
        dedicated_max: read.number("upstream_dedicated_max", 0..=1_000_000),
        dedicated_idle_max: read.number("upstream_dedicated_idle_max", 0..=1_000_000),
        dedicated_idle_timeout,
        backoff_min,
        backoff_max,
        heartbeat_interval,
        lease,
        topology_refresh_interval,
        topology_refresh_gap_min,
        topology_configured_only: read
            .value("topology_source", value::is_topology_source_configured)
            .unwrap_or_default(),
        topology_reply_bytes_max: read.size("topology_reply_bytes_max", 64 * KIB..=GIB),
    })
}

/// The URL with the user and password that were given beside it, and the file with the password.
fn upstream_url(read: &mut Validator) -> Option<(UpstreamUrl, Option<PathBuf>)> {
    let username = read.value("upstream_username", value::name);
    let password =
        read.value("upstream_password_file", |text| Ok((value::secret_file(text)?, PathBuf::from(text))));
    let (password, password_file) = password.unzip();
    let Some(mut url) = read.value("upstream", UpstreamUrl::parse) else {
        read.missing("upstream");
        return None;
    };
    if username.is_some() && url.username.is_some() {
        read.fault("upstream_username", "the URL of the upstream names a user already");
    }
    if password.is_some() && url.password.is_some() {
        read.fault("upstream_password_file", "the URL of the upstream holds a password already");
    }
    url.username = url.username.or(username);
    url.password = url.password.or(password);
    let password_faulty = read.is_faulty("upstream_password_file");
    if url.username.is_some() && url.password.is_none() && !password_faulty {
        read.fault("upstream", "a user is given but no password: write :PASSWORD@ for a password alone");
    }
    Some((url, password_file))
}

/// The user that Sentinels know, and the password with the file that it is in.
fn sentinel_login(
    read: &mut Validator,
    url: Option<&UpstreamUrl>,
) -> (Option<String>, Option<(Secret, PathBuf)>) {
    let username = read.value("sentinel_username", value::name);
    let password =
        read.value("sentinel_password_file", |text| Ok((value::secret_file(text)?, PathBuf::from(text))));
    if url.is_some_and(|url| !matches!(url.kind, UpstreamKind::Sentinel { .. })) {
        for (key, given) in
            [("sentinel_username", username.is_some()), ("sentinel_password_file", password.is_some())]
        {
            if given {
                read.fault(
                    key,
                    "there are Sentinels only where upstream is redis-sentinel://HOST:PORT/SERVICE",
                );
            }
        }
    } else if username.is_some() && password.is_none() && !read.is_faulty("sentinel_password_file") {
        read.fault("sentinel_username", "a user is given but no password: set sentinel_password_file");
    }
    (username, password)
}

fn session(read: &mut Validator) -> SessionConfig {
    let request_bulk_bytes_max = read.size("request_bulk_max", KIB..=4 * GIB);
    let request_bytes_max = read.size("request_bytes_max", KIB..=64 * GIB);
    SessionConfig {
        pipeline_depth_max: read.number("pipeline_depth_max", 1..=1_048_576),
        in_flight_bytes_max: read.size("client_in_flight_bytes_max", KIB..=64 * GIB),
        request_args_max: read.number("request_args_max", 1..=16_777_216),
        request_bulk_bytes_max,
        request_bytes_max,
        transaction_bytes_max: read.size("transaction_bytes_max", KIB..=64 * GIB),
        request_inline_bytes_max: read.size("request_inline_max", KIB..=16 * MIB),
        output_bytes_max: read.size("client_output_max", change::CLIENT_OUTPUT_MAX),
        stall_timeout: read.duration("client_stall_timeout", change::CLIENT_STALL_TIMEOUT),
        arrival_timeout: read.duration("request_arrival_timeout", MILLISECOND..=DAY),
        idle_timeout: read.duration("client_idle_timeout", Duration::ZERO..=30 * DAY),
        slowlog_log_slower_than: read
            .value("slowlog_log_slower_than", value::microseconds)
            .unwrap_or_default(),
        slowlog_max_len: read.number("slowlog_max_len", change::SLOWLOG_MAX_LEN),
        pubsub_output_bytes_max: read.size("pubsub_output_max", MIB..=1024 * GIB),
        pubsub_subscriptions_max: read.number("pubsub_subscriptions_max", 1..=16_777_216),
        pubsub_patterns_max: read.number("pubsub_patterns_max", 1..=16_777_216),
        tracking_keys_max: read.number("tracking_keys_max", 1..=100_000_000),
        pubsub_names_max: read.number("pubsub_names_max", 1..=16_777_216),
    }
}

fn memory(read: &mut Validator, max: Option<usize>, limit: Option<Limit>) -> MemoryConfig {
    MemoryConfig {
        max,
        small_bytes: SMALL_BYTES,
        limit,
        keyspace_bytes_max: read.size("keyspace_bytes_max", KIB..=64 * GIB),
        scan_passes_max: read.number("scan_passes_max", 1..=1_048_576),
        script_bytes_max: read.size("script_bytes_max", 0..=64 * GIB),
    }
}

fn log(read: &mut Validator) -> LogConfig {
    LogConfig {
        format: read.value("log_format", value::log_format).unwrap_or_default(),
        filter: read.value("log_level", value::log_filter).unwrap_or_default(),
        queue_max: read.number("log_queue_max", 1..=1_048_576),
    }
}
