//! From the settings, as the user writes them, to the options of each part: the one place that reads most
//! settings.

use std::sync::Arc;

use super::descriptors;
use super::relogin::Logins;
use super::warm::Warm;
use crate::cache::{CacheLimits, SharedCache};
use crate::commands::{Password, SessionLimits};
use crate::config::{Config, SettingValues, UpstreamKind, UpstreamUrl};
use crate::memory::MemoryCeiling;
use crate::protocol::resp::scan::RequestLimits;
use crate::router::MemoryLimits;
use crate::settings::{Setting, Settings};
use crate::stats::WorkerStats;
use crate::upstream::{AddressMap, Deployment, Heartbeat, TopologyOptions, TransferLimits, UpstreamOptions};

/// The part of L1 that an entry may take: an eighth.
const ENTRIES_MIN: usize = 8;

/// The bounds of L1; `None` when it is off.
pub(super) fn cache_limits(values: &SettingValues, ceiling: &MemoryCeiling) -> Option<CacheLimits> {
    let l1_size = l1_size(values);
    let size = l1_size.map(|size| ceiling.room_for_l1(size));
    if size < l1_size {
        tracing::warn!(
            l1_size,
            lowered_to = size,
            memory_max = ceiling.max(),
            "L1 is smaller than l1_size: memory_max leaves no more beside the daemon itself"
        );
    }
    size.map(|bytes| CacheLimits {
        bytes_max: bytes as u64,
        entry_bytes_max: u32::try_from(bytes / ENTRIES_MIN).unwrap_or(u32::MAX),
        ttl: values.l1_ttl,
        negative_ttl: values.negative_ttl,
        admission: values.admission,
        sampled: values.shadow_verify,
        several_workers: values.workers > 1,
    })
}

/// What survives a restart; `None` when nothing does.
pub(super) fn warm(values: &SettingValues, cache: Arc<SharedCache>, stats: Arc<WorkerStats>) -> Option<Warm> {
    Some(Warm {
        file: values.warm_file.clone()?,
        keys: values.warm_keys,
        interval: values.warm_interval,
        rate: values.warm_rate,
        upstream: values.upstream.to_string(),
        cache,
        stats,
    })
}

