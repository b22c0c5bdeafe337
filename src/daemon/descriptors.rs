//! File descriptors: as many as the system lets this process have, and no more clients than these are enough
//! for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::DaemonError;
use crate::config::{Config, SettingValues};

/// What Redis keeps back: listeners, event loops, files.
const RESERVE: usize = 32;

/// What each worker, and the main thread, keeps back for its connections to nodes.
const RESERVE_OF_THREAD: usize = 64;

/// Dedicated connections have to leave this part of the descriptors to clients: all but a fourth.
const DEDICATED_PART: usize = 4;

/// How many descriptors this process may have.
pub(super) fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Raises the number as far as the system lets a process do so itself.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => {
            tracing::debug!(from = ?limit.current, to = ?limit.maximum, "the limit of open files is raised")
        }
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised to the hard one"),
    }
}

/// `config` with as many clients and dedicated connections as `limit` descriptors are enough for. As Redis
/// does, it lowers `max_clients` if need be, and warns.
///
/// # Errors
/// The descriptors are not enough for a single client.
pub(super) fn fitted(config: &Config, limit: usize) -> Result<Config, DaemonError> {
    let mut fitted = config.clone();
    let values = &mut fitted.values;
    let (clients, dedicated) = (values.max_clients, dedicated(values));
    let wanted = reserve(values) + clients + dedicated;
    if wanted <= limit {
        return Ok(fitted);
    }
    let left = limit.saturating_sub(reserve(values));
    let max_clients = clients.min(left - dedicated.min(left / DEDICATED_PART));
    if max_clients == 0 {
        return Err(DaemonError::Descriptors { limit, wanted });
    }
    let dedicated_max = dedicated.min(left - max_clients);
    values.max_clients = max_clients;
    values.upstream_dedicated_max = dedicated_max;
    for (key, text) in &mut fitted.typed {
        match *key {
            "max_clients" => *text = max_clients.to_string(),
            "upstream_dedicated_max" => *text = dedicated_max.to_string(),
            _ => {}
        }
    }
    tracing::warn!(
        limit,
        wanted,
        max_clients,
        upstream_dedicated_max = dedicated_max,
        "max_clients is lowered: {limit} files may be open, and {wanted} are wanted for {clients} clients; set \
         LimitNOFILE= of the unit, or ulimit -n, to {wanted} at least",
    );
    Ok(fitted)
}

/// For how many clients at most `limit` descriptors are enough, beside the dedicated connections.
pub(super) fn clients_possible(values: &SettingValues, limit: usize) -> usize {
    let left = limit.saturating_sub(reserve(values));
    left - values.upstream_dedicated_max.min(left / DEDICATED_PART)
}

fn reserve(values: &SettingValues) -> usize {
    RESERVE + RESERVE_OF_THREAD * (values.workers + 1)
}

/// Dedicated connections that clients can need: one each at most.
fn dedicated(values: &SettingValues) -> usize {
    values.upstream_dedicated_max.min(values.max_clients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Key, Sources};

    fn config(max_clients: usize, dedicated_max: usize) -> Config {
        let flags = [
            ("upstream", "redis://h".to_owned()),
            ("max_clients", max_clients.to_string()),
            ("upstream_dedicated_max", dedicated_max.to_string()),
        ];
        let flags = flags.map(|(name, text)| (Key::named(name).unwrap(), text)).to_vec();
        Config::load(&Sources { flags, ..Sources::default() }).unwrap()
    }

    #[test]
    fn clients_are_lowered_to_what_descriptors_are_enough_for() {
        let reserve = RESERVE + RESERVE_OF_THREAD * 2;
        for (limit, (clients, dedicated), fits) in [
            // Enough for all, and for what the few clients can use of many.
            (reserve + 140, (100, 40), Some((100, 40))),
            (reserve + 200, (100, 4_096), Some((100, 4_096))),
            (usize::MAX, (1_000_000, 1_000_000), Some((1_000_000, 1_000_000))),
            // One short.
            (reserve + 139, (100, 40), Some((100, 39))),
            // Far too few.
            (reserve + 40, (10_000, 4_096), Some((30, 10))),
            (reserve + 40, (10_000, 0), Some((40, 0))),
            (reserve + 1, (10_000, 4_096), Some((1, 0))),
            (reserve, (10_000, 4_096), None),
            (0, (1, 1), None),
        ] {
            let fitted = fitted(&config(clients, dedicated), limit);
            let found =
                fitted.ok().map(|config| (config.values.max_clients, config.values.upstream_dedicated_max));
            assert_eq!(found, fits, "{limit}: {clients}, {dedicated}");
        }
    }

    #[test]
    fn what_is_lowered_is_shown_lowered() {
        let fitted = fitted(&config(10_000, 4_096), 200).unwrap();
        assert!(fitted.typed.contains(&("max_clients", "30".to_owned())));
        assert!(fitted.typed.contains(&("upstream_dedicated_max", "10".to_owned())));
        assert_eq!(clients_possible(&fitted.values, 200), 30);
    }
}
