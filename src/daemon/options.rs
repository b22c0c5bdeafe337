//! From the configuration, as the user writes it, to what each part wants to be told.

use std::sync::Arc;

use super::descriptors;
use crate::cache::CacheLimits;
use crate::commands::{Password, SessionLimits};
use crate::config::{CacheConfig, Config, MemoryConfig, SessionConfig, UpstreamConfig, UpstreamKind};
use crate::memory::MemoryCeiling;
use crate::protocol::resp::scan::RequestLimits;
use crate::router::MemoryLimits;
use crate::settings::{Setting, Settings};
use crate::upstream::topology::TopologyOptions;
use crate::upstream::{AddressMap, Credentials, Deployment, Heartbeat, Login, PaceLimits, UpstreamOptions};

/// One entry may take this part of L1: an eighth.
const ENTRIES_MIN: usize = 8;

/// `None` when L1 is off.
pub(super) fn cache_limits(
    config: &CacheConfig,
    workers: usize,
    ceiling: &MemoryCeiling,
) -> Option<CacheLimits> {
    let size = config.size_bytes.map(|size| ceiling.room_for_l1(size));
    if size < config.size_bytes {
        tracing::warn!(
            l1_size = config.size_bytes,
            lowered_to = size,
            memory_max = ceiling.max(),
            "L1 is smaller than l1_size: memory_max leaves no more beside the daemon itself"
        );
    }
    size.map(|bytes| CacheLimits {
        bytes_max: bytes as u64,
        entry_bytes_max: u32::try_from(bytes / ENTRIES_MIN).unwrap_or(u32::MAX),
        ttl: config.ttl,
        negative_ttl: config.negative_ttl,
        admission: config.admission,
        sampled: config.shadow_verify,
        several_workers: workers > 1,
    })
}

/// Warns of policies that name a size which nothing of is kept.
pub(super) fn warn_of_values_never_kept(config: &Config) {
    let Some(entry_bytes_max) = config.cache.size_bytes.map(|bytes| bytes / ENTRIES_MIN) else { return };
    for policy in &config.policies {
        if let Some(value_max) = policy.terms.value_max.filter(|value_max| *value_max > entry_bytes_max) {
            tracing::warn!(
                prefix = %policy.prefix.escape_ascii(),
                value_max,
                entry_bytes_max,
                "value_max of a policy is more than an eighth of l1_size: nothing that large is kept"
            );
        }
    }
}

pub(super) fn memory_limits(config: &MemoryConfig) -> MemoryLimits {
    MemoryLimits { script_bytes_max: config.script_bytes_max, scan_passes_max: config.scan_passes_max }
}

pub(super) fn session_limits(config: &Config) -> SessionLimits {
    let (config, upstream) = (&config.session, &config.upstream);
    SessionLimits {
        pipeline_depth_max: config.pipeline_depth_max,
        in_flight_bytes_max: config.in_flight_bytes_max,
        ahead_bytes_max: config.request_bytes_max,
        transaction_bytes_max: config.transaction_bytes_max,
        subscribed_output_bytes_max: config.pubsub_output_bytes_max.min(config.output_bytes_max),
        subscriptions_max: config.pubsub_subscriptions_max,
        arrival_timeout: config.arrival_timeout,
        idle_timeout: config.idle_timeout,
        patterns_max: config.pubsub_patterns_max,
        subscribe_timeout: upstream.request_timeout,
    }
}

/// What clients have to say first.
pub(super) fn password(config: &Config) -> Option<Password> {
    config.listen.password.as_ref().map(|password| Password::new(password.expose().as_bytes()))
}

/// Whether clients of other machines are let in: who has a password may come from anywhere.
pub(super) fn lets_in_remote(config: &Config) -> bool {
    config.listen.allow_remote || config.listen.password.is_some()
}

/// What may be changed while the daemon runs, as it is at the beginning.
pub(super) fn settings(config: &Config) -> Settings {
    let session = &config.session;
    Settings {
        max_clients: Arc::new(Setting::of_size(config.listen.max_clients)),
        clients_possible: descriptors::clients_possible(config, descriptors::limit()),
        client_output_max: Setting::of_size(session.output_bytes_max),
        client_stall_timeout: Setting::of_duration(session.stall_timeout),
        slowlog_log_slower_than: Setting::new(session.slowlog_log_slower_than),
        slowlog_max_len: Setting::of_size(session.slowlog_max_len),
    }
}

