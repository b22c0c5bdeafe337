//! Warm restart: what was hot is hot again after a restart, with the values of now, whatever became of the
//! file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nearside::cache::warm::{READS_PER_KEY_MAX, Snapshot};
use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::{eventually, sandbox};

const SOON: Duration = Duration::from_secs(10);

const KEYS: usize = 200;

fn file() -> PathBuf {
    sandbox().make_directory().unwrap().join("warm")
}

fn start(upstream: &Standalone, file: &Path, more: &[&str]) -> Daemon {
    let url = url(upstream);
    let arguments = [&["--upstream", &url, "--warm-file", file.to_str().unwrap()], more].concat();
    let daemon = Daemon::start(&arguments);
    daemon.until_tracked(1);
    daemon
}

fn url(upstream: &Standalone) -> String {
    format!("redis://{}", upstream.server().address())
}

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

/// Fills L1 and ends in good order, so that the file is written.
fn live(upstream: &Standalone, file: &Path) {
    let daemon = start(upstream, file, &[]);
    let mut client = daemon.client();
    for number in 0..KEYS {
        say(&mut client, &format!("SET key:{number} {number}"));
        say(&mut client, &format!("GET key:{number}"));
        say(&mut client, &format!("GETRANGE key:{number} 0 0"));
        say(&mut client, &format!("GET key:{number}"));
    }
    say(&mut client, "GET absent");
    assert_eq!(daemon.counter("warm_reads"), 0);
    daemon.stop();
}

#[test]
fn what_was_hot_is_a_hit_right_after_a_restart_and_never_what_it_was_before() {
    let (upstream, file) = (Standalone::launch(&[]).unwrap(), file());
    live(&upstream, &file);
    let mut direct = upstream.server().connect().unwrap();
    for number in 0..KEYS / 2 {
        assert!(say(&mut direct, &format!("SET key:{number} new:{number}")).is_ok());
    }
    let saved = Snapshot::read(&file, &url(&upstream), 100_000).unwrap().unwrap().reads.len() as u64;
    // On a busy machine a heartbeat may be late: then a few are not kept, or not kept again.
    let most = KEYS as u64 * 2 * 9 / 10;
    assert!(saved > most, "{saved} reads were saved");
    let daemon = start(&upstream, &file, &[]);
    eventually("all is read again", SOON, || daemon.counter("warm_reads") == saved);
    eventually("and kept", SOON, || daemon.counter("l1_fills") > most);
    let mut client = daemon.client();
    for number in 0..KEYS {
        let wanted = if number < KEYS / 2 { format!("new:{number}") } else { number.to_string() };
        assert_eq!(say(&mut client, &format!("GET key:{number}")).text(), wanted);
    }
    assert!(say(&mut client, "GET absent").is_nil());
    let hits = daemon.counter("l1_hits");
    assert!(hits > KEYS as u64 * 8 / 10, "{hits} of {KEYS} were there");
    // It is tracked as everything else is.
    assert!(say(&mut direct, "SET key:1 newest").is_ok());
    eventually("the change is told", SOON, || say(&mut client, "GET key:1").text() == "newest");
    daemon.stop();
}

#[test]
fn the_file_has_names_and_no_values_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let (upstream, file) = (Standalone::launch(&[]).unwrap(), file());
    let daemon = start(&upstream, &file, &["--warm-interval", "1s"]);
    let mut client = daemon.client();
    say(&mut client, "SET name:of:a:key do-not-write-me-down");
    say(&mut client, "GET name:of:a:key");
    // Now and then, not only at the end.
    eventually("it is written", SOON, || daemon.counter("warm_saves") > 1);
    let bytes = fs::read(&file).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("name:of:a:key") && !has("do-not-write-me-down"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    daemon.stop();
}

#[test]
fn only_so_many_keys_are_saved_and_the_hottest_are_among_them() {
    let (upstream, file) = (Standalone::launch(&[]).unwrap(), file());
    let daemon = start(&upstream, &file, &["--warm-keys", "10"]);
    let mut client = daemon.client();
    for number in 0..100 {
        say(&mut client, &format!("GET key:{number}"));
    }
    for number in 0..5 {
        for _ in 0..300 {
            say(&mut client, &format!("GET key:{number}"));
        }
    }
    daemon.stop();
    let snapshot = Snapshot::read(&file, &url(&upstream), 10 * READS_PER_KEY_MAX).unwrap().unwrap();
    assert_eq!(snapshot.reads.len(), 10);
    for number in 0..5 {
        let read = [b"get".to_vec(), format!("key:{number}").into_bytes()];
        assert!(
            snapshot.reads[..5].iter().any(|(database, found)| *database == 0 && *found == read),
            "{number}: {snapshot:?}"
        );
    }
}

