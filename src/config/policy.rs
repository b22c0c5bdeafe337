//! The tables `[[policy]]` of the configuration file: what holds for the keys of one prefix.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::error::ConfigError;
use super::settings::{L1_TTL, NEGATIVE_TTL};
use super::source::FileText;
use super::table::{TableReader, tables};
use super::units::{DAY, GIB, MILLISECOND};
use super::value;
use crate::cache::policy::{POLICIES_MAX, PREFIX_BYTES_MAX, Policy, TrackingMode, TtlMode};

/// The keys of a policy.
const KEYS: [&str; 10] = [
    "prefix",
    "cache",
    "ttl",
    "ttl_jitter",
    "negative_ttl",
    "mode",
    "tracking",
    "value_max",
    "admission",
    "default_ttl",
];

/// Those that say how something is kept, which contradicts that nothing is.
const OF_KEEPING: [&str; 7] =
    ["ttl", "ttl_jitter", "negative_ttl", "mode", "tracking", "value_max", "admission"];

const VALUE_MAX: RangeInclusive<usize> = 1..=1024 * GIB;

const DEFAULT_TTL: RangeInclusive<Duration> = MILLISECOND..=Duration::from_secs(366 * DAY.as_secs());

/// Reads all policies. What is wrong with them goes to `faults`.
pub(super) fn read(
    file: &FileText<'_>,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Vec<ConfigError>,
) -> Vec<Policy> {
    let mut prefixes = BTreeMap::new();
    let mut policies = Vec::new();
    for (table, span) in tables(file, "policy", POLICIES_MAX, value, faults) {
        let mut read = TableReader { file, kind: "policy", table, faults };
        let Some((prefix, line)) = prefix(&mut read) else {
            if !table.contains_key("prefix") {
                let source = Some(file.at(span));
                faults.push(ConfigError::new("policy.prefix", source, None, "is not given"));
            }
            continue;
        };
        if let Some(former) = prefixes.insert(prefix.clone(), line) {
            read.fault("prefix", format!("line {former} has a policy for this prefix already"));
        }
        policies.push(policy(&mut read, &prefix));
    }
    policies
}

/// The prefix and its line.
fn prefix(table: &mut TableReader<'_>) -> Option<(String, usize)> {
    let value = table.table.get("prefix")?;
    let line = table.file.line(value.span());
    let Some(prefix) = value.get_ref().as_str() else {
        table.fault("prefix", "a string is wanted");
        return None;
    };
    if prefix.is_empty() {
        let message = "is empty: what holds for all keys is said outside of the policies";
        table.fault("prefix", message);
        return None;
    }
    if prefix.len() > PREFIX_BYTES_MAX {
        let message = format!("has {} bytes, and at most {PREFIX_BYTES_MAX} are allowed", prefix.len());
        table.faults.push(ConfigError::new(
            "policy.prefix",
            Some(table.file.at(value.span())),
            None,
            message,
        ));
        return None;
    }
    Some((prefix.to_owned(), line))
}

fn policy(table: &mut TableReader<'_>, prefix: &str) -> Policy {
    let mut policy = Policy::new(prefix.as_bytes());
    table.names(&KEYS);
    policy.cache = table.read("cache", value::switch).unwrap_or(true);
    let terms = &mut policy.terms;
    terms.ttl = table.read("ttl", |text| value::duration(text, L1_TTL));
    terms.ttl_jitter = table.read("ttl_jitter", jitter).unwrap_or_default();
    terms.negative_ttl = table.read("negative_ttl", |text| value::duration(text, NEGATIVE_TTL));
    terms.mode = table.read("mode", mode).unwrap_or_default();
    terms.tracking = table.read("tracking", tracking).unwrap_or_default();
    terms.value_max = table.read("value_max", |text| value::size(text, VALUE_MAX));
    terms.admission = table.read("admission", value::admission);
    policy.default_ttl = table.read("default_ttl", |text| value::duration(text, DEFAULT_TTL));
    if !policy.cache {
        for name in OF_KEEPING.iter().filter(|name| table.table.contains_key(**name)) {
            table.fault(name, "contradicts cache = false, with which nothing is kept");
        }
    }
    policy
}

/// A fraction of a time, in thousandths. Not all of it: then nothing would be kept.
fn jitter(text: &str) -> Result<u16, String> {
    let fraction = text.parse().ok().filter(|fraction: &f64| (0.0..=0.9).contains(fraction));
    let fraction = fraction.ok_or("a fraction from 0 to 0.9 is wanted, such as 0.1")?;
    Ok((fraction * 1_000.0).round() as u16)
}

fn mode(text: &str) -> Result<TtlMode, String> {
    match text {
        "exact" => Ok(TtlMode::Exact),
        "capped" => Ok(TtlMode::Capped),
        _ => Err("exact or capped is wanted".to_owned()),
    }
}

