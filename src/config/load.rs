//! From the sources to the validated configuration: reads every value, then holds the rules that bind values
//! to each other, and reports all faults at once.

use super::error::ConfigErrors;
use super::exposed;
use super::file::FileTables;
use super::key::Key;
use super::namespace;
use super::reader::{self, ReadContext};
use super::settings::{KEYS, SettingValues};
use super::sources::Sources;
use super::upstream_url::UpstreamKind;
use super::validator::Validator;

use crate::cache::policy::{BROADCAST_PREFIXES_MAX, Policy};
use crate::memory::memory_max_by_default;
use crate::namespace::{DATABASES, Namespaces};

/// The validated configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The value of every setting. User and password are in the URL of the upstream, wherever they were
    /// given;
    /// `l1_size` and `negative_ttl` are lowered to what `memory_max` and `l1_ttl` allow.
    pub values: SettingValues,
    /// What differs for the keys of some prefixes.
    pub policies: Vec<Policy>,
    /// Which clients are in which namespace.
    pub namespaces: Namespaces,
    /// Every key with its value as one would type it; the password of a URL is left out.
    pub typed: Vec<(&'static str, String)>,
    /// Warnings about passwords that others can read.
    pub warnings: Vec<String>,
}

/// L1 has this part of `memory_max` at most: half.
const L1_PART: usize = 2;

// === impl Config ===

impl Config {
    /// Reads the configuration from its sources.
    ///
    /// # Errors
    /// All faults of the configuration.
    pub fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
        let (mut read, tables) = validator(sources);
        let mut values = SettingValues::read(&mut read);
        check_listen(&mut read, &values);
        check_login(&mut read, &mut values);
        check_times(&mut read, &values);
        values.negative_ttl = values.negative_ttl.min(values.l1_ttl);
        let l1_max = values.memory_max.max.map_or(usize::MAX, |max| max / L1_PART);
        values.l1_size = values.l1_size.min(l1_max);
        let typed = typed(&read, &values, l1_max);
        let warnings = exposed::warnings(&read);
        let namespaces = namespace::assign(&mut read, &values, tables.namespaces);
        let policies = tables.policies;
        check_broadcast(&mut read, &policies, &namespaces);
        read.finish(Config { values, policies, namespaces, typed, warnings })
    }

    /// Checks the flags of `nearside dev`, which are about clients alone.
    ///
    /// # Errors
    /// All faults of these flags.
    pub fn check_dev(flags: Vec<(&'static Key, String)>) -> Result<(), ConfigErrors> {
        let sources = Sources { flags, ..Sources::default() };
        let (mut read, _) = validator(&sources);
        let values = SettingValues::read(&mut read);
        check_listen(&mut read, &values);
        namespace::assign(&mut read, &values, Vec::new());
        read.finish(())
    }
}

/// What reads the values of these sources, and the tables in them.
fn validator(sources: &Sources) -> (Validator<'_>, FileTables) {
    let (given, tables, faults) = sources.gather();
    let machine = sources.machine();
    let context = ReadContext { machine, whole: None };
    let max = given.get("memory_max").and_then(|typed| reader::memory_max(&typed.text, context).ok());
    let whole = max.and_then(|memory| memory.max).unwrap_or_else(|| memory_max_by_default(machine, None));
    (Validator::new(given, faults, ReadContext { machine, whole: Some(whole) }), tables)
}

fn check_listen(read: &mut Validator<'_>, values: &SettingValues) {
    if values.listen.is_empty() && values.unix.is_none() && !read.is_faulty("listen") {
        read.fault("listen", "there is nothing to listen on: give an address, or a Unix socket as unix");
    }
}

/// Puts user and password into the URL of the upstream, and checks that of the Sentinels.
fn check_login(read: &mut Validator<'_>, values: &mut SettingValues) {
    if read.given("upstream").is_none() {
        let ways =
            Key::named("upstream").map(|key| format!("--{}, {} or {}", key.flag(), key.variable(), key.name));
        read.fault("upstream", format!("is not given: set {} in the file", ways.unwrap_or_default()));
    }
    let knows_upstream = !read.is_faulty("upstream");
    if knows_upstream {
        check_upstream_login(read, values);
    }
    let (username, password) = (&values.sentinel_username, &values.sentinel_password_file);
    if knows_upstream && !matches!(values.upstream.kind, UpstreamKind::Sentinel { .. }) {
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
}

fn check_upstream_login(read: &mut Validator<'_>, values: &mut SettingValues) {
    let url = &mut values.upstream;
    let password = values.upstream_password_file.as_ref().map(|file| file.secret.clone());
    if values.upstream_username.is_some() && url.username.is_some() {
        read.fault("upstream_username", "the URL of the upstream names a user already");
    }
    if password.is_some() && url.password.is_some() {
        read.fault("upstream_password_file", "the URL of the upstream holds a password already");
    }
    url.username = url.username.take().or_else(|| values.upstream_username.clone());
    url.password = url.password.take().or(password);
    let password_faulty = read.is_faulty("upstream_password_file");
    if url.username.is_some() && url.password.is_none() && !password_faulty {
        read.fault("upstream", "a user is given but no password: write :PASSWORD@ for a password alone");
    }
}

fn check_times(read: &mut Validator<'_>, values: &SettingValues) {
    let at_most = [
        (
            "upstream_backoff_min",
            values.upstream_backoff_min,
            "upstream_backoff_max",
            values.upstream_backoff_max,
        ),
        ("topology_refresh_interval", values.topology_refresh_interval, "negative_ttl", values.negative_ttl),
        (
            "topology_refresh_gap_min",
            values.topology_refresh_gap_min,
            "topology_refresh_interval",
            values.topology_refresh_interval,
        ),
        (
            "upstream_request_timeout",
            values.upstream_request_timeout,
            "upstream_request_time_max",
            values.upstream_request_time_max,
        ),
    ];
    for (key, time, other, most) in at_most {
        read.rule(time <= most, key, "at most", other);
    }
    read.rule(values.lease > values.heartbeat_interval, "lease", "more than", "heartbeat_interval");
}

/// The servers are asked for each prefix with `tracking = "broadcast"` in every database of every namespace.
fn check_broadcast(read: &mut Validator<'_>, policies: &[Policy], namespaces: &Namespaces) {
    let broadcast = policies.iter().filter(|policy| policy.is_broadcast()).count();
    let scopes = namespaces.prefixes().len();
    let count = broadcast * (1 + scopes);
    if count > BROADCAST_PREFIXES_MAX {
        read.fault_of_tables(
            "policy.tracking",
            format!(
                "broadcast, in {broadcast} policies and {} namespaces of {DATABASES} databases, takes {count} prefixes, and at most {BROADCAST_PREFIXES_MAX} are allowed",
                scopes / DATABASES as usize
            ),
        );
    }
}

/// Every key that has a value, as one would type it: a part as what it comes to, and what was lowered as what
/// it was lowered to.
fn typed(read: &Validator<'_>, values: &SettingValues, l1_max: usize) -> Vec<(&'static str, String)> {
    let shown = |name: &str| {
        let (text, _) = read.given(name)?;
        Some(match name {
            "upstream" => values.upstream.to_string(),
            "memory_max" => values.memory_max.max.map_or("none".to_owned(), |bytes| bytes.to_string()),
            "l1_size" if values.l1_size == l1_max => l1_max.to_string(),
            _ => read.part(text).map_or_else(|| text.to_owned(), |bytes| bytes.to_string()),
        })
    };
    KEYS.iter().filter_map(|key| Some((key.name, shown(key.name)?))).collect()
}