#[test]
fn the_rate_is_kept_and_clients_do_not_wait_for_it() {
    let (upstream, file) = (Standalone::launch(&[]).unwrap(), file());
    live(&upstream, &file);
    let daemon = start(&upstream, &file, &["--warm-rate", "100"]);
    let mut client = daemon.client();
    assert_eq!(say(&mut client, "GET key:7").text(), "7");
    thread::sleep(Duration::from_secs(1));
    let reads = daemon.counter("warm_reads");
    assert!((20..250).contains(&reads), "about a hundred in a second: {reads}");
    // What is left is not waited for at the end.
    daemon.stop();
}

#[test]
fn a_file_that_cannot_be_used_is_said_to_be_and_the_start_is_a_cold_one() {
    let (upstream, file) = (Standalone::launch(&[]).unwrap(), file());
    live(&upstream, &file);
    let good = fs::read(&file).unwrap();
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    let forged = Snapshot { upstream: url(&upstream), reads: vec![(0, vec!["FLUSHALL".into()])] };
    let other = Snapshot { upstream: "redis://elsewhere:1".to_owned(), reads: Vec::new() };
    let huge = vec![0; 16 << 20];
    type Spoil<'a> = Box<dyn Fn() + 'a>;
    let spoils: [Spoil<'_>; 7] = [
        Box::new(|| fs::write(&file, &good[..good.len() / 2]).unwrap()),
        Box::new(|| fs::write(&file, &changed).unwrap()),
        Box::new(|| fs::write(&file, b"").unwrap()),
        Box::new(|| fs::write(&file, b"*1\r\n$8\r\nFLUSHALL\r\n").unwrap()),
        Box::new(|| fs::write(&file, &huge).unwrap()),
        Box::new(|| forged.write(&file).unwrap()),
        Box::new(|| other.write(&file).unwrap()),
    ];
    for (number, spoil) in spoils.iter().enumerate() {
        spoil();
        let daemon = start(&upstream, &file, &[]);
        daemon.assert_logged("WARN", "warm_file is not used: a cold start");
        assert_eq!(daemon.counter("warm_failures"), 1, "{number}");
        assert_eq!(daemon.counter("warm_reads"), 0, "{number}");
        let mut client = daemon.client();
        assert_eq!(say(&mut client, "GET key:7").text(), "7", "{number}");
        // It is written anew, over the spoilt one.
        daemon.stop();
        assert!(Snapshot::read(&file, &url(&upstream), 100).unwrap().is_some(), "{number}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_said_to_be_and_nothing_else_suffers() {
    let upstream = Standalone::launch(&[]).unwrap();
    let missing = file().join("missing").join("warm");
    let daemon = start(&upstream, &missing, &["--warm-interval", "1s"]);
    let mut client = daemon.client();
    say(&mut client, "GET key");
    eventually("it is tried", SOON, || daemon.counter("warm_failures") > 0);
    daemon.assert_logged("WARN", "warm_file cannot be written; what was there stays");
    assert!(say(&mut client, "GET key").is_nil());
    daemon.stop();
}

#[test]
fn a_full_disk_leaves_the_former_file() {
    let (upstream, file) = (Standalone::launch(&[]).unwrap(), file());
    live(&upstream, &file);
    let before = fs::read(&file).unwrap();
    let (url, path) = (url(&upstream), file.to_str().unwrap());
    let arguments = ["--upstream", &url, "--warm-file", path, "--warm-interval", "1s"];
    let daemon = Daemon::start_without_disk(&arguments);
    daemon.until_tracked(1);
    eventually("it is tried", SOON, || daemon.counter("warm_failures") > 0);
    daemon.assert_logged("WARN", "warm_file cannot be written; what was there stays");
    assert_eq!(fs::read(&file).unwrap(), before);
    let left = fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "half a file is not left behind");
    daemon.stop();
}

#[test]
fn a_link_in_the_place_of_the_file_is_replaced_and_what_it_leads_to_is_left_alone() {
    let upstream = Standalone::launch(&[]).unwrap();
    let file = file();
    let victim = file.with_file_name("precious");
    fs::write(&victim, "precious").unwrap();
    // Names that somebody might guess for what is written first.
    let guesses =
        ["warm", "warm.tmp", "warm.new", ".warm.tmp", "warm~"].map(|name| file.with_file_name(name));
    for guess in &guesses {
        symlink(&victim, guess).unwrap();
    }
    live(&upstream, &file);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(!file.is_symlink(), "it is a file of its own");
    assert!(guesses[1..].iter().all(|guess| guess.is_symlink()), "others are not touched");
}
