//! Nodes that send plain commands elsewhere, as a node does that was taken over: to strangers, of other
//! slots, in circles.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use nearside::protocol::key::Slot;
use nearside::sandbox::Reply;

use crate::support::daemon::Daemon;

/// A node of a cluster that says what it is told to.
struct Fake {
    port: u16,
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    /// What is answered to a command of this name.
    replies: HashMap<String, String>,
    /// How often each was asked.
    times: HashMap<String, usize>,
}

// === impl Fake ===

impl Fake {
    fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, said) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Said>>::default());
        let mine = Arc::clone(&said);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mine = Arc::clone(&mine);
                thread::spawn(move || serve(stream, &mine));
            }
        });
        Fake { port, said }
    }

    /// Has it answer so to a command of this name: `CLUSTER SLOTS`, `GET`.
    fn says(&self, name: &str, reply: impl Into<String>) {
        self.said.lock().unwrap().replies.insert(name.to_owned(), reply.into());
    }

    /// How often it was asked this.
    fn times(&self, name: &str) -> usize {
        self.said.lock().unwrap().times.get(name).copied().unwrap_or(0)
    }
}

fn serve(stream: TcpStream, said: &Mutex<Said>) {
    let (mut out, mut requests) = (stream.try_clone().unwrap(), BufReader::new(stream));
    while let Some(words) = request(&mut requests) {
        let name = match &*words[0] {
            "CLUSTER" | "CLIENT" | "SCRIPT" => words[..2].join(" "),
            name => name.to_owned(),
        };
        let mut said = said.lock().unwrap();
        *said.times.entry(name.clone()).or_default() += 1;
        let reply = said.replies.get(&name).cloned();
        drop(said);
        let reply = reply.unwrap_or_else(|| of_a_healthy_node(&name));
        if out.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// The words of the next request, in capitals.
fn request(from: &mut impl BufRead) -> Option<Vec<String>> {
    if from.fill_buf().ok()?.first()? != &b'*' {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        return Some(line.split_whitespace().map(str::to_uppercase).collect());
    }
    let Ok(Reply::Array(words)) = Reply::read(from) else { return None };
    Some(words.iter().map(|word| word.text().to_uppercase()).collect())
}

fn of_a_healthy_node(name: &str) -> String {
    match name {
        "HELLO" => "%2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$7\r\ncluster\r\n".to_owned(),
        "INFO" => bulk("# Server\r\nredis_version:7.0.0\r\nrun_id:1\r\n"),
        "CLUSTER INFO" => bulk("cluster_state:ok\r\ncluster_current_epoch:1\r\n"),
        "CONFIG" => "*0\r\n".to_owned(),
        "CLUSTER MYID" => bulk("id"),
        "CLIENT ID" => ":1\r\n".to_owned(),
        "PING" => "+PONG\r\n".to_owned(),
        "PTTL" => ":-1\r\n".to_owned(),
        "GET" => bulk("value"),
        "EVAL" => ":1\r\n".to_owned(),
        _ => "+OK\r\n".to_owned(),
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Two nodes, of which the first owns all slots and the second copies it.
fn two_nodes() -> (Fake, Fake, Daemon) {
    let (first, second) = (Fake::start(), Fake::start());
    let node = |fake: &Fake| format!("*3\r\n{}:{}\r\n{}", bulk("127.0.0.1"), fake.port, bulk("id"));
    let slots = format!("*1\r\n*4\r\n:0\r\n:16383\r\n{}{}", node(&first), node(&second));
    let nodes = format!(
        "a 127.0.0.1:{}@1 myself,master - 0 0 1 connected 0-16383\nb 127.0.0.1:{}@1 slave a 0 0 1 connected\n",
        first.port, second.port
    );
    for fake in [&first, &second] {
        fake.says("CLUSTER SLOTS", &*slots);
        fake.says("CLUSTER NODES", bulk(&nodes));
    }
    let url = format!("redis-cluster://:secret@127.0.0.1:{}", first.port);
    let daemon = Daemon::start(&["--upstream", &url, "--workers", "1", "--topology-refresh-gap-min", "10ms"]);
    daemon.until_tracked(1);
    (first, second, daemon)
}

#[test]
fn nobody_goes_to_a_stranger_with_a_plain_command() {
    let (first, second, daemon) = two_nodes();
    let stranger = Fake::start();
    let (slot, mut client) = (Slot::of(b"key").to_string(), daemon.client());
    for kind in ["MOVED", "ASK"] {
        let words = format!("{kind} {slot} 127.0.0.1:{}", stranger.port);
        for name in ["GET", "SET", "BLPOP", "WATCH"] {
            first.says(name, format!("-{words}\r\n"));
        }
        let requests: [&[&str]; 4] =
            [&["GET", "key"], &["SET", "key", "value"], &["BLPOP", "key", "1"], &["WATCH", "key"]];
        for request in requests {
            assert_eq!(client.command(request).unwrap(), Reply::Error(words.clone().into()), "{request:?}");
        }
    }
    // Of another slot, to a node that is named: it is none for this command.
    let words = format!("MOVED 1 127.0.0.1:{}", second.port);
    first.says("GET", format!("-{words}\r\n"));
    assert_eq!(client.command(&["GET", "key"]).unwrap(), Reply::Error(words.into()));
    assert_eq!((stranger.times("HELLO"), second.times("GET")), (0, 0));
    assert_eq!(daemon.counter("upstream_redirects"), 0);
    assert!(daemon.counter("upstream_redirects_refused") > 0);
    daemon.assert_logged("WARN", "redirects to unknown nodes not followed");
}

#[test]
fn a_node_that_is_named_once_the_servers_are_asked_is_gone_to() {
    let (first, second, daemon) = two_nodes();
    let third = Fake::start();
    let nodes = format!(
        "a 127.0.0.1:{}@1 myself,master - 0 0 1 connected 0-16383 [{}->-c]\nc 127.0.0.1:{}@1 master - 0 0 1 connected\n",
        first.port,
        Slot::of(b"key"),
        third.port
    );
    first.says("CLUSTER NODES", bulk(&nodes));
    first.says("GET", format!("-ASK {} 127.0.0.1:{}\r\n", Slot::of(b"key"), third.port));
    third.says("GET", bulk("from the third"));
    let read = daemon.client().command(&["GET", "key"]).unwrap();
    assert_eq!(read, Reply::bulk("from the third"));
    assert_eq!((third.times("ASKING"), second.times("HELLO")), (1, 0));
    // A script that says the same has run where the slot is given away, as far as the node says: it is
    // believed.
    first.says("EVAL", format!("-ASK {} 127.0.0.1:{}\r\n", Slot::of(b"key"), third.port));
    assert_eq!(daemon.client().command(&["EVAL", "return 1", "1", "key"]).unwrap(), Reply::Integer(1));
    // And not once it says that it gives nothing away.
    let nodes = nodes.replace(&format!(" [{}->-c]", Slot::of(b"key")), "");
    first.says("CLUSTER NODES", bulk(&nodes));
    assert!(daemon.client().command(&["EVAL", "return 1", "1", "key"]).unwrap().text().starts_with("ASK "));
    assert_eq!(third.times("EVAL"), 1);
}

#[test]
fn nodes_that_send_a_command_back_and_forth_end_in_an_error() {
    let (first, second, daemon) = two_nodes();
    let slot = Slot::of(b"key");
    first.says("GET", format!("-MOVED {slot} 127.0.0.1:{}\r\n", second.port));
    second.says("GET", format!("-MOVED {slot} 127.0.0.1:{}\r\n", first.port));
    let reply = daemon.client().command(&["GET", "key"]).unwrap().text();
    assert!(reply.contains("redirected more than 5 times"), "{reply}");
    assert!(first.times("GET") + second.times("GET") <= 6);
}
