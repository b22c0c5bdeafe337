//! `nearside compat` as a process, beside a real Redis that something uses.

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nearside::sandbox::{SandboxClient, Standalone};

use crate::support::servers::eventually;

/// How long MONITOR may take to begin.
const NOTICE: Duration = Duration::from_secs(10);

fn compat(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nearside"))
        .arg("compat")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The line of the report about a command.
fn row<'a>(report: &'a str, command: &str) -> &'a str {
    let is_it = |line: &&str| line.strip_prefix(command).is_some_and(|rest| rest.starts_with("  "));
    report.lines().find(is_it).unwrap_or_else(|| panic!("no {command} in {report}"))
}

fn send(client: &mut SandboxClient, requests: &[&str]) {
    for request in requests {
        client.command(&request.split(' ').collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn the_counts_of_a_redis_are_judged_by_command() {
    let redis = Standalone::launch(&["--requirepass".to_owned(), "secret word".to_owned()]).unwrap();
    let address = redis.server().address();
    let mut client = redis.server().connect().unwrap();
    client.command(&["AUTH", "secret word"]).unwrap();
    send(&mut client, &["SET k v", "GET k", "GET k", "CONFIG GET port", "SWAPDB 0 1", "SELECT 3", "SET k v"]);
    let url = format!("redis://:secret%20word@{address}");
    let report = text(&compat(&["--from", &url]));
    assert!(report.contains("in front of a cluster"), "{report}");
    let get = row(&report, "GET");
    assert!(get.contains(" 2  cacheable"), "{get}");
    assert!(row(&report, "SET").contains(" 2  identical"), "{report}");
    assert!(row(&report, "CONFIG GET").contains("different: answered by nearside"), "{report}");
    assert!(row(&report, "SWAPDB").contains("different: a cluster has database 0 alone"), "{report}");
    assert!(report.contains("The databases 1, 3 are used"), "{report}");
    assert!(!report.contains("secret"), "{report}");
    let report = text(&compat(&["--from", &url, "--upstream", "server"]));
    assert!(row(&report, "SWAPDB").ends_with("identical"), "{report}");

    let wrong = compat(&["--from", &format!("redis://:secret%20wort@{address}")]);
    let error = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(1), "{error}");
    assert!(error.contains("WRONGPASS") && !error.contains("wort"), "{error}");
}

#[test]
fn monitor_shows_which_keys_meet_in_one_command() {
    let redis = Standalone::launch(&[]).unwrap();
    let address = redis.server().address();
    let reading = thread::spawn(move || {
        text(&compat(&["--from", &format!("redis://{address}"), "--seconds", "4", "--json"]))
    });
    let mut client = redis.server().connect().unwrap();
    eventually("MONITOR has begun", NOTICE, || {
        client.command(&["CLIENT", "LIST"]).unwrap().text().contains("cmd=monitor")
    });
    send(
        &mut client,
        &["RENAME a b", "SET a v", "RENAME a \0binary", "MGET a b", "MULTI", "SET a v", "SET b v", "EXEC"],
    );
    send(&mut client, &["MULTI", "SET {t}a v", "SET {t}b v", "EXEC"]);
    client.command(&["EVAL", "return redis.call('GET', ARGV[1])", "1", "declared", "hidden"]).unwrap();
    for number in 0..120 {
        client.command(&["SET", &format!("written:{number}"), "v"]).unwrap();
        client.command(&["GET", "read:x"]).unwrap();
    }
    let report: serde_json::Value = serde_json::from_str(&reading.join().unwrap()).unwrap();
    let command = |name: &str| {
        let rows = report["commands"].as_array().unwrap();
        rows.iter()
            .find(|row| row["command"] == name)
            .unwrap_or_else(|| panic!("no {name} in {report}"))
            .clone()
    };
    let rename = command("RENAME");
    assert_eq!(rename["keys_of_several_slots"]["count"], 2, "{rename}");
    assert_eq!(rename["keys_of_several_slots"]["examples"][1], "a and \\x00binary", "{rename}");
    assert_eq!(rename["needs"], "pin", "{rename}");
    assert_eq!(report["namespace"]["pin"], true, "{report}");
    assert!(command("MGET")["keys_of_several_slots"].is_null(), "nearside splits it");
    assert_eq!(report["transactions_over_several_slots"]["count"], 1, "{report}");
    assert_eq!(command("EVAL")["undeclared_keys"]["examples"][0], "hidden", "{report}");
    assert_eq!(command("GET")["verdict"], "cacheable");
    let policies = report["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 1, "{report}");
    assert_eq!((&policies[0]["prefix"], &policies[0]["writes"]), (&"written:".into(), &120.into()));
}

#[test]
fn a_list_is_read_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("commands.txt");
    let long = "x".repeat(2 << 20);
    let lines = format!(
        "# a list\ncmdstat_get:calls=12,usec=1\nRENAME a b\nMODULE LOAD /x\nFT.SEARCH i q\nSET k {long}\nGET \"k\n"
    );
    std::fs::write(&path, lines).unwrap();
    let report = text(&compat(&["--file", path.to_str().unwrap()]));
    assert!(row(&report, "GET").contains(" 12  cacheable"), "{report}");
    assert!(report.contains("refused with CROSSSLOT: once, a and b"), "{report}");
    assert!(row(&report, "MODULE LOAD").contains("refused: MODULE LOAD is not available"), "{report}");
    assert!(row(&report, "FT.SEARCH").contains("unknown here"), "{report}");
    assert!(report.contains("2 lines could not be judged"), "{report}");
    assert!(report.contains("hash tag"), "{report}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let fails = |arguments: &[&str], code: i32, wanted: &str| {
        let output = compat(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    };
    fails(&[], 2, "--from <URL>|--file <FILE>");
    fails(&["--from", "redis-cluster://h"], 2, "INFO and MONITOR are those of one server");
    fails(&["--from", "redis://127.0.0.1:1", "--file", "x"], 2, "cannot be used with");
    fails(&["--from", "redis://127.0.0.1:1", "--seconds", "3601"], 2, "3601 is not in 0..=3600");
    fails(&["--from", "redis://127.0.0.1:1"], 1, "cannot read redis://127.0.0.1:1");
    fails(&["--file", "/nowhere/at/all"], 1, "cannot read /nowhere/at/all: No such file");
}
