//! INFO: sections as Redis names and orders them, and numbers that are true.

use std::collections::BTreeMap;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries};

fn info(client: &mut SandboxClient, sections: &[&str]) -> String {
    client.command(&[&["INFO"][..], sections].concat()).unwrap().text()
}

fn headings(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# ")).collect()
}

fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).collect()
}

#[test]
fn sections_are_named_and_ordered_as_in_redis() {
    let cluster = own_primaries(1);
    let daemon = Daemon::before(&cluster);
    let (mut client, mut direct) = (daemon.client(), cluster.nodes()[0].server().connect().unwrap());
    for asked in
        [&[][..], &["default"], &["all"], &["everything"], &["STATS", "cpu"], &["commandstats"], &["nope"]]
    {
        let (own, redis) = (info(&mut client, asked), info(&mut direct, asked));
        let with_our_own = !matches!(asked, ["STATS", ..] | ["commandstats" | "nope"]);
        // Newer servers have sections about what the daemon is not.
        let newer = ["TLS", "Cluster Info", "Scripting Engines"];
        let mut expected = headings(&redis);
        expected.retain(|name| !newer.contains(name));
        // Which of them Redis shows with nothing in them differs between its versions.
        expected.extend(with_our_own.then_some("Nearside"));
        let mut found = headings(&own);
        if asked == ["all"] {
            found.retain(|name| *name != "Modules" || expected.contains(name));
        }
        assert_eq!(found, expected, "{asked:?}");
    }
}

#[test]
fn numbers_are_those_of_the_daemon_and_of_all_primaries() {
    let cluster = own_primaries(3);
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--max-clients", "50"]);
    let mut client = daemon.client();
    assert_eq!(info(&mut client, &["keyspace"]), "# Keyspace\r\n");
    for number in 0..100 {
        let key = format!("key:{number}");
        client.command(&["SET", &key, "value"]).unwrap();
        if number % 4 == 0 {
            client.command(&["EXPIRE", &key, "1000"]).unwrap();
        }
    }
    let text = info(&mut client, &["keyspace"]);
    assert!(text.starts_with("# Keyspace\r\ndb0:keys=100,expires=25,avg_ttl="), "{text}");
    for node in cluster.nodes() {
        node.server()
            .command(&["CONFIG", "SET", "maxmemory", "10mb", "maxmemory-policy", "volatile-ttl"])
            .unwrap();
    }
    let text = info(&mut client, &[]);
    let fields = fields(&text);
    for (name, value) in [
        ("redis_mode", "standalone"),
        ("role", "master"),
        ("loading", "0"),
        ("cluster_enabled", "0"),
        ("maxclients", "50"),
        ("connected_clients", "1"),
        ("maxmemory", "31457280"),
        ("maxmemory_policy", "volatile-ttl"),
        ("primaries_answered", "3"),
        ("primaries_missing", "0"),
    ] {
        assert_eq!(fields.get(name), Some(&value), "{name} in {text}");
    }
    let number = |name: &str| fields[name].parse::<f64>().unwrap();
    assert!(number("used_memory") > 1e6 && number("used_memory_peak") >= number("used_memory"));
    let spent = || {
        let text = info(&mut daemon.client(), &["cpu"]);
        let spent =
            |name| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<f64>().unwrap();
        spent("used_cpu_user:") + spent("used_cpu_sys:")
    };
    eventually("the daemon has spent a tick of CPU", Duration::from_secs(10), || spent() > 0.0);
    assert!(number("total_commands_processed") >= 125.0);
    assert_eq!(fields["run_id"].len(), 40);
    let version = cluster.nodes()[0].server().command(&["INFO", "server"]).unwrap().text();
    assert!(version.contains(&format!("redis_version:{}\r\n", fields["redis_version"])));
    assert!(client.command(&["CONFIG", "RESETSTAT"]).unwrap().is_ok());
    let after = info(&mut client, &["stats"]);
    let processed = after.lines().find_map(|line| line.strip_prefix("total_commands_processed:")).unwrap();
    assert!(processed.parse::<u64>().unwrap() <= 1, "{after}");
    assert!(daemon.counter("commands") > 125, "the daemon's own counters go on");
}

