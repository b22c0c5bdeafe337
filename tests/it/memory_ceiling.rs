//! `memory_max`: what is too large or too much is refused, or who holds it is dropped, and everybody else is
//! served.

use std::fs;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

const MIB: usize = 1 << 20;

/// How long anything here may take that is not told to take longer.
const SOON: Duration = Duration::from_secs(30);

/// The ceiling of most of these tests. How far beyond it the process may be seen: what is mapped from files
/// is not its own, and between two looks something may come that nobody counts.
const MEMORY_MAX: usize = 96 * MIB;
const SLACK: usize = 40 * MIB;

fn under_ceiling(more: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let max = MEMORY_MAX.to_string();
    let daemon = Daemon::start(&[&["--upstream", &url, "--memory-max", &max][..], more].concat());
    daemon.until_tracked(1);
    (upstream, daemon)
}

#[test]
fn what_holds_memory_is_told_and_counted_back_to_nothing() {
    let (_upstream, daemon) = under_ceiling(&[]);
    let mut client = daemon.client();
    assert!(daemon.counter("memory_used") > 1 << 20);
    client.command(&["MULTI"]).unwrap();
    client.command(&["SET".as_bytes(), b"key", &vec![b'v'; 100_000]]).unwrap();
    eventually("it is queued", SOON, || daemon.counter("memory_transactions") > 100_000);
    assert!(!client.command(&["EXEC"]).unwrap().is_error());
    let kinds =
        ["memory_input", "memory_output", "memory_transactions", "memory_in_flight", "memory_replies"];
    assert!(daemon.counter("memory_clients") > 0);
    eventually("nothing is left", SOON, || kinds.iter().all(|kind| daemon.counter(kind) == 0));
    assert_eq!((daemon.counter("memory_pressed"), daemon.counter("memory_clients_dropped")), (0, 0));
}