/// Warns of policies with a `value_max` that no entry can have.
pub(super) fn warn_of_values_never_kept(config: &Config) {
    let Some(entry_bytes_max) = l1_size(&config.values).map(|bytes| bytes / ENTRIES_MIN) else { return };
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

/// Bytes of L1; none when it is off.
fn l1_size(values: &SettingValues) -> Option<usize> {
    Some(values.l1_size).filter(|size| *size > 0)
}

pub(super) fn memory_limits(values: &SettingValues) -> MemoryLimits {
    MemoryLimits { script_bytes_max: values.script_bytes_max, scan_passes_max: values.scan_passes_max }
}

pub(super) fn session_limits(values: &SettingValues) -> SessionLimits {
    SessionLimits {
        pipeline_depth_max: values.pipeline_depth_max,
        in_flight_bytes_max: values.client_in_flight_bytes_max,
        ahead_bytes_max: values.request_bytes_max,
        transaction_bytes_max: values.transaction_bytes_max,
        subscribed_output_bytes_max: values.pubsub_output_max.min(values.client_output_max),
        subscriptions_max: values.pubsub_subscriptions_max,
        arrival_timeout: values.request_arrival_timeout,
        patterns_max: values.pubsub_patterns_max,
        subscribe_timeout: values.upstream_request_timeout,
    }
}

/// The password that clients must give.
pub(super) fn password(values: &SettingValues) -> Option<Password> {
    values.password_file.as_ref().map(|file| Password::new(file.secret.expose().as_bytes()))
}

/// Whether clients of other machines are let in: with a password they may come from anywhere.
fn lets_in_remote(values: &SettingValues) -> bool {
    values.allow_remote || values.password_file.is_some()
}

/// What may be changed while the daemon runs, as it is at the beginning.
pub(super) fn settings(values: &SettingValues) -> Settings {
    Settings {
        max_clients: Arc::new(Setting::of_size(values.max_clients)),
        clients_possible: descriptors::clients_possible(values, descriptors::limit()),
        remote_clients: Arc::new(Setting::new(i64::from(lets_in_remote(values)))),
        client_output_max: Setting::of_size(values.client_output_max),
        client_stall_timeout: Setting::of_duration(values.client_stall_timeout),
        client_idle_timeout: Setting::of_duration(values.client_idle_timeout),
        tracking_keys_max: Arc::new(Setting::of_size(values.tracking_keys_max)),
        slowlog_log_slower_than: Setting::new(values.slowlog_log_slower_than),
        slowlog_max_len: Setting::of_size(values.slowlog_max_len),
    }
}

pub(super) fn request_limits(values: &SettingValues) -> RequestLimits {
    RequestLimits {
        args_max: values.request_args_max,
        bulk_bytes_max: values.request_bulk_max,
        request_bytes_max: values.request_bytes_max,
        inline_bytes_max: values.request_inline_max,
    }
}

pub(super) fn upstream(values: &SettingValues, logins: &Logins) -> UpstreamOptions {
    UpstreamOptions {
        login: logins.servers.login.clone(),
        address_map: Arc::new(AddressMap::new(values.address_map.iter().cloned())),
        track: l1_size(values).is_some(),
        heartbeat: match values.upstream.kind {
            UpstreamKind::Cluster => Heartbeat::ClusterInfo,
            UpstreamKind::Sentinel { .. } => Heartbeat::Role,
            UpstreamKind::Standalone | UpstreamKind::Unix(_) => Heartbeat::Ping,
        },
        heartbeat_interval: values.heartbeat_interval,
        lease: values.lease,
        connect_timeout: values.upstream_connect_timeout,
        request_timeout: values.upstream_request_timeout,
        transfer: TransferLimits {
            stall_timeout: values.upstream_request_timeout,
            rate_min: values.upstream_rate_min as u64,
            time_max: values.upstream_request_time_max,
        },
        large_bytes_min: values.upstream_large_min,
        sides_max: values.upstream_side_connections_max,
        in_flight_max: values.upstream_in_flight_max,
        in_flight_bytes_max: values.upstream_in_flight_bytes_max,
        reply_bytes_max: values.upstream_reply_bytes_max,
        dedicated_max: values.upstream_dedicated_max,
        dedicated_idle_max: values.upstream_dedicated_idle_max,
        dedicated_idle_timeout: values.upstream_dedicated_idle_timeout,
        refresh_gap_min: values.topology_refresh_gap_min,
        backoff_min: values.upstream_backoff_min,
        backoff_max: values.upstream_backoff_max,
        // Long enough that the topology was read again before the mark is gone.
        slot_moving: 2 * values.topology_refresh_interval,
    }
}

pub(super) fn topology(values: &SettingValues, logins: &Logins) -> TopologyOptions {
    TopologyOptions {
        deployment: deployment(&values.upstream),
        configured_only: values.topology_source,
        connection: UpstreamOptions {
            login: match values.upstream.kind {
                UpstreamKind::Sentinel { .. } => logins.sentinels.login.clone(),
                _ => logins.servers.login.clone(),
            },
            reply_bytes_max: values.topology_reply_bytes_max,
            ..self::upstream(values, logins)
        },
        refresh_interval: values.topology_refresh_interval,
        refresh_gap_min: values.topology_refresh_gap_min,
    }
}

fn deployment(url: &UpstreamUrl) -> Deployment {
    let hosts = || url.hosts.iter().map(|(host, port)| host_port(host, *port)).collect::<Vec<_>>();
    match &url.kind {
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

/// IPv6 addresses get their brackets.
fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
