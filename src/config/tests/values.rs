//! What each value may be, and rules between values.

use super::*;

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