fn tracking(text: &str) -> Result<TrackingMode, String> {
    match text {
        "default" => Ok(TrackingMode::ByKey),
        "broadcast" => Ok(TrackingMode::Broadcast),
        _ => Err("default or broadcast is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::cache::policy::{AdmissionRule, CacheTerms, Policies};
    use crate::config::{Config, Sources};

    /// The policies of a file, or its faults, one a line, without its directory.
    fn load(policies: &str) -> Result<Vec<Policy>, Vec<String>> {
        let mut file = tempfile::Builder::new().prefix("n").suffix(".toml").tempfile().unwrap();
        write!(file, "upstream = 'redis://h'\n{policies}").unwrap();
        let name = format!("{}:", file.path().display());
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        let shown = |fault: &ConfigError| fault.to_string().replace(&name, "");
        Config::load(&sources)
            .map(|config| config.policies)
            .map_err(|faults| faults.0.iter().map(shown).collect())
    }

    #[test]
    fn every_key_of_a_policy_is_read() {
        let policies = load(
            "[[policy]]\nprefix = 'a'\ncache = false\ndefault_ttl = '1h'\n[[policy]]\nprefix = 'b'\nttl = '2s'\nttl_jitter = 0.25\n\
             negative_ttl = '1s'\nmode = 'capped'\ntracking = 'broadcast'\nvalue_max = '1kb'\nadmission = 'always'\n[[policy]]\nprefix = 'b\u{e9}'\n",
        )
        .unwrap();
        let default_ttl = Some(Duration::from_secs(3600));
        assert_eq!(policies[0], Policy { cache: false, default_ttl, ..Policy::new(b"a") });
        let terms = CacheTerms {
            ttl: Some(Duration::from_secs(2)),
            ttl_jitter: 250,
            negative_ttl: Some(Duration::from_secs(1)),
            mode: TtlMode::Capped,
            tracking: TrackingMode::Broadcast,
            value_max: Some(1024),
            admission: Some(AdmissionRule::Always),
        };
        assert_eq!(policies[1], Policy { terms, ..Policy::new(b"b") });
        assert_eq!(Policies::new(policies).of("b\u{e9}t\u{e9}".as_bytes()).prefix.len(), 3);
        assert_eq!(load(""), Ok(Vec::new()));
    }

    #[test]
    fn every_fault_is_named_with_its_line() {
        let long = "x".repeat(PREFIX_BYTES_MAX + 1);
        let text = format!(
            "l1_ttl = '2'\n[[policy]]\nprefix = 'a'\nttl = '2d'\nnegative_ttl = 5\nttl_jitter = 1\n[[policy]]\n\
             prefix = 'a'\nmode = 'x'\nvalue_max = 0\ncache = 'x'\n[[policy]]\nprefix = ''\n[[policy]]\n\
             prefix = '{long}'\n[[policy]]\nttl = '1s'\n[[policy]]\nprefix = 5\n[[policy]]\nprefix = 'c'\n\
             cache = false\nttl = '1s'\nadmission = 'never'\nmodus = 'x'\ntracking = 'bcast'\ndefault_ttl = 3600\n[policy.sub]\n"
        );
        let faults = load(&text).unwrap_err();
        let wanted = [
            "policy.ttl = \"2d\" (5): a duration from 1ms to 1d",
            "policy.negative_ttl = \"5\" (6): a duration from 1ms to 1h",
            "policy.ttl_jitter = \"1\" (7): a fraction from 0 to 0.9",
            "policy.prefix = \"a\" (9): line 4 has a policy for this prefix already",
            "policy.mode = \"x\" (10): exact or capped is wanted",
            "policy.value_max = \"0\" (11): a size from 1 to",
            "policy.cache = \"x\" (12): true or false is wanted",
            "policy.prefix = \"\" (14): is empty: what holds for all keys",
            "policy.prefix (16): has 513 bytes, and at most 512 are allowed",
            "policy.prefix (17): is not given",
            "policy.prefix = \"5\" (20): a string is wanted",
            "policy.ttl = \"1s\" (24): contradicts cache = false",
            "policy.admission = \"never\" (25): adaptive or always is wanted",
            "policy.admission = \"never\" (25): contradicts cache = false",
            "policy.modus (26): no key of a policy has this name; did you mean mode?",
            "policy.tracking = \"bcast\" (27): default or broadcast is wanted",
            "policy.tracking = \"bcast\" (27): contradicts cache = false",
            "policy.default_ttl = \"3600\" (28): a duration from 1ms to 366d",
            "policy.sub (29): no key of a policy has this name",
            "l1_ttl = \"2\" (2): a duration from",
        ];
        for wanted in wanted {
            let count = faults.iter().filter(|fault| fault.starts_with(wanted)).count();
            assert_eq!(count, 1, "{wanted}: {faults:#?}");
        }
        assert_eq!(faults.len(), wanted.len(), "{faults:#?}");
    }

    #[test]
    fn policies_are_tables_and_not_too_many() {
        for text in ["policy = 'x'\n", "[policy]\nprefix = 'x'\n", "policy = [1]\n"] {
            let faults = load(text).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains("tables are wanted"), "{faults:?}");
        }
        let many = |count: usize| -> String {
            (0..count).map(|number| format!("[[policy]]\nprefix = '{number}'\n")).collect()
        };
        assert_eq!(load(&many(POLICIES_MAX)).unwrap().len(), POLICIES_MAX);
        let faults = load(&many(POLICIES_MAX + 1)).unwrap_err();
        assert!(faults[0].contains("there are 257, and at most 256 are allowed"), "{faults:?}");
    }

    #[test]
    fn a_fraction_is_read_in_thousandths() {
        for (text, thousandths) in [("0", 0), ("0.1", 100), ("0.25", 250), ("0.9", 900), ("1e-3", 1)] {
            assert_eq!(jitter(text), Ok(thousandths));
        }
        for wrong in ["", "10%", "0.95", "1", "-0.1", "nan", "inf"] {
            assert!(jitter(wrong).is_err(), "{wrong}");
        }
    }
}
