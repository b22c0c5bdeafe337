//! Every named bound is reached once: what it bounds stops there, in words, and the daemon goes on.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

/// How long anything here may take that is not told to take longer.
const SOON: Duration = Duration::from_secs(5);

/// For what must not happen: long enough that it would have happened by then.
const A_WHILE: Duration = Duration::from_millis(300);

/// One server, and a daemon in front of it that was told these bounds.
fn bounded(bounds: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = before(&upstream, bounds);
    daemon.until_tracked(1);
    (upstream, daemon)
}

fn before(upstream: &Standalone, bounds: &[&str]) -> Daemon {
    let url = format!("redis://{}", upstream.server().address());
    Daemon::start(&[&["--upstream", &url][..], bounds].concat())
}

fn ok(client: &mut SandboxClient, request: &[&str]) {
    let reply = client.command(request).unwrap();
    assert!(!reply.is_error(), "{request:?} gave {reply:?}");
}

#[test]
fn max_clients() {
    let (_upstream, daemon) = bounded(&["--max-clients", "2"]);
    let admitted = || {
        let mut client = daemon.client();
        client.command(&["PING"]).ok().filter(|pong| pong.text() == "PONG").map(|_| client)
    };
    let mut clients = Vec::new();
    // Those that looked at the daemon before may still be on their way out.
    eventually("two clients are admitted", SOON, || {
        clients.extend(admitted());
        clients.len() == 2
    });
    let mut third = daemon.client();
    assert_eq!(third.receive().unwrap().text(), "ERR max number of clients reached");
    assert!(third.is_closed().unwrap());
    clients.iter_mut().for_each(|client| ok(client, &["PING"]));
    clients.pop();
    eventually("there is room again", SOON, || admitted().is_some());
    eventually("it is logged", SOON, || daemon.has_logged("clients are refused: max_clients are connected"));
}

#[test]
fn pipeline_depth_max() {
    let (upstream, daemon) = bounded(&["--pipeline-depth-max", "4"]);
    let mut client = daemon.client();
    upstream.server().stop_signal().unwrap();
    let before = daemon.counter("commands");
    client.send(&["GET", "slow"]).unwrap();
    (0..100).for_each(|number| client.send(&["ECHO", &number.to_string()]).unwrap());
    thread::sleep(A_WHILE);
    // The INFO that counted before is one more.
    assert_eq!(daemon.counter("commands") - before, 4 + 1, "no more are taken than may wait");
    upstream.server().continue_signal().unwrap();
    assert!(client.receive().unwrap().is_nil());
    for number in 0..100 {
        assert_eq!(client.receive().unwrap().text(), number.to_string());
    }
}

#[test]
fn request_bounds() {
    let (_upstream, daemon) = bounded(&[
        "--request-args-max",
        "8",
        "--request-bulk-max",
        "1kb",
        "--request-inline-max",
        "1kb",
        "--request-bytes-max",
        "4kb",
    ]);
    let (most, more) = ("v".repeat(1_024), "v".repeat(1_025));
    let mget = |keys: usize| [vec!["MGET"], vec!["key"; keys]].concat();
    let cases = [
        ("request_args_max", mget(7), mget(8), "Protocol error: invalid multibulk length"),
        (
            "request_bulk_max",
            vec!["SET", "key", &most],
            vec!["SET", "key", &more],
            "Protocol error: invalid bulk length",
        ),
        (
            "request_bytes_max",
            [vec!["MGET"], vec![&*most; 3]].concat(),
            [vec!["MGET"], vec![&*most; 4]].concat(),
            "is larger than request_bytes_max (4096 bytes); the command was not executed",
        ),
    ];
    for (bound, within, beyond, error) in cases {
        let mut client = daemon.client();
        ok(&mut client, &within);
        // What follows its last length need not be sent: it is refused before.
        let bytes = nearside::sandbox::client::encode(&beyond);
        client.send_raw(&bytes[..bytes.len() - 2 - beyond[beyond.len() - 1].len()]).unwrap();
        let reply = client.receive().unwrap();
        assert!(reply.is_error() && reply.text().contains(error), "{bound}: {reply:?}");
        if bound == "request_bytes_max" {
            // It is passed over, and the connection goes on.
            client.send_raw(&bytes[bytes.len() - 2 - beyond[beyond.len() - 1].len()..]).unwrap();
            ok(&mut client, &within);
            continue;
        }
        assert!(client.is_closed().unwrap(), "{bound}");
    }
    let mut client = daemon.client();
    client.send_raw(format!("ECHO {}\r\n", "v".repeat(1_000)).as_bytes()).unwrap();
    assert_eq!(client.receive().unwrap().text().len(), 1_000);
    client.send_raw(more.as_bytes()).unwrap();
    assert_eq!(client.receive().unwrap().text(), "ERR Protocol error: too big inline request");
    assert!(client.is_closed().unwrap());
    assert_eq!(daemon.counter("protocol_errors"), 3);
}