/// Each command with how often it was sent, refused and failed, and the codes of errors; no times.
fn counted(client: &mut SandboxClient) -> Vec<String> {
    let text = info(client, &["commandstats", "errorstats"]);
    let lines = text.lines().filter(|line| line.contains("stat_") && !line.starts_with("cmdstat_info:"));
    let untimed = lines.map(|line| match line.split_once(",usec=") {
        Some((calls, rest)) => format!("{calls},{}", &rest[rest.find("rejected").unwrap()..]),
        None => line.to_owned(),
    });
    let mut lines: Vec<String> = untimed.collect();
    lines.sort();
    lines
}

#[test]
fn commands_and_errors_are_counted_as_by_a_plain_server() {
    let plain = Standalone::launch(&[]).unwrap();
    let behind = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", behind.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--workers", "2"]);
    daemon.until_tracked(1);
    let requests = "SET a 1\nGET a\nGET a\nGET a\nGET\nGET a b\nLPUSH a x\nINCR a\nINCR a b\nMGET a b\nFOO\nFOO bar\nCONFIG\n\
                    CONFIG GET\nCONFIG GET maxclients\nCLIENT FOO\nCLIENT ID\nSELECT 1\nSELECT x\nEVAL nonsense 0\n\
                    EVALSHA 0 0\nMULTI\nSET a 1\nGET a\nGET a\nEXEC\nMULTI\nGET\nEXEC\nMULTI\nGET a\nDISCARD\nDISCARD\n\
                    EXEC\nAUTH x\nHELLO 9\nXADD s 0-0 a b\nSUBSCRIBE a\nUNSUBSCRIBE a\nPING";
    let talk = |client: &mut SandboxClient| {
        assert!(client.command(&["CONFIG", "RESETSTAT"]).unwrap().is_ok());
        assert_eq!(counted(client), ["cmdstat_config|resetstat:calls=1,rejected_calls=0,failed_calls=0"]);
        for request in requests.lines().map(str::trim) {
            client.command(&request.split(' ').collect::<Vec<_>>()).unwrap();
        }
        let errors = info(client, &["stats"]);
        let errors = errors.lines().find(|line| line.starts_with("total_error_replies:")).unwrap().to_owned();
        (counted(client), errors)
    };
    let expected = talk(&mut plain.server().connect().unwrap());
    assert!(expected.0.iter().any(|line| line == "errorstat_WRONGTYPE:count=1"), "{expected:?}");
    assert_eq!(talk(&mut daemon.client()), expected);
    // Whichever worker serves them.
    let mut clients: Vec<SandboxClient> = (0..8).map(|_| daemon.client()).collect();
    clients[0].command(&["CONFIG", "RESETSTAT"]).unwrap();
    clients.iter_mut().for_each(|client| drop(client.command(&["GET", "a"]).unwrap()));
    let counts = counted(&mut clients[7]);
    assert!(counts.contains(&"cmdstat_get:calls=8,rejected_calls=0,failed_calls=0".to_owned()), "{counts:?}");
    let times = info(&mut clients[0], &["commandstats"]);
    assert!(times.contains("cmdstat_get:calls=8,usec=0,usec_per_call=0.00,rejected_calls=0"), "{times}");
}

#[test]
fn a_primary_that_is_away_is_left_out_and_said_to_be() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    for number in 0..50 {
        client.command(&["SET", &format!("key:{number}"), "value"]).unwrap();
    }
    cluster.nodes()[2].server().stop_signal().unwrap();
    let text = info(&mut client, &[]);
    cluster.nodes()[2].server().continue_signal().unwrap();
    let fields = fields(&text);
    assert_eq!((fields["primaries_answered"], fields["primaries_missing"]), ("2", "1"));
    let keys =
        fields["db0"].strip_prefix("keys=").unwrap().split(',').next().unwrap().parse::<u64>().unwrap();
    assert!((1..50).contains(&keys), "{keys}");
    // Inside MULTI nobody is asked.
    for request in
        [&["MULTI"][..], &["INFO"], &["CONFIG", "GET", "maxclients"], &["CONFIG", "GET", "maxmemory"]]
    {
        client.command(request).unwrap();
    }
    let reply = client.command(&["EXEC"]).unwrap();
    let [told, parameters, refused] = reply.items() else { panic!("{reply:?}") };
    assert!(told.text().contains("redis_mode:standalone") && !told.is_error());
    assert_eq!(parameters.items()[0], Reply::bulk("maxclients"));
    assert!(refused.is_error());
}