/// What the process has in memory, or had at most, in bytes.
fn memory(daemon: &Daemon, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn assert_under_ceiling(daemon: &Daemon) {
    let peak = memory(daemon, "VmHWM");
    assert!(peak < MEMORY_MAX + SLACK, "{peak} bytes at most, of {MEMORY_MAX}");
    assert_eq!(daemon.client().command(&["PING"]).unwrap().text(), "PONG");
}

#[test]
fn a_request_that_is_larger_than_it_may_be_is_passed_over_and_the_next_one_answered() {
    let (_upstream, daemon) = under_ceiling(&[]);
    let mut client = daemon.client();
    client.command(&["SET", "key", "before"]).unwrap();
    for (size, bound) in [(200 * MIB, "request_bytes_max"), (50 * MIB, "request_bytes_max")] {
        // All of it is sent before anything is read, as most clients do.
        client.send(&["SET".as_bytes(), b"key", &vec![b'v'; size]]).unwrap();
        client.send(&["GET", "key"]).unwrap();
        let refused = client.receive().unwrap().text();
        assert!(refused.starts_with("OOM nearside: ") && refused.contains(bound), "{refused}");
        assert_eq!(client.receive().unwrap().text(), "before");
    }
    assert_eq!(daemon.counter("memory_requests_refused"), 2);
    assert_under_ceiling(&daemon);
}

#[test]
fn requests_that_do_not_fit_beside_others_are_refused_until_there_is_room() {
    let (_upstream, daemon) = under_ceiling(&["--request-bytes-max", "90mb"]);
    let mut other = daemon.client();
    other.command(&["SET", "small", "value"]).unwrap();
    // Half of it comes, and no more for now.
    let large = encode(&["SET".as_bytes(), b"large", &vec![b'v'; 50 * MIB]]);
    let (first, second) = large.split_at(45 * MIB);
    let mut slow = daemon.client();
    slow.send_raw(first).unwrap();
    eventually("it has come", SOON, || daemon.counter("memory_input") > 40 << 20);
    let mut client = daemon.client();
    let refused = client.command(&["SET".as_bytes(), b"key", &vec![b'v'; 45 * MIB]]).unwrap().text();
    assert!(
        refused.starts_with("OOM nearside: a request of ") && refused.contains("(memory_max)"),
        "{refused}"
    );
    assert!(refused.ends_with("the command was not executed"), "{refused}");
    assert_eq!(other.command(&["GET", "small"]).unwrap().text(), "value");
    slow.send_raw(second).unwrap();
    assert_eq!(slow.receive().unwrap().text(), "OK");
    eventually("there is room again", SOON, || {
        client.command(&["SET".as_bytes(), b"key", &vec![b'v'; 45 * MIB]]).unwrap().text() == "OK"
    });
    assert_under_ceiling(&daemon);
}

#[test]
fn a_transaction_has_its_share_and_what_it_took_is_given_back() {
    let (_upstream, daemon) = under_ceiling(&[]);
    let before = memory(&daemon, "VmRSS");
    let value = vec![b'v'; MIB];
    let mut clients: Vec<SandboxClient> = Vec::new();
    let mut refusals = Vec::new();
    for _ in 0..6 {
        let mut client = daemon.client();
        client.command(&["MULTI"]).unwrap();
        for _ in 0..20 {
            let reply = client.command(&["SET".as_bytes(), b"key", &value]).unwrap();
            if reply.is_error() {
                refusals.push(reply.text());
            }
        }
        clients.push(client);
    }
    assert!(!refusals.is_empty(), "120 MiB were queued");
    for refusal in &refusals {
        assert!(refusal.starts_with("OOM nearside: ") && refusal.contains("(memory_max)"), "{refusal}");
    }
    assert_under_ceiling(&daemon);
    drop(clients);
    eventually("the memory is given back", SOON, || memory(&daemon, "VmRSS") < before + 24 * MIB);
    assert_eq!(daemon.counter("memory_transactions"), 0);
}

#[test]
fn nearly_a_gigabyte_of_queued_requests_is_given_back() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let bounds = ["--memory-max", "4gb", "--transaction-bytes-max", "2gb", "--request-bytes-max", "1gb"];
    let daemon = Daemon::start(&[&["--upstream", &url][..], &bounds].concat());
    daemon.until_tracked(1);
    let before = memory(&daemon, "VmRSS");
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    client.command(&["MULTI"]).unwrap();
    let value = vec![b'v'; 4 * MIB];
    for _ in 0..230 {
        assert_eq!(client.command(&["SET".as_bytes(), b"key", &value]).unwrap().text(), "QUEUED");
    }
    assert!(memory(&daemon, "VmRSS") > 900 * MIB, "it is held");
    drop(client);
    eventually("the memory is given back", SOON, || memory(&daemon, "VmRSS") < before + 24 * MIB);
    // The decay of the allocator is over by then, and nothing else takes any.
    thread::sleep(Duration::from_secs(2));
    println!("{} MB before, {} MB after", before / 1_000_000, memory(&daemon, "VmRSS") / 1_000_000);
}

/// Three clients ask for more than there is and read nothing, while another one is served.
fn unread_replies(flags: &[&str]) -> (Standalone, Daemon, Vec<SandboxClient>) {
    let (upstream, daemon) = under_ceiling(&[&["--l1-size", "1mb"], flags].concat());
    let mut direct = upstream.server().connect().unwrap();
    direct.command(&["SET".as_bytes(), b"large", &vec![b'v'; MIB]]).unwrap();
    direct.command(&["SET", "small", "value"]).unwrap();
    let mut greedy: Vec<SandboxClient> = (0..3).map(|_| daemon.client()).collect();
    let mut other = daemon.client();
    // What is small may stand behind what is large, and is answered.
    other.set_timeout(SOON).unwrap();
    for client in &mut greedy {
        // Not one reply that all of them share.
        let script = "return redis.call('get', KEYS[1])";
        (0..80).for_each(|_| drop(client.send(&["EVAL", script, "1", "large"])));
    }
    for _ in 0..100 {
        assert_eq!(other.command(&["GET", "small"]).unwrap().text(), "value");
        thread::sleep(Duration::from_millis(10));
    }
    assert_under_ceiling(&daemon);
    (upstream, daemon, greedy)
}