#[test]
fn requests_read_ahead() {
    let (_upstream, daemon) = bounded(&["--request-bulk-max", "4kb", "--request-bytes-max", "4kb"]);
    let mut patient = daemon.client();
    patient.send(&["BLPOP", "list", "0"]).unwrap();
    // What fits is answered when the wait is over.
    patient.send(&["ECHO", &"e".repeat(3_000)]).unwrap();
    thread::sleep(A_WHILE);
    ok(&mut daemon.client(), &["RPUSH", "list", "element"]);
    assert_eq!(patient.receive().unwrap().items().len(), 2);
    assert_eq!(patient.receive().unwrap().text().len(), 3_000);
    let mut greedy = daemon.client();
    greedy.send(&["BLPOP", "list", "0"]).unwrap();
    // More than the bound and one read. It may be dropped before it has sent all of that.
    let sent = (0..40).map_while(|_| greedy.send(&["ECHO", &"e".repeat(1_000)]).ok()).count();
    assert!(sent >= 4, "the bound is 4 KiB, and {sent} KiB are too many");
    eventually("it is dropped", SOON, || daemon.counter("clients_dropped") == 1);
    assert!(greedy.receive().is_err(), "there was nothing to answer with");
    ok(&mut daemon.client(), &["RPUSH", "list", "element"]);
    assert_eq!(daemon.client().command(&["LLEN", "list"]).unwrap(), Reply::Integer(1), "it waits no more");
}

#[test]
fn client_output_max_and_stall_timeout() {
    let (upstream, daemon) = bounded(&["--client-output-max", "1mb", "--client-stall-timeout", "200ms"]);
    let mut direct = upstream.server().connect().unwrap();
    ok(&mut direct, &["SET", "large", &"v".repeat(3 << 20)]);
    ok(&mut direct, &["SET", "small", &"v".repeat(100_000)]);
    let mut greedy = daemon.client();
    greedy.send(&["GET", "large"]).unwrap();
    eventually("client_output_max drops it", SOON, || daemon.counter("clients_dropped") == 1);
    // Never more than a few wait, but nobody takes them.
    let mut idle = daemon.client();
    (0..200).for_each(|_| idle.send(&["GET", "small"]).unwrap());
    eventually("client_stall_timeout drops it", SOON, || daemon.counter("clients_dropped") == 2);
    ok(&mut daemon.client(), &["GET", "small"]);
}

#[test]
fn one_reply_is_bounded_by_client_output_max_before_it_is_built() {
    for l1 in ["64mb", "0"] {
        let upstream = Standalone::launch(&[]).unwrap();
        let daemon = before(&upstream, &["--client-output-max", "4mb", "--l1-size", l1]);
        let mut client = daemon.client();
        ok(&mut client, &["SET", "large", &"v".repeat(100_000)]);
        ok(&mut client, &["GET", "large"]);
        let mget = |times: usize| [vec!["MGET"], vec!["large"; times]].concat();
        assert_eq!(client.command(&mget(30)).unwrap().items().len(), 30);
        // Without L1 it is the server that builds it, and sends it whole.
        let many = if l1 == "0" { 100 } else { 10_000 };
        let refused = client.command(&mget(many)).unwrap();
        assert!(refused.is_error() && refused.text().contains("(client_output_max)"), "{refused:?}");
        // What waits for the client already counts.
        let requests =
            nearside::sandbox::client::encode(&mget(30)).repeat(if l1 == "0" { 20 } else { 1_000 });
        let mut greedy = daemon.client();
        greedy.send_raw(&requests).unwrap();
        eventually("a client with too many of them is dropped", SOON, || {
            daemon.counter("clients_dropped") == 1
        });
        let memory = daemon.peak_memory();
        let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap();
        assert!(kilobytes < 256 * 1024, "the daemon took {memory}");
        assert_eq!(client.command(&mget(2)).unwrap().items().len(), 2);
    }
}

