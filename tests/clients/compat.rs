//! What `nearside compat` says of a Redis that a framework uses is what happens when the framework is tried.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nearside::sandbox::Standalone;
use serde_json::Value;

use crate::harness::{Setting, run_alone, run_in};
use crate::node::node;
use crate::python::python;
use crate::support::servers::eventually;

/// How long the commands are read at most. The end of the trial ends it.
const SECONDS: &str = "120";

/// The table of the proposed namespace.
const PINNED: &str = "[[namespace]]\nname = \"app\"\nlisten = [\"127.0.0.1:6379\"]\npin = true\n";

/// How long MONITOR may take to begin.
const NOTICE: Duration = Duration::from_secs(10);

#[test]
fn bullmq() {
    let (by_default, with_options) = reports(|| node("bullmq.mjs"));
    // Its scripts take keys of several slots, and build more of them.
    let meeting = met(&by_default);
    assert!(meeting.contains(&"EVALSHA".to_owned()), "{by_default}");
    assert!(row(&by_default, "EVALSHA")["undeclared_keys"]["count"].as_u64() > Some(0), "{by_default}");
    assert_eq!(row(&by_default, "EVALSHA")["needs"], "pin", "{by_default}");
    let said = text(&by_default);
    for wanted in [
        "needs pin, else refused with CROSSSLOT: ",
        "needs pin, uses keys that the script does not declare: ",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    assert!(said.contains(PINNED) && by_default["namespace"]["pin"] == true, "{said}");
    assert_eq!(met(&with_options), Vec::<String>::new(), "{with_options}");
    is_refused(node("bullmq.mjs"));
}

#[test]
fn django() {
    let (by_default, with_options) = reports(|| python("django_site.py"));
    // `set_many` is a transaction, and the cache is in database 1.
    assert_eq!(met(&by_default), ["a transaction"], "{by_default}");
    assert_eq!(by_default["databases"], serde_json::json!([0, 1]), "{by_default}");
    let said = text(&by_default);
    for wanted in [
        "Transactions over several slots need pin or per_slot, else refused with CROSSSLOT: ",
        "transactions = \"per_slot\"",
        "databases = 2",
        PINNED,
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    assert_eq!(met(&with_options), Vec::<String>::new(), "{with_options}");
    let said = text(&with_options);
    assert!(!said.contains("needs pin") && !said.contains("per_slot") && !said.contains(PINNED), "{said}");
    assert_eq!(with_options["databases"], serde_json::json!([0]), "{with_options}");
    for command in ["GET", "MGET"] {
        let verdict = &row(&by_default, command)["verdict"];
        assert!(verdict == "cacheable" || verdict == "different", "{command}: {verdict}");
    }
    is_refused(python("django_site.py"));
}

/// What is said of the framework with its defaults, and with its options for a cluster. Neither may be told that a
/// command is refused: the other trials show that none is.
fn reports(program: impl Fn() -> Command + Sync) -> (Value, Value) {
    let reports = thread::scope(|scope| {
        let with_options = scope.spawn(|| {
            let mut program = program();
            program.env("NEARSIDE_CLUSTER", "yes");
            report(program)
        });
        (report(program()), with_options.join().unwrap())
    });
    for report in [&reports.0, &reports.1] {
        let rows = report["commands"].as_array().unwrap();
        assert!(rows.len() > 5 && rows.iter().all(|row| row["verdict"] != "refused"), "{report}");
    }
    reports
}

/// The report on a plain Redis that `program` uses meanwhile, with its text in the field `text`.
fn report(mut program: Command) -> Value {
    let redis = Standalone::launch(&[]).unwrap();
    let readers = [compat(&redis, &["--json"]), compat(&redis, &[])];
    let mut client = redis.server().connect().unwrap();
    let mut monitors = Vec::new();
    eventually("MONITOR has begun", NOTICE, || {
        let clients = client.command(&["CLIENT", "LIST"]).unwrap().text();
        let found = clients.lines().filter(|line| line.contains(" cmd=monitor "));
        let ids = found.filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
        monitors = ids.map(str::to_owned).collect();
        monitors.len() == readers.len()
    });
    let run = run_alone(&redis, &mut program);
    for monitor in &monitors {
        client.command(&["CLIENT", "KILL", "ID", monitor]).unwrap();
    }
    assert!(run.has_passed(), "{program:?}: {}", run.describe());
    let [json, said] = readers.map(|reader| {
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    });
    let mut report: Value = serde_json::from_str(&json).unwrap();
    report["text"] = said.into();
    report
}

fn text(report: &Value) -> &str {
    report["text"].as_str().unwrap()
}

fn compat(redis: &Standalone, options: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearside"));
    command.args(["compat", "--seconds", SECONDS]).args(options).arg("--from");
    command.arg(format!("redis://{}", redis.server().address()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The commands whose keys lay in several slots, and whether a transaction's did.
fn met(report: &Value) -> Vec<String> {
    let rows = report["commands"].as_array().unwrap().iter();
    let meeting = rows.filter(|row| !row["keys_of_several_slots"].is_null());
    let transaction = !report["transactions_over_several_slots"].is_null();
    let commands = meeting.map(|row| row["command"].as_str().unwrap().to_owned());
    commands.chain(transaction.then(|| "a transaction".to_owned())).collect()
}

fn row<'a>(report: &'a Value, command: &str) -> &'a Value {
    let rows = report["commands"].as_array().unwrap();
    rows.iter().find(|row| row["command"] == command).unwrap_or_else(|| panic!("no {command} in {report}"))
}

/// Fails unless the framework with its defaults meets the error in front of a cluster that the report foretells.
/// Some clients show no more of it than this.
fn is_refused(mut program: Command) {
    let run = run_in(Setting::ClusterByDefault, &mut program);
    assert!(!run.has_passed() && run.output.contains("hash to the same slot"), "{}", run.describe());
}