#[test]
fn clients_that_read_nothing_are_dropped_and_nobody_else_is_hurt() {
    let (_upstream, daemon, _greedy) = unread_replies(&[]);
    eventually("who reads nothing is dropped", SOON, || {
        daemon.counter("clients_dropped") + daemon.counter("memory_clients_dropped") > 0
    });
    assert_under_ceiling(&daemon);
}

#[test]
fn who_holds_the_most_is_dropped_where_no_bound_of_one_client_does_it() {
    let (_upstream, daemon, _greedy) = unread_replies(&["--client-output-max", "1gb"]);
    // Where each reply was refused in time, nobody had to go.
    eventually("it is refused, or who holds the most is dropped", SOON, || {
        daemon.counter("memory_replies_refused") + daemon.counter("memory_clients_dropped") > 0
    });
    assert_under_ceiling(&daemon);
}

#[test]
fn who_was_not_listened_to_is_again_once_it_takes_its_replies() {
    let (_upstream, daemon) = under_ceiling(&["--l1-size", "1mb", "--request-bytes-max", "90mb"]);
    // Part of a request stays here, and so memory stays scarce.
    let used = usize::try_from(daemon.counter("memory_used")).unwrap();
    let large = MEMORY_MAX / 160 * 144 - used;
    let mut hog = daemon.client();
    hog.send_raw(format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n${large}\r\n").as_bytes()).unwrap();
    hog.send_raw(&vec![b'v'; large - MIB]).unwrap();
    eventually("memory is scarce", SOON, || daemon.counter("memory_pressed") == 1);
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    let value = vec![b'v'; 10_000];
    const REQUESTS: usize = 2_000;
    let mut sender = client.second().unwrap();
    let sending = thread::spawn(move || {
        (0..REQUESTS).for_each(|_| sender.send(&["ECHO".as_bytes(), &value]).unwrap());
    });
    // What it has not taken by now fills all buffers between.
    thread::sleep(Duration::from_millis(500));
    for _ in 0..REQUESTS {
        assert_eq!(client.receive().unwrap().text().len(), 10_000);
    }
    sending.join().unwrap();
    assert_eq!(daemon.counter("memory_pressed"), 1, "it was scarce all the time");
    drop(hog);
    assert_under_ceiling(&daemon);
}

#[test]
fn a_reply_that_does_not_fit_is_passed_over_and_its_connection_kept() {
    let (upstream, daemon) = under_ceiling(&["--upstream-reply-bytes-max", "1gb"]);
    let mut direct = upstream.server().connect().unwrap();
    direct.command(&["SET".as_bytes(), b"large", &vec![b'v'; 200 * MIB]]).unwrap();
    let mut client = daemon.client();
    client.send(&["GET", "large"]).unwrap();
    client.send(&["SET", "small", "value"]).unwrap();
    let refused = client.receive().unwrap().text();
    assert!(
        refused.starts_with("OOM nearside: a reply of ") && refused.contains("(memory_max)"),
        "{refused}"
    );
    assert_eq!(client.receive().unwrap().text(), "OK");
    assert_eq!((daemon.counter("upstream_losses"), daemon.counter("memory_replies_refused")), (0, 1));
    assert_under_ceiling(&daemon);
}

#[test]
fn a_line_that_is_too_long_is_passed_over_and_its_connection_kept() {
    let (_upstream, daemon) = under_ceiling(&["--upstream-reply-bytes-max", "1mb"]);
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    // It says nothing of its length before it ends.
    for kind in ["status_reply", "error_reply"] {
        let script = format!("return redis.{kind}(string.rep(string.rep('x', 1000), 3000))");
        client.send(&["EVAL", &script, "0"]).unwrap();
        client.send(&["SET", "small", "value"]).unwrap();
        let refused = client.receive().unwrap().text();
        assert!(refused.starts_with("OOM nearside: a reply is longer than "), "{kind}: {refused}");
        assert_eq!(client.receive().unwrap().text(), "OK");
    }
    assert_eq!((daemon.counter("upstream_losses"), daemon.counter("memory_replies_refused")), (0, 2));
}

/// A control group of a test, with a limit of memory.
pub(crate) struct Group(PathBuf);

// === impl Group ===

impl Group {
    /// `None` where this process may make none.
    pub(crate) fn new(limit: usize) -> Option<Group> {
        let roots = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        roots.into_iter().find_map(|(root, file)| {
            let group = Path::new(root).join(format!("nearside-test-{}-{limit}", std::process::id()));
            fs::create_dir(&group).ok()?;
            let group = Group(group);
            fs::write(group.0.join(file), limit.to_string()).ok()?;
            Some(group)
        })
    }

    /// A daemon within it, before `upstream`.
    pub(crate) fn daemon(&self, upstream: &Standalone) -> Daemon {
        let url = format!("redis://{}", upstream.server().address());
        let enter = format!("echo $$ > {}/cgroup.procs", self.0.display());
        let daemon = Daemon::start_after(&enter, &["--upstream", &url]);
        daemon.until_tracked(1);
        daemon
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The processes in it have ended, and the kernel may take a moment to see that.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn within_a_control_group_nothing_that_clients_do_has_it_killed() {
    const LIMITS: [usize; 4] = [32 * MIB, 64 * MIB, 160 * MIB, 512 * MIB];
    for limit in LIMITS {
        let Some(group) = Group::new(limit) else {
            println!(
                "NOT RUN: no control group with a limit of memory can be made here; what stands for it are the tests of \
                 memory_max, and those that read the limits of a made-up machine (src/memory/limit.rs)"
            );
            return;
        };
        let upstream = Standalone::launch(&[]).unwrap();
        let daemon = group.daemon(&upstream);
        let max = limit - (limit / 10).max(4 * MIB);
        assert_eq!(daemon.counter("memory_max"), max as u64);
        let mut direct = upstream.server().connect().unwrap();
        direct.command(&["SET".as_bytes(), b"large", &vec![b'v'; 180 * MIB]]).unwrap();
        direct.command(&["SET".as_bytes(), b"mib", &vec![b'v'; MIB]]).unwrap();
        let mut other = daemon.client();
        other.set_timeout(SOON).unwrap();
        other.command(&["SET", "small", "value"]).unwrap();
        let mut served = || assert_eq!(other.command(&["GET", "small"]).unwrap().text(), "value");

        let mut client = daemon.client();
        client.set_timeout(SOON).unwrap();
        for size in [180 * MIB, 500_000_000] {
            let reply = client.command(&["SET".as_bytes(), b"key", &vec![b'v'; size]]).unwrap().text();
            // What is no more than half of it is carried out.
            let fits = reply == "OK" && size < max / 2;
            assert!(fits || reply.starts_with("OOM nearside: "), "{limit}: {reply}");
            served();
        }
        let reply = client.command(&["GET", "large"]).unwrap();
        assert!(!reply.is_error() || reply.text().starts_with("OOM nearside: "), "{limit}: {}", reply.text());
        drop(reply);
        served();
        client.command(&["MULTI"]).unwrap();
        let value = vec![b'v'; MIB];
        let mut refusals = 0;
        for _ in 0..1_000 {
            let reply = client.command(&["SET".as_bytes(), b"key", &value]).unwrap();
            refusals += usize::from(reply.is_error());
        }
        assert_eq!(refusals, 1, "{limit}: what comes behind a refusal is not queued, and told that it was");
        assert!(client.command(&["EXEC"]).unwrap().text().starts_with("EXECABORT"));
        served();
        let mut greedy: Vec<SandboxClient> = (0..3).map(|_| daemon.client()).collect();
        for client in &mut greedy {
            let script = "return redis.call('get', KEYS[1])";
            (0..80).for_each(|_| drop(client.send(&["EVAL", script, "1", "mib"])));
        }
        for _ in 0..50 {
            served();
            thread::sleep(Duration::from_millis(10));
        }
        drop(greedy);
        for number in 0..200 {
            let key = format!("fill{number}");
            direct.command(&["SET".as_bytes(), key.as_bytes(), &value]).unwrap();
            // While what the others asked for still drains, it may hold the most.
            if client.command(&["GET", &key]).is_err() {
                client = daemon.client();
            }
        }
        served();
        println!("{limit}: {} resident at most", daemon.peak_memory());
    }
}

#[test]
fn clients_beyond_what_fits_are_refused_and_told_why() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--memory-max", "24mb"]);
    daemon.until_tracked(1);
    let mut other = daemon.client();
    other.command(&["SET", "small", "value"]).unwrap();
    // Fewer than the files that a process may have open by default.
    let mut clients = Vec::new();
    let mut refusal = String::new();
    for _ in 0..900 {
        let mut client = daemon.client();
        // It reads nothing: what it is answered waits here, and its place in the kernel. Who is refused may
        // be so amid this.
        let half = [&b"*2\r\n$4\r\nECHO\r\n$60000\r\n"[..], &[b'e'; 30_000]].concat();
        let sent = client.send(&["ECHO", &"e".repeat(50_000)]).and_then(|()| client.send_raw(&half));
        if let Err(error) = sent {
            assert!([BrokenPipe, ConnectionReset].contains(&error.kind()), "{error}");
        }
        if let Ok(reply) = client.receive()
            && reply.is_error()
        {
            refusal = reply.text();
            break;
        }
        clients.push(client);
    }
    assert_eq!(refusal, "OOM nearside: there is no memory for one more client (memory_max)");
    assert!(clients.len() > 20, "{}", clients.len());
    assert_eq!(other.command(&["GET", "small"]).unwrap().text(), "value");
    assert!(daemon.counter_by(&mut other, "memory_clients_refused") > 0);
    drop(clients);
    eventually("there is room again", SOON, || {
        SandboxClient::connect(daemon.address())
            .and_then(|mut client| client.command(&["PING"]))
            .is_ok_and(|reply| reply.text() == "PONG")
    });
}

#[test]
fn l1_has_half_of_it_and_is_emptied_for_what_is_asked() {
    let (upstream, daemon) = under_ceiling(&["--l1-size", "1gb", "--admission", "always"]);
    let mut direct = upstream.server().connect().unwrap();
    let mut client = daemon.client();
    let shown = client.command(&["CONFIG", "GET", "nearside-l1-size"]).unwrap();
    assert_eq!(shown.items()[1].text(), (MEMORY_MAX / 2).to_string());
    let value = vec![b'v'; 100_000];
    for number in 0..1_000 {
        let key = format!("key{number}");
        direct.command(&["SET".as_bytes(), key.as_bytes(), &value]).unwrap();
        client.command(&["GET", &key]).unwrap();
    }
    assert!(daemon.counter("l1_bytes") > 24 << 20, "L1 is in use: {}", daemon.counter("l1_bytes"));
    // More than is left beside L1, and no more than there is without it.
    let set = client.command(&["SET".as_bytes(), b"large", &vec![b'v'; 45 * MIB]]).unwrap();
    assert_eq!(set.text(), "OK");
    assert!(daemon.counter("memory_l1_emptied") > 0);
    assert_eq!(daemon.counter("memory_max"), MEMORY_MAX as u64);
    eventually("L1 is filled again", SOON, || {
        client.command(&["GET", "key1"]).unwrap();
        daemon.counter("l1_entries") > 0
    });
    assert_under_ceiling(&daemon);
}