#[test]
fn an_mget_of_more_keys_than_may_be_in_flight_is_answered() {
    let (_upstream, daemon) = bounded(&["--upstream-in-flight-max", "256"]);
    let mut client = daemon.client();
    let tags = ["a", "b", "c"];
    let keys: Vec<String> =
        tags.iter().flat_map(|tag| (0..2_000).map(move |number| format!("{{{tag}}}:{number}"))).collect();
    for number in [0, 2_001, 4_002] {
        ok(&mut client, &["SET", &keys[number], &number.to_string()]);
    }
    let mget: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    for round in ["from the server", "once more"] {
        let reply = client.command(&mget).unwrap();
        assert!(!reply.is_error(), "{round}: {reply:?}");
        let values: Vec<(usize, String)> = reply
            .items()
            .iter()
            .enumerate()
            .filter(|(_, value)| !value.is_nil())
            .map(|(at, value)| (at, value.text()))
            .collect();
        let expected = [0, 2_001, 4_002].map(|number| (number, number.to_string()));
        assert_eq!(values, expected, "{round}");
    }
    assert!(daemon.counter("l1_hits") > 0, "as many are kept as there is room for");
    assert_eq!(daemon.counter("upstream_refusals"), 0);
    let mut explain = |key: &String| client.command(&["NEARSIDE", "EXPLAIN", key]).unwrap().items().to_vec();
    let crowded = |item: &Reply| item.text() == "there was no room upstream to ask for its time to live";
    assert!(keys.iter().any(|key| explain(key).iter().any(crowded)), "EXPLAIN says why the others are not");
}

#[test]
fn commands_on_very_many_keys_take_time_in_proportion() {
    let (_upstream, daemon) = bounded(&[]);
    let mut client = daemon.client();
    client.set_timeout(Duration::from_secs(120)).unwrap();
    ok(&mut client, &["SET", "key", "v"]);
    ok(&mut client, &["GET", "key"]);
    let mut fastest = |keys: usize| {
        let request = nearside::sandbox::client::encode(&[vec!["MGET"], vec!["key"; keys]].concat());
        let times = (0..3).map(|_| {
            let begun = Instant::now();
            client.send_raw(&request).unwrap();
            assert_eq!(client.receive().unwrap().items().len(), keys);
            begun.elapsed()
        });
        times.min().unwrap()
    };
    let (few, many) = (fastest(20_000), fastest(320_000));
    assert!(many < few * 64, "20,000 keys took {few:?}, 16 times as many {many:?}");
}

#[test]
fn upstream_in_flight_max() {
    let (upstream, daemon) = bounded(&["--upstream-in-flight-max", "16"]);
    let mut client = daemon.client();
    upstream.server().stop_signal().unwrap();
    (0..100).for_each(|number| client.send(&["SET", &format!("key:{number}"), "value"]).unwrap());
    eventually("commands are refused", SOON, || daemon.counter("upstream_refusals") >= 84);
    upstream.server().continue_signal().unwrap();
    let replies: Vec<Reply> = (0..100).map(|_| client.receive().unwrap()).collect();
    let done = replies.iter().filter(|reply| reply.is_ok()).count();
    // A heartbeat may be among those in flight.
    assert!((15..=16).contains(&done), "{done} of 100 were executed");
    for refused in replies.iter().filter(|reply| !reply.is_ok()) {
        let text = refused.text();
        assert!(text.contains("upstream_in_flight_max") && text.contains("was not executed"), "{text}");
    }
    let executed = upstream.server().command(&["DBSIZE"]).unwrap();
    assert_eq!(executed, Reply::Integer(done as i64), "what was refused was not executed");
    ok(&mut client, &["SET", "key", "value"]);
}

#[test]
fn upstream_in_flight_bytes_max() {
    // It is the bound of one connection, and what is large would have one of its own.
    let one = ["--upstream-side-connections-max", "0"];
    let (upstream, daemon) = bounded(&[&["--upstream-in-flight-bytes-max", "1mb"], &one[..]].concat());
    let mut client = daemon.client();
    upstream.server().stop_signal().unwrap();
    let value = "v".repeat(400_000);
    (0..4).for_each(|number| client.send(&["SET", &format!("key:{number}"), &value]).unwrap());
    eventually("commands are refused", SOON, || daemon.counter("upstream_refusals") == 2);
    upstream.server().continue_signal().unwrap();
    let texts: Vec<String> = (0..4).map(|_| client.receive().unwrap().text()).collect();
    assert!(texts[..2].iter().all(|text| text == "OK"), "{texts:?}");
    assert!(texts[2..].iter().all(|text| text.contains("upstream_in_flight_bytes_max")), "{texts:?}");
    // One command is let through whatever its size.
    ok(&mut client, &["SET", "key", &"v".repeat(2 << 20)]);
}

