//! The configuration as an operator sees it: what is taken from where, and what is said when something is
//! wrong.

use std::io::Write;
use std::time::Duration;

use super::units::{DAY, GIB, MIB, MILLISECOND};
use super::*;

const UPSTREAM: (&str, &str) = ("upstream", "redis-cluster://127.0.0.1:7000");

fn flags(flags: &[(&str, &str)]) -> Sources {
    let flag = |(name, text): &(&str, &str)| (Key::named(name).expect("a key"), (*text).to_owned());
    Sources { flags: flags.iter().map(flag).collect(), ..Sources::default() }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The faults, one line each, without the directory of the file.
fn faults(sources: &Sources) -> Vec<String> {
    let faults = Config::load(sources).expect_err("faults");
    let directory = format!("{}/", std::env::temp_dir().display());
    faults.0.iter().map(|fault| fault.to_string().replace(&directory, "")).collect()
}

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

#[test]
fn clients_of_other_machines_are_let_in_only_when_that_is_said() {
    let allowed = |given: &[(&str, &str)]| {
        let given = [&[UPSTREAM][..], given].concat();
        Config::load(&flags(&given)).unwrap().values.allow_remote
    };
    assert!(!allowed(&[]));
    assert!(!allowed(&[("allow_remote", "false")]));
    assert!(allowed(&[("allow_remote", "true")]));
    let file = file("upstream = 'redis://h'\nallow_remote = true\n");
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    assert!(Config::load(&sources).unwrap().values.allow_remote);
}

#[test]
fn each_key_has_a_reader_that_can_object() {
    for key in KEYS {
        let faults = Config::load(&flags(&[UPSTREAM, (key.name, "\0")])).expect_err(key.name);
        assert!(faults.0.iter().any(|fault| fault.key == key.name), "{}: {faults}", key.name);
    }
}

#[test]
fn values_that_contradict_each_other_are_faults() {
    let cases = [
        ([("heartbeat_interval", "3s"), ("lease", "3s")], "lease = \"3s\" (--lease): must be more than"),
        (
            [("negative_ttl", "4s"), ("l1_ttl", "1s")],
            "topology_refresh_interval = \"5s\" (default): must be at most",
        ),
        (
            [("topology_refresh_gap_min", "2s"), ("topology_refresh_interval", "1s")],
            "topology_refresh_gap_min = \"2s\" (--topology-refresh-gap-min): must be at most",
        ),
        (
            [("upstream_backoff_min", "2s"), ("upstream_backoff_max", "1s")],
            "upstream_backoff_min = \"2s\" (--upstream-backoff-min): must be at most",
        ),
    ];
    for ([first, second], wanted) in cases {
        let faults = faults(&flags(&[UPSTREAM, first, second]));
        assert!(faults.len() == 1 && faults[0].starts_with(wanted), "{wanted}: {faults:?}");
    }
}

/// A machine whose control group has this limit, in bytes.
fn machine(limit: usize) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let files = [
        ("proc/self/cgroup", "0::/\n".to_owned()),
        ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n".to_owned()),
        ("sys/fs/cgroup/memory.max", limit.to_string()),
    ];
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn what_may_be_held_follows_from_the_limit_of_the_machine_and_all_else_from_that() {
    let root = machine(100 * MIB);
    let load = |given: &[(&str, &str)]| {
        let sources = flags(&[&[UPSTREAM], given].concat());
        Config::load(&Sources { machine: Some(root.path().to_owned()), ..sources }).unwrap()
    };
    let config = load(&[]);
    assert_eq!(config.values.memory_max.max, Some(90 * MIB));
    assert_eq!(config.values.memory_max.limit.as_ref().map(|limit| limit.bytes), Some(100 * MIB));
    assert_eq!(config.values.l1_size, 45 * MIB, "100mb is more than half");
    assert_eq!(config.values.request_bytes_max, 90 * MIB / 100 * 50);
    assert_eq!(config.values.pubsub_output_max, 90 * MIB / 100 * 3);
    let shown = |config: &Config, key| {
        config.typed.iter().find(|(name, _)| *name == key).map(|(_, text)| text.clone()).unwrap_or_default()
    };
    assert_eq!(shown(&config, "memory_max"), (90 * MIB).to_string());
    assert_eq!(shown(&config, "l1_size"), (45 * MIB).to_string());
    assert_eq!(shown(&config, "request_bytes_max"), (90 * MIB / 100 * 50).to_string());

    let config = load(&[("memory_max", "64mb"), ("l1_size", "16mb"), ("transaction_bytes_max", "10%")]);
    assert_eq!(
        (config.values.memory_max.max, config.values.memory_max.limit.clone()),
        (Some(64 * MIB), None)
    );
    assert_eq!(config.values.l1_size, 16 * MIB);
    assert_eq!(config.values.transaction_bytes_max, 64 * MIB / 100 * 10);
    // A part is never outside of what may be typed.
    let config = load(&[("memory_max", "16mb")]);
    assert_eq!(config.values.pubsub_output_max, MIB);
    for none in ["none", "0"] {
        let config = load(&[("memory_max", none)]);
        assert_eq!((config.values.memory_max.max, config.values.l1_size), (None, 100 * MIB));
        assert_eq!(shown(&config, "memory_max"), "none");
        assert!(config.values.request_bytes_max >= 100 * MIB);
    }
    let wrong = faults(&flags(&[UPSTREAM, ("memory_max", "1mb"), ("transaction_bytes_max", "101%")]));
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].contains("a size from 16mb to 1024gb, auto or none is wanted"), "{wrong:?}");
    assert!(wrong[1].contains(", or a part of memory_max (25%) is wanted"), "{wrong:?}");
    let wrong = faults(&flags(&[UPSTREAM, ("l1_size", "1025gb")]));
    assert!(wrong[0].contains("l1_size") && wrong[0].contains("a size from 0 to 1024gb"), "{wrong:?}");
}

