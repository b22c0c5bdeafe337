//! COMMAND and CONFIG GET with very many names are worked on a few at a time; their clients see nothing of
//! that.

use std::io::Write;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Reply, Standalone};

use crate::support::daemon::Daemon;
use crate::support::scripted::ScriptedNode;

/// More than are looked at in some turns, and no multiple of what is looked at in one.
const MANY: usize = 1_001;

fn request(words: &[&str], args: &[String]) -> Vec<u8> {
    encode(&[words, &args.iter().map(String::as_str).collect::<Vec<_>>()].concat())
}

fn before(server: &Standalone, settings: &[&str]) -> Daemon {
    let url = format!("redis://{}", server.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url], settings].concat());
    daemon.until_tracked(1);
    daemon
}

#[test]
fn what_a_server_says_of_very_many_commands_comes_as_from_that_server() {
    let server = Standalone::launch(&[]).unwrap();
    let daemon = before(&server, &[]);
    let some = ["get", "SET", "no-such-command", "xadd", "sort", "mget", "zunionstore", "ping"];
    let names: Vec<String> = (0..MANY).map(|number| some[number * 7 % some.len()].to_owned()).collect();
    for version in [2, 3] {
        let (mut client, mut plain) = (daemon.client(), server.server().connect().unwrap());
        client.hello(version).unwrap();
        plain.hello(version).unwrap();
        for words in [["COMMAND", "INFO"], ["COMMAND", "DOCS"]] {
            for count in [1, 64, 65, 128, MANY] {
                let asked = request(&words, &names[..count]);
                client.send_raw(&[&asked[..], &encode(&["ECHO", "behind"])].concat()).unwrap();
                plain.send_raw(&asked).unwrap();
                let (told, expected) = (client.receive().unwrap(), plain.receive().unwrap());
                assert!(!expected.is_error() && told == expected, "{words:?} of {count} in RESP{version}");
                assert_eq!(client.receive().unwrap(), Reply::bulk("behind"));
            }
        }
    }
}

#[test]
fn what_is_joined_of_commands_is_bounded() {
    let server = Standalone::launch(&[]).unwrap();
    let daemon = before(&server, &["--client-output-max", "1mb"]);
    let names = vec!["set".to_owned(); MANY];
    let mut client = daemon.client();
    client.send_raw(&request(&["COMMAND", "DOCS"], &names)).unwrap();
    let told = client.receive().unwrap();
    assert!(told.is_error() && told.text().contains("(client_output_max)"), "{}", told.text());
    assert_eq!(client.command(&["ECHO", "on"]).unwrap(), Reply::bulk("on"));
}

#[test]
fn a_node_that_says_something_else_of_commands_is_not_believed() {
    for (words, lie) in [
        (["COMMAND", "INFO"], "*1\r\n_\r\n"),
        (["COMMAND", "INFO"], "%0\r\n"),
        (["COMMAND", "DOCS"], "*0\r\n"),
        (["COMMAND", "DOCS"], "+OK\r\n"),
    ] {
        let liar = ScriptedNode::start("liar", move |request, stream| {
            let is_asked = request.starts_with(&words);
            if is_asked {
                stream.write_all(lie.as_bytes())?;
            }
            Ok(is_asked)
        });
        let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{}", liar.address())]);
        daemon.until_tracked(1);
        let mut client = daemon.client();
        client.send_raw(&request(&words, &vec!["get".to_owned(); MANY])).unwrap();
        let told = client.receive().unwrap();
        let text = format!("a node answered {} with something that is no reply to it", words.join(" "));
        assert!(told.is_error() && told.text().contains(&text), "{}", told.text());
        assert_eq!(client.command(&["ECHO", "on"]).unwrap(), Reply::bulk("on"));
    }
}

#[test]
fn very_many_patterns_give_what_few_give_as_of_when_they_were_asked() {
    let server = Standalone::launch(&[]).unwrap();
    let daemon = before(&server, &[]);
    let event = "notify-keyspace-events";
    let others = (0..MANY).map(|number| format!("*no-such-{number}*"));
    let patterns: Vec<String> =
        ["port", "maxmem*", "nearside-l1*"].map(str::to_owned).into_iter().chain(others).collect();
    let patterns: Vec<String> = patterns.into_iter().chain([event.to_owned()]).collect();
    for (version, value) in [(2, "KEA"), (3, "")] {
        let mut client = daemon.client();
        client.hello(version).unwrap();
        let few = client.command(&["CONFIG", "GET", "port", "maxmem*", "nearside-l1*", event]).unwrap();
        let set = encode(&["CONFIG", "SET", event, value]);
        client.send_raw(&[request(&["CONFIG", "GET"], &patterns), set].concat()).unwrap();
        assert_eq!(client.receive().unwrap(), few);
        assert!(client.receive().unwrap().is_ok());
        let shown = format!("{:?}", client.command(&["CONFIG", "GET", event]).unwrap());
        assert!(shown != format!("{few:?}") && shown.contains(event), "{shown}");
    }
}
