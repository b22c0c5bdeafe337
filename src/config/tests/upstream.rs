//! The URL of the upstream, its logins and addresses.

use super::*;

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

    for (text, database) in [
        ("redis://h:6379/3", 3),
        ("redis://h:6379", 0),
        ("redis-sentinel://h:26379/s/12", 12),
        ("redis+unix:///s.sock?db=7", 7),
    ] {
        let url = read(text);
        assert_eq!((url.database, url.to_string()), (database, text.to_owned()));
    }

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
        ("redis://h/x", "the number of a database"),
        ("redis://h/-1", "the number of a database"),
        ("redis://h/4294967296", "the number of a database"),
        ("redis+unix:///s.sock?db=x", "the number of a database"),
        ("redis-cluster://h/15", "database 0 alone"),
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