#[test]
fn an_absent_key_is_not_remembered_longer_than_a_present_one() {
    let config = Config::load(&flags(&[UPSTREAM, ("l1_ttl", "2s"), ("l1_size", "0")])).unwrap();
    assert_eq!(config.values.negative_ttl, Duration::from_secs(2));
    assert_eq!(config.values.l1_size, 0);
}

#[test]
fn listening_is_a_list_that_may_be_empty_beside_a_unix_socket() {
    let config = Config::load(&flags(&[UPSTREAM, ("listen", "127.0.0.1:1, [::1]:2,127.0.0.1:1")])).unwrap();
    assert_eq!(config.values.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);

    let only_unix = file("listen = []\nunix = '/run/n.sock'\nunix_mode = 0o700\nupstream = 'redis://h'");
    let config =
        Config::load(&Sources { file: Some(only_unix.path().into()), ..Sources::default() }).unwrap();
    assert_eq!(config.values.listen, []);
    assert_eq!((config.values.unix, config.values.unix_mode), (Some("/run/n.sock".into()), 0o700));

    assert!(faults(&flags(&[UPSTREAM, ("listen", "")]))[0].contains("there is nothing to listen on"));
    for wrong in [
        ":6379",
        "127.0.0.1",
        "127.0.0.1:",
        "::1:6379",
        "[::1]",
        "[::1]:65536",
        "[1.2.3.4]:1",
        "a:+1",
        "h:1/",
    ] {
        assert!(
            faults(&flags(&[UPSTREAM, ("listen", wrong)]))[0].contains("HOST:PORT or [IPV6]:PORT"),
            "{wrong}"
        );
    }
}

