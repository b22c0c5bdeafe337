//! Where a value comes from, and how faults are reported.

use super::*;

#[test]
fn the_defaults_need_only_an_upstream() {
    let unlimited = Sources { machine: Some("/nowhere".into()), ..flags(&[UPSTREAM]) };
    let config = Config::load(&unlimited).unwrap();
    assert_eq!(config.values.memory_max.max, Some(GIB));
    assert_eq!(config.values.listen, ["127.0.0.1:6379".parse().unwrap()]);
    assert_eq!((config.values.unix, config.values.unix_mode), (None, 0o770));
    assert_eq!(config.values.l1_size, 100 << 20);
    assert_eq!(config.values.l1_ttl, Duration::from_secs(60));
    assert_eq!(config.values.lease, Duration::from_secs(2));
    assert_eq!(config.values.request_bulk_max, 512 << 20);
    assert_eq!(config.values.workers, 1);
    assert_eq!(
        faults(&flags(&[])),
        ["upstream: is not given: set --upstream, NEARSIDE_UPSTREAM or upstream in the file"]
    );
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = file("workers = 2\nl1_ttl = '2s'\nl1_size = '2mb'\nupstream = 'redis://file'\n");
    let mut sources = flags(&[("workers", "4")]);
    sources.environment = vec![
        ("NEARSIDE_WORKERS".into(), "3".into()),
        ("NEARSIDE_L1_TTL".into(), "3s".into()),
        ("NEARSIDE_CONFIG".into(), file.path().into()),
        ("WORKERS".into(), "9".into()),
    ];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.values.workers, 4);
    assert_eq!(config.values.l1_ttl, Duration::from_secs(3));
    assert_eq!(config.values.l1_size, 2 << 20);
    assert_eq!(config.values.upstream.hosts, [("file".to_owned(), 6379)]);
    assert_eq!(config.values.drain_timeout, Duration::from_secs(10));

    sources.file = Some("/nowhere/nearside.toml".into());
    let faults = faults(&sources);
    assert!(
        faults[0].starts_with("/nowhere/nearside.toml: cannot read the configuration file: No such"),
        "{faults:?}"
    );
}

#[test]
fn every_fault_is_reported_at_once_with_its_source() {
    let file =
        file("l1_szie = '1mb'\nworkers = true\n\nunix_mode = 888\npassword = 'hunter2'\nlease = '1s'\n");
    let name = file.path().file_name().unwrap().to_str().unwrap();
    let mut sources = flags(&[("upstream", "rediss://u:hunter2@h"), ("listen", "localhost")]);
    sources.file = Some(file.path().to_owned());
    sources.environment = vec![
        ("NEARSIDE_L1_TTL".into(), "60".into()),
        ("NEARSIDE_MAX_CLIENT".into(), "1".into()),
        ("NEARSIDE_PORT_6379_TCP_ADDR".into(), "10.0.0.1".into()),
        ("NEARSIDE_SERVICE_HOST".into(), "10.0.0.1".into()),
        ("NEARSIDE_LOG_LEVEL".into(), "inof".into()),
    ];
    let mut found = faults(&sources);
    found.sort();
    let wanted = [
        "NEARSIDE_MAX_CLIENT: no key has this name; did you mean NEARSIDE_MAX_CLIENTS?".to_owned(),
        "l1_ttl = \"60\" (NEARSIDE_L1_TTL): a duration from 1ms to 1d with its unit is wanted, such as 500ms, 5s, 2m \
         or 1h"
            .to_owned(),
        format!("l1_szie ({name}:1): no key has this name; did you mean l1_size?"),
        format!("lease = \"1s\" ({name}:6): must be more than heartbeat_interval = 1s (default)"),
        "listen = \"localhost\" (--listen): HOST:PORT or [IPV6]:PORT is wanted, not \"localhost\"".to_owned(),
        "log_level = \"inof\" (NEARSIDE_LOG_LEVEL): off, error, warn, info, debug, trace or directives such as \
         nearside::upstream=debug,info are wanted"
            .to_owned(),
        format!("password ({name}:5): no key has this name"),
        format!("unix_mode = \"888\" ({name}:4): permission bits in octal from 0 to 777 are wanted"),
        "upstream = \"rediss://***@h\" (--upstream): TLS upstream is not supported yet: write redis, redis-cluster or \
         redis-sentinel before a port without TLS, or name a local proxy that speaks TLS to the server"
            .to_owned(),
        format!("workers = \"true\" ({name}:2): a string or a whole number is wanted, not a boolean"),
    ];
    let mut wanted = wanted.to_vec();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn broken_toml_does_not_hide_the_other_faults() {
    let file = file("workers = 'many'\nl1_ttl = \n[listen]\n");
    let name = file.path().file_name().unwrap().to_str().unwrap().to_owned();
    let sources = Sources { file: Some(file.path().to_owned()), ..flags(&[UPSTREAM]) };
    let faults = faults(&sources);
    let has =
        |begin: String| assert!(faults.iter().any(|fault| fault.starts_with(&begin)), "{begin}: {faults:#?}");
    has(format!("file ({name}:2): not TOML:"));
    has(format!("workers = \"many\" ({name}:1): a whole number from 1 to 256"));
    has(format!("listen = \"[listen]\" ({name}:3): a string or an array of strings is wanted, not a table"));
}