pub(super) fn request_limits(config: &SessionConfig) -> RequestLimits {
    RequestLimits {
        args_max: config.request_args_max,
        bulk_bytes_max: config.request_bulk_bytes_max,
        request_bytes_max: config.request_bytes_max,
        inline_bytes_max: config.request_inline_bytes_max,
    }
}

pub(super) fn upstream(config: &Config, login: Login) -> UpstreamOptions {
    let upstream = &config.upstream;
    UpstreamOptions {
        login,
        address_map: Arc::new(AddressMap::new(upstream.address_map.iter().cloned())),
        track: config.cache.size_bytes.is_some(),
        heartbeat: match upstream.url.kind {
            UpstreamKind::Cluster => Heartbeat::ClusterInfo,
            UpstreamKind::Sentinel { .. } => Heartbeat::Role,
            UpstreamKind::Standalone | UpstreamKind::Unix(_) => Heartbeat::Ping,
        },
        heartbeat_interval: upstream.heartbeat_interval,
        lease: upstream.lease,
        connect_timeout: upstream.connect_timeout,
        request_timeout: upstream.request_timeout,
        pace: PaceLimits {
            patience: upstream.request_timeout,
            rate_min: upstream.rate_min,
            time_max: upstream.request_time_max,
        },
        large_bytes_min: upstream.large_bytes_min,
        sides_max: upstream.sides_max,
        in_flight_max: upstream.in_flight_max,
        in_flight_bytes_max: upstream.in_flight_bytes_max,
        reply_bytes_max: upstream.reply_bytes_max,
        dedicated_max: upstream.dedicated_max,
        dedicated_idle_max: upstream.dedicated_idle_max,
        dedicated_idle_timeout: upstream.dedicated_idle_timeout,
        refresh_gap_min: upstream.topology_refresh_gap_min,
        backoff_min: upstream.backoff_min,
        backoff_max: upstream.backoff_max,
        // Long enough that the topology was read again before the mark is gone.
        slot_moving: 2 * upstream.topology_refresh_interval,
    }
}

pub(super) fn topology(config: &Config, login: Login, sentinel_login: Login) -> TopologyOptions {
    let upstream = &config.upstream;
    TopologyOptions {
        deployment: deployment(upstream),
        configured_only: upstream.topology_configured_only,
        connection: UpstreamOptions {
            login: match upstream.url.kind {
                // Each is told its own: a Sentinel never hears the servers' password, nor they its.
                UpstreamKind::Sentinel { .. } => sentinel_login,
                _ => login.clone(),
            },
            reply_bytes_max: upstream.topology_reply_bytes_max,
            ..self::upstream(config, login)
        },
        refresh_interval: upstream.topology_refresh_interval,
        refresh_gap_min: upstream.topology_refresh_gap_min,
    }
}

fn deployment(config: &UpstreamConfig) -> Deployment {
    let hosts = || config.url.hosts.iter().map(|(host, port)| host_port(host, *port)).collect::<Vec<_>>();
    match &config.url.kind {
        UpstreamKind::Cluster => Deployment::Cluster { seeds: hosts() },
        UpstreamKind::Sentinel { service } => {
            Deployment::Sentinel { sentinels: hosts(), service: service.clone() }
        }
        UpstreamKind::Standalone => {
            Deployment::Single { address: hosts().into_iter().next().unwrap_or_default() }
        }
        UpstreamKind::Unix(path) => Deployment::Single { address: path.display().to_string() },
    }
}

/// Who we are upstream.
pub(super) fn credentials(config: &UpstreamConfig) -> Option<Credentials> {
    let password = config.url.password.as_ref()?.expose().to_owned();
    Some(Credentials { username: config.url.username.clone(), password })
}

/// Who we are to Sentinels.
pub(super) fn sentinel_credentials(config: &UpstreamConfig) -> Option<Credentials> {
    let password = config.sentinel_password.as_ref()?.expose().to_owned();
    Some(Credentials { username: config.sentinel_username.clone(), password })
}

/// IPv6 addresses get their brackets.
fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
