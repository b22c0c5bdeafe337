//! How single values are written: addresses, sizes, durations, numbers, permission bits. Each function takes
//! the text that was typed and returns the value, or a sentence that says what is allowed.

use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::bounded_file;
use super::units::{GIB, KIB, MIB};
use crate::cache::policy::AdmissionRule;
use crate::namespace::{NAME_BYTES_MAX, is_name};

/// The units of redis.conf, those with an `i` as everybody reads them, and their bytes.
const SIZE_UNITS: [(&str, u64); 11] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
    ("gib", 1 << 30),
];

/// The units of a duration in milliseconds, the longest last.
const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A whole number within `range`.
pub(super) fn number(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let number = text.replace('_', "").parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("a whole number from {} to {} is wanted", range.start(), range.end()))
}

/// Microseconds as in redis.conf: a whole number, and -1 for never.
pub(super) fn microseconds(text: &str) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| *number >= -1);
    number
        .ok_or_else(|| format!("a number of microseconds from 0 to {} is wanted, or -1 for never", i64::MAX))
}

/// Whether something is on.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "true or false is wanted".to_owned())
}

/// What becomes of keys that are invalidated more often than they are read.
pub(super) fn admission(text: &str) -> Result<AdmissionRule, String> {
    match text {
        "adaptive" => Ok(AdmissionRule::Adaptive),
        "always" => Ok(AdmissionRule::Always),
        _ => Err("adaptive or always is wanted".to_owned()),
    }
}

/// The name of a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("letters, digits, '-', '_' and '.' are wanted, {NAME_BYTES_MAX} at most"))
}

/// A part of all, from 0 to 1; none for 0.
pub(super) fn fraction(text: &str) -> Result<Option<f64>, String> {
    let fraction = text.parse().ok().filter(|fraction: &f64| (0.0..=1.0).contains(fraction));
    let fraction = fraction.ok_or("a fraction from 0 to 1 is wanted, such as 0.01")?;
    Ok(Some(fraction).filter(|fraction| *fraction > 0.0))
}

/// A size in bytes within `range`, such as `100mb`.
pub(super) fn size(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let bytes =
        with_unit(&text.to_ascii_lowercase(), &SIZE_UNITS).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
        let (low, high) = (shown_size(*range.start()), shown_size(*range.end()));
        let examples = examples_within([64 * KIB, 100 * MIB, GIB].into_iter(), &range, shown_size);
        format!("a size from {low} to {high} is wanted, such as {examples}")
    })
}

/// A size within `range`, or a part of `whole` bytes, such as `25%`; a part is brought into the range.
pub(super) fn size_or_part(text: &str, whole: usize, range: RangeInclusive<usize>) -> Result<usize, String> {
    match part(text) {
        Some(percent) => Ok((whole / 100 * percent).clamp(*range.start(), *range.end())),
        None => size(text, range).map_err(|error| beside(&error, "or a part of memory_max (25%)")),
    }
}

/// What is said of a value that is no size where something else will do as well.
pub(super) fn beside(error: &str, otherwise: &str) -> String {
    error.replacen(" is wanted", &format!(", {otherwise} is wanted"), 1)
}

/// The number of a part of a hundred.
pub(super) fn part(text: &str) -> Option<usize> {
    text.strip_suffix('%')?.parse().ok().filter(|percent| (1..=100).contains(percent))
}

/// A duration within `range`, such as `500ms`. The unit is part of it: a bare number would mean seconds to
/// one reader and milliseconds to the next.
pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = with_unit(text, &DURATION_UNITS).map(Duration::from_millis);
    duration.filter(|duration| range.contains(duration)).ok_or_else(|| {
        let (low, high) = (shown(*range.start()), shown(*range.end()));
        let examples = [500, 5_000, 120_000, 3_600_000].into_iter().map(Duration::from_millis);
        let examples = examples_within(examples, &range, shown);
        format!("a duration from {low} to {high} with its unit is wanted, such as {examples}")
    })
}

/// Those of `examples` that `range` allows, as a list in a sentence.
fn examples_within<T: PartialOrd + Copy>(
    examples: impl Iterator<Item = T>,
    range: &RangeInclusive<T>,
    shown: impl Fn(T) -> String,
) -> String {
    let mut allowed: Vec<String> = examples.filter(|example| range.contains(example)).map(&shown).collect();
    match allowed.pop() {
        Some(last) if allowed.is_empty() => last,
        Some(last) => format!("{} or {last}", allowed.join(", ")),
        None => shown(*range.start()),
    }
}

/// A size as one would type it.
fn shown_size(bytes: usize) -> String {
    let units = [(GIB, "gb"), (MIB, "mb"), (KIB, "kb")];
    let unit = units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(unit, name)| format!("{}{name}", bytes / unit))
}

/// `duration` as one would type it.
pub(super) fn shown(duration: Duration) -> String {
    let millis = duration.as_millis() as u64;
    let whole = |(_, unit): &&(&str, u64)| millis > 0 && millis.is_multiple_of(*unit);
    let (name, unit) = DURATION_UNITS.iter().rfind(whole).unwrap_or(&DURATION_UNITS[0]);
    format!("{}{name}", millis / unit)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, name) = text.split_at(digits);
    let (_, unit) = units.iter().find(|(unit, _)| *unit == name)?;
    number.parse::<u64>().ok()?.checked_mul(*unit)
}