#[test]
fn upstream_reply_bytes_max() {
    let (upstream, daemon) = bounded(&["--upstream-reply-bytes-max", "1mb"]);
    let (within, beyond) = ("v".repeat((1 << 20) - 16), "v".repeat((1 << 20) + 1));
    upstream.server().command(&["SET", "within", &within]).unwrap();
    upstream.server().command(&["SET", "beyond", &beyond]).unwrap();
    let half = &beyond[..beyond.len() / 2 + 1];
    upstream.server().command(&["RPUSH", "list", half, half]).unwrap();
    let mut client = daemon.client();
    for (number, request) in (0..).zip([["GET", "beyond"].as_slice(), &["LRANGE", "list", "0", "-1"]]) {
        let text = client.command(request).unwrap().text();
        assert!(text.contains("a reply is longer than upstream_reply_bytes_max"), "{text}");
        assert_eq!(daemon.counter("memory_replies_refused"), number + 1, "it is asked for once");
        assert_eq!(daemon.counter("upstream_losses"), 0, "the connection is kept, for others use it too");
        assert_eq!(client.command(&["GET", "within"]).unwrap(), Reply::bulk(&within));
    }
    // The same on a connection of its own.
    upstream.server().command(&["RPUSH", "queue", &beyond]).unwrap();
    let text = client.command(&["BLPOP", "queue", "1"]).unwrap().text();
    assert!(text.contains("a reply is longer than upstream_reply_bytes_max"), "{text}");
    eventually("nothing is left of them", SOON, || daemon.counter("memory_replies") == 0);
}

#[test]
fn upstream_request_timeout() {
    let (upstream, daemon) = bounded(&["--upstream-request-timeout", "300ms"]);
    let mut client = daemon.client();
    upstream.server().stop_signal().unwrap();
    let begun = Instant::now();
    let text = client.command(&["SET", "key", "value"]).unwrap().text();
    let took = begun.elapsed();
    assert!(text.contains("within 300 ms (upstream_request_timeout)"), "{text}");
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(daemon.counter("upstream_timeouts") >= 1);
    upstream.server().continue_signal().unwrap();
    eventually("it is back", SOON, || !client.command(&["GET", "key"]).unwrap().is_error());
}

#[test]
fn upstream_connect_timeout() {
    // The kernel accepts for it; nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-connect-timeout", "200ms"]);
    let mut client = daemon.client();
    for _ in 0..3 {
        let text = client.command(&["GET", "key"]).unwrap().text();
        assert!(text.contains("no answer within 200 ms"), "{text}");
    }
}

#[test]
fn l1_size() {
    let (_upstream, daemon) = bounded(&["--l1-size", "1mb"]);
    let (mut client, value) = (daemon.client(), "v".repeat(1_000));
    for chunk in 0..10 {
        let keys: Vec<String> = (0..500).map(|number| format!("key:{chunk}:{number}")).collect();
        keys.iter().for_each(|key| client.send(&["SET", key, &value]).unwrap());
        keys.iter().for_each(|_| assert!(client.receive().unwrap().is_ok()));
        keys.iter().for_each(|key| client.send(&["GET", key]).unwrap());
        keys.iter().for_each(|_| assert_eq!(client.receive().unwrap(), Reply::bulk(&value)));
        let bytes = daemon.counter("l1_bytes");
        assert!(bytes <= 1 << 20, "{bytes}");
    }
    let (evictions, entries) = (daemon.counter("l1_evictions"), daemon.counter("l1_entries"));
    assert!(evictions > 2_000 && entries > 300, "{evictions} evictions, {entries} entries");
    // What is written beside a read may end its fill.
    let fills = daemon.counter("l1_fills");
    assert!((4_000..=5_000).contains(&fills), "{fills}");
}

#[test]
fn l1_ttl() {
    let (upstream, daemon) =
        bounded(&["--l1-ttl", "300ms", "--negative-ttl", "300ms", "--topology-refresh-interval", "300ms"]);
    upstream.server().command(&["SET", "key", "value"]).unwrap();
    assert_kept_for(&daemon, "key", Duration::from_millis(300));
}