#[test]
fn sizes_and_durations_say_their_unit() {
    let sizes = [
        ("0", 0),
        ("10", 10),
        ("1k", 1000),
        ("1KB", 1024),
        ("100MB", 100 << 20),
        ("64MiB", 64 << 20),
        ("1g", 1_000_000_000),
    ];
    for (text, bytes) in sizes {
        assert_eq!(value::size(text, 0..=GIB), Ok(bytes), "{text}");
    }
    for wrong in [
        "",
        "mb",
        "1.5mb",
        "-1",
        "1 mb",
        "2gb",
        "1tb",
        "99999999999999999999",
        "18446744073709551615kb",
        "１",
    ] {
        assert!(value::size(wrong, 0..=GIB).is_err(), "{wrong}");
    }
    for (text, millis) in
        [("1ms", 1), ("90s", 90_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)]
    {
        let duration = Duration::from_millis(millis);
        assert_eq!(value::duration(text, MILLISECOND..=DAY), Ok(duration), "{text}");
        assert_eq!(value::shown(duration), if text == "90s" { "90s" } else { text });
    }
    for wrong in ["", "60", "s", "0s", "1.5s", "2d", "1S", "-1s", "18446744073709551615d"] {
        assert!(value::duration(wrong, MILLISECOND..=DAY).is_err(), "{wrong}");
    }
    for (text, mode) in [("770", 0o770), ("0700", 0o700), ("0o777", 0o777), ("0", 0)] {
        assert_eq!(value::mode(text), Ok(mode));
    }
    for wrong in ["", "1000", "+7", "-7", "8", "rwx", "0o"] {
        assert!(value::mode(wrong).is_err(), "{wrong}");
    }
    for filter in [
        "info",
        "DEBUG",
        "off",
        "nearside=trace,info",
        "nearside::upstream=debug,info",
        "[session{id=1}]=trace",
    ] {
        assert_eq!(value::log_filter(filter), Ok(filter.to_owned()));
    }
    for wrong in ["", "inof", "nearside=loud", "info,nearside"] {
        assert!(value::log_filter(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_url_of_each_kind_is_read() {
    let read = |text: &str| UpstreamUrl::parse(text).expect(text);
    let url = read("redis-cluster://us%40er:p%3A%2fs%25s@a:7000,[::1]:7001,c");
    assert_eq!(url.kind, UpstreamKind::Cluster);
    assert_eq!(url.hosts, [("a".to_owned(), 7000), ("::1".to_owned(), 7001), ("c".to_owned(), 6379)]);
    assert_eq!(url.username.as_deref(), Some("us@er"));
    assert_eq!(url.password, Some(Secret::new("p:/s%s")));
    assert_eq!(url.to_string(), "redis-cluster://a:7000,[::1]:7001,c:6379");
    assert!(!format!("{url:?}").contains("p:/s"), "{url:?}");

    let url = read("redis://:se:cr@t@h:1/0");
    assert_eq!((url.kind, url.hosts), (UpstreamKind::Standalone, vec![("h".to_owned(), 1)]));
    assert_eq!((url.username, url.password), (None, Some(Secret::new("se:cr@t"))));

    let url = read("redis-sentinel://a:1,b/my%20master/0");
    assert_eq!(url.kind, UpstreamKind::Sentinel { service: "my master".to_owned() });
    assert_eq!(url.hosts, [("a".to_owned(), 1), ("b".to_owned(), 26379)]);

    let url = read("redis+unix://:pw@/run/redis/redis.sock");
    assert_eq!((url.kind, url.hosts.len()), (UpstreamKind::Unix("/run/redis/redis.sock".into()), 0));
    assert_eq!(url.password, Some(Secret::new("pw")));
}

#[test]
fn a_url_that_cannot_be_served_says_why() {
    let cases = [
        ("rediss://h", "TLS upstream is not supported yet"),
        ("rediss-cluster://h", "TLS upstream is not supported yet"),
        ("redis://h/1", "only database 0"),
        ("redis-cluster://h/15", "only database 0"),
        ("redis-sentinel://h/s/2", "only database 0"),
        ("redis-sentinel://h", "service name is missing"),
        ("redis://a,b", "takes one host"),
        ("redis://h?timeout=1", "parameters in the URL"),
        ("redis://", "HOST:PORT"),
        ("redis-cluster://a,", "HOST:PORT"),
        ("redis://h:0", "HOST:PORT"),
        ("redis://h:99999", "HOST:PORT"),
        ("redis://::1:6379", "HOST:PORT"),
        ("redis://u:%zz@h", "hexadecimal"),
        ("redis://u:%+1@h", "hexadecimal"),
        ("redis://u:%f@h", "hexadecimal"),
        ("redis://u:%ff@h", "hexadecimal"),
        ("redis+unix://host/path", "absolute path"),
        ("redis+unix://", "absolute path"),
        ("http://h", "redis-cluster://HOST:PORT"),
        ("h:6379", "redis-cluster://HOST:PORT"),
        ("", "redis-cluster://HOST:PORT"),
    ];
    for (url, wanted) in cases {
        let message = UpstreamUrl::parse(url).expect_err(url);
        assert!(message.contains(wanted), "{url}: {message}");
    }
}

#[test]
fn the_password_may_stand_in_a_file() {
    let secret = file("hunter2\n");
    let path = secret.path().to_str().unwrap();
    let given = [("upstream", "redis://h"), ("upstream_username", "app"), ("upstream_password_file", path)];
    let config = Config::load(&flags(&given)).unwrap();
    assert_eq!(config.values.upstream.username.as_deref(), Some("app"));
    assert_eq!(config.values.upstream.password, Some(Secret::new("hunter2")));
    assert!(!format!("{config:?}").contains("hunter2"));

    let given = [("upstream", "redis://a:b@h"), ("upstream_username", "c"), ("upstream_password_file", path)];
    let twice = faults(&flags(&given));
    assert!(
        twice[0].contains("names a user already") && twice[1].contains("holds a password already"),
        "{twice:?}"
    );

    let given = [("upstream", "redis://a@h"), ("upstream_password_file", "/nowhere/secret")];
    let unreadable = "upstream_password_file = \"/nowhere/secret\" (--upstream-password-file): cannot read the file: \
                      No such file or directory (os error 2)";
    assert_eq!(faults(&flags(&given)), [unreadable]);

    assert!(faults(&flags(&[("upstream", "redis://a@h")]))[0].contains("a user is given but no password"));
}

#[test]
fn sentinels_have_a_login_of_their_own_and_only_where_there_are_some() {
    let secret = file("hunter3\n");
    let path = secret.path().to_str().unwrap();
    let upstream = ("upstream", "redis-sentinel://:hunter2@h/main");
    let given = [upstream, ("sentinel_username", "app"), ("sentinel_password_file", path)];
    let config = Config::load(&flags(&given)).unwrap();
    assert_eq!(config.values.sentinel_username.as_deref(), Some("app"));
    let sentinel = config.values.sentinel_password_file.as_ref().map(|file| &file.secret);
    assert_eq!(sentinel, Some(&Secret::new("hunter3")));
    assert_eq!(config.values.upstream.password, Some(Secret::new("hunter2")));
    assert!(!format!("{config:?}").contains("hunter3"));

    let alone = faults(&flags(&[upstream, ("sentinel_username", "app")]));
    assert!(alone[0].contains("set sentinel_password_file"), "{alone:?}");
    let elsewhere = flags(&[UPSTREAM, ("sentinel_username", "app"), ("sentinel_password_file", path)]);
    let elsewhere = faults(&elsewhere);
    assert_eq!(elsewhere.len(), 2);
    assert!(
        elsewhere.iter().all(|fault| fault.contains("redis-sentinel://HOST:PORT/SERVICE")),
        "{elsewhere:?}"
    );
}

#[test]
fn an_address_map_has_one_rule_for_each_announced_address() {
    let rules = "10.0.0.1:6379=127.0.0.1:7001, node.invalid=[::1],[fd00::1]:1=h:2";
    let config = Config::load(&flags(&[UPSTREAM, ("address_map", rules)])).unwrap();
    let place = |host: &str, port| (host.to_owned(), port);
    let wanted = [
        (place("10.0.0.1", Some(6379)), place("127.0.0.1", Some(7001))),
        (place("node.invalid", None), place("::1", None)),
        (place("fd00::1", Some(1)), place("h", Some(2))),
    ];
    assert_eq!(config.values.address_map, wanted);
    let cases = [
        ("a", "HOST:PORT=HOST:PORT or HOST=HOST is wanted"),
        ("a=", "HOST:PORT=HOST:PORT or HOST=HOST is wanted"),
        ("a:1=b", "HOST:PORT=HOST:PORT or HOST=HOST is wanted"),
        ("a=b:1", "HOST:PORT=HOST:PORT or HOST=HOST is wanted"),
        ("a:1=b:0", "HOST:PORT=HOST:PORT or HOST=HOST is wanted"),
        ("a:1=b:70000", "HOST:PORT=HOST:PORT or HOST=HOST is wanted"),
        ("a=b,a=c", "one too many"),
    ];
    for (rules, wanted) in cases {
        let said = faults(&flags(&[UPSTREAM, ("address_map", rules)]));
        assert!(said[0].contains(wanted), "{rules}: {said:?}");
    }
    let many: Vec<String> = (0..4097).map(|number| format!("a{number}=b")).collect();
    let said = faults(&flags(&[UPSTREAM, ("address_map", &many.join(","))]));
    assert!(said[0].contains("at most 4096 rules"), "{:.300}", said[0]);
}