/// Permission bits in octal: `770`, `0770` or `0o770`.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777 && !digits.starts_with('+'));
    mode.ok_or_else(|| "permission bits in octal from 0 to 777 are wanted".to_owned())
}

/// A path. Whether anything is there is seen when it is used.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') { Err("a path is wanted".to_owned()) } else { Ok(text.into()) }
}

/// A path at which a file is, or nothing yet.
pub(super) fn regular_file(text: &str) -> Result<PathBuf, String> {
    let path = path(text)?;
    bounded_file::regular_or_none(&path).map(|()| path)
}

/// A name: not empty, and nothing in it that is not seen.
pub(super) fn name(text: &str) -> Result<String, String> {
    let wrong = text.is_empty() || text.contains(char::is_control);
    if wrong { Err("a name is wanted".to_owned()) } else { Ok(text.to_owned()) }
}

/// Addresses to listen on, separated by commas; an empty text is an empty list. A name means every address
/// that it resolves to.
pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let mut addresses = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (host, port) = host_port(item)
            .and_then(|(host, port)| Some((host, port?)))
            .ok_or_else(|| format!("HOST:PORT or [IPV6]:PORT is wanted, not {item:?}"))?;
        let resolved = (host, port).to_socket_addrs();
        for address in resolved.map_err(|error| format!("cannot resolve {host:?}: {error}"))? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

/// What is announced, and where that is reached: a host, and a port if the rule is about one endpoint.
pub type AddressRule = ((String, Option<u16>), (String, Option<u16>));

/// Rules of an address map. With more than this, the names are wrong.
const ADDRESS_RULES_MAX: usize = 4096;

/// Where nodes are reached that announce other addresses.
pub(super) fn address_map(text: &str) -> Result<Vec<AddressRule>, String> {
    let mut rules: Vec<AddressRule> = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let rule = address_rule(item).ok_or_else(|| {
            format!("HOST:PORT=HOST:PORT or HOST=HOST is wanted, announced first and reachable second, not {item:?}")
        })?;
        if rules.iter().any(|(announced, _)| *announced == rule.0) {
            return Err(format!("two rules for one announced address are one too many: {item:?}"));
        }
        rules.push(rule);
        if rules.len() > ADDRESS_RULES_MAX {
            return Err(format!("at most {ADDRESS_RULES_MAX} rules are wanted"));
        }
    }
    Ok(rules)
}

fn address_rule(item: &str) -> Option<AddressRule> {
    let place = |text| host_port(text).map(|(host, port)| (host.to_owned(), port));
    let (announced, reachable) = item.split_once('=')?;
    let (announced, reachable) = (place(announced.trim())?, place(reachable.trim())?);
    (announced.1.is_some() == reachable.1.is_some() && reachable.1 != Some(0))
        .then_some((announced, reachable))
}

/// The host (an IPv6 address without its brackets) and the port, if one is given.
pub(super) fn host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(text) => text.split_once(']').filter(|(host, _)| host.contains(':'))?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let named = |byte: u8| byte.is_ascii_graphic() && !b"/@[]?#\"\\".contains(&byte);
    if host.is_empty() || !host.bytes().all(named) {
        return None;
    }
    match rest.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(port.parse().ok()?)))
        }
        None if rest.is_empty() => Some((host, None)),
        _ => None,
    }
}

/// Whether the configured hosts alone are asked for the owners of the slots.
pub(super) fn is_topology_source_configured(text: &str) -> Result<bool, String> {
    match text {
        "nodes" => Ok(false),
        "configured" => Ok(true),
        _ => Err("nodes or configured is wanted".to_owned()),
    }
}

/// Whether parameters of the servers of a cluster are set on all primaries.
pub(super) fn is_server_config_forwarded(text: &str) -> Result<bool, String> {
    match text {
        "operator" => Ok(false),
        "forward" => Ok(true),
        _ => Err("operator or forward is wanted".to_owned()),
    }
}

/// Whether a transaction on several slots of a cluster is split into one for each slot.
pub(super) fn is_transaction_per_slot(text: &str) -> Result<bool, String> {
    match text {
        "strict" => Ok(false),
        "per_slot" => Ok(true),
        _ => Err("strict or per_slot is wanted".to_owned()),
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Human,
    /// A JSON object on each line.
    Json,
}

/// The form of the log.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err("human or json is wanted".to_owned()),
    }
}

/// A filter of log events. A bare word must be a level: to the filter `inof` would be the name of a module,
/// and the log would be silent.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let wanted =
        "off, error, warn, info, debug, trace or directives such as nearside::upstream=debug,info are wanted";
    let bare = |part: &str| !part.contains(['=', '[']) && part.trim().parse::<LevelFilter>().is_err();
    let plain = !text.contains(['[', '{']);
    if text.trim().is_empty() || (plain && text.split(',').any(bare)) {
        return Err(wanted.to_owned());
    }
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| format!("{wanted}: {error}"))
}