#[test]
fn negative_ttl() {
    let (_upstream, daemon) = bounded(&["--negative-ttl", "300ms", "--topology-refresh-interval", "300ms"]);
    assert_kept_for(&daemon, "absent", Duration::from_millis(300));
}

/// A key is read upstream, from memory, and after its time upstream again.
fn assert_kept_for(daemon: &Daemon, key: &str, time: Duration) {
    let mut client = daemon.client();
    let begun = Instant::now();
    // On a busy machine it may be over at any read, or the trust in the connection may be: it is read again
    // then.
    for (what, counter) in [("it is kept", "l1_hits"), ("its time comes", "l1_expirations")] {
        eventually(what, SOON, || {
            ok(&mut client, &["GET", key]);
            daemon.counter(counter) > 0
        });
    }
    assert!(begun.elapsed() >= time, "{:?}", begun.elapsed());
    ok(&mut client, &["GET", key]);
    assert!(daemon.counter("l1_misses") >= 2, "it is read upstream again");
}

#[test]
fn drain_timeout() {
    let (upstream, daemon) = bounded(&["--drain-timeout", "500ms"]);
    let mut client = daemon.client();
    upstream.server().stop_signal().unwrap();
    client.send(&["GET", "key"]).unwrap();
    thread::sleep(A_WHILE);
    let begun = Instant::now();
    daemon.stop();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(8), "{took:?}");
    let reply = client.receive().unwrap().text();
    assert!(reply.starts_with("ERR nearside: the daemon is shutting down; the command may"), "{reply}");
    assert!(client.is_closed().unwrap());
}

#[test]
fn a_drain_lets_what_runs_end() {
    let (upstream, daemon) = bounded(&["--drain-timeout", "5s"]);
    let (mut client, mut idle) = (daemon.client(), daemon.client());
    ok(&mut idle, &["PING"]);
    upstream.server().stop_signal().unwrap();
    client.send(&["SET", "key", "value"]).unwrap();
    thread::sleep(A_WHILE);
    let took = thread::scope(|scope| {
        let stopping = scope.spawn(|| {
            let begun = Instant::now();
            daemon.stop();
            begun.elapsed()
        });
        thread::sleep(A_WHILE);
        assert!(idle.is_closed().unwrap(), "who waits for nothing is let go at once");
        upstream.server().continue_signal().unwrap();
        stopping.join().unwrap()
    });
    assert!(client.receive().unwrap().is_ok(), "what was asked is answered");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn transaction_bytes_max() {
    let (_upstream, daemon) = bounded(&["--transaction-bytes-max", "1kb"]);
    let mut client = daemon.client();
    ok(&mut client, &["MULTI"]);
    ok(&mut client, &["SET", "k", &"x".repeat(500)]);
    let refused = client.command(&["SET", "k", &"x".repeat(500)]).unwrap().text();
    assert!(refused.contains("(transaction_bytes_max)"), "{refused}");
    assert!(client.command(&["EXEC"]).unwrap().text().starts_with("EXECABORT"));
    assert!(client.command(&["GET", "k"]).unwrap().is_nil());
    // A command takes more memory than it has bytes, and that counts.
    ok(&mut client, &["MULTI"]);
    let refused = (0..40).map(|_| client.command(&["GET", "k"]).unwrap()).position(|reply| reply.is_error());
    assert!(refused.is_some_and(|taken| (2..10).contains(&taken)), "{refused:?}");
    // What will not be executed is not kept, and CLIENT LIST still counts it.
    let queued = refused.map(|taken| format!(" multi={taken} "));
    let line = daemon.client().command(&["CLIENT", "LIST"]).unwrap().text();
    assert!(queued.is_some_and(|queued| line.contains(&queued)), "{line}");
    assert!(client.command(&["EXEC"]).unwrap().text().starts_with("EXECABORT"));
}

#[test]
fn a_name_that_no_command_has_is_not_asked_about() {
    let (server, daemon) = bounded(&[]);
    let mut client = daemon.client();
    let asked = || {
        let stats = server.server().command(&["INFO", "commandstats"]).unwrap().text();
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_command|info:calls="));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    for (length, questions) in [(128, 1), (129, 0), (1_000_000, 0)] {
        let before = asked();
        let reply = client.command(&["n".repeat(length).as_str()]).unwrap();
        assert!(reply.text().contains("unknown command 'nnn"), "{}", &reply.text()[..60]);
        assert_eq!(asked() - before, questions, "{length}");
    }
}
