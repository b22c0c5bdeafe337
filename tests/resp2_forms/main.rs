//! Compares the command table and the RESP2 forms with a real server: `redis-server` from PATH, or the binary
//! that the environment variable REDIS_SERVER names. Every command of `corpus.txt` runs over RESP3 and over
//! RESP2, and what the library makes of the RESP3 reply must be the RESP2 reply, byte for byte.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod server;
mod table;

use bytes::BytesMut;
use nearside::{
    protocol::command::recognise,
    protocol::resp::{
        cursor::{Cursor, ReplyHead},
        request::OwnedRequest,
        resp2::{self, Form},
    },
};
use server::{Connection, Server};

/// One command a line, words parted by spaces, `""` being the empty one. `#` opens a comment. Before `~`
/// numbers are not compared: they are times or sizes that no two calls agree on.
const CORPUS: &str = include_str!("corpus.txt");

#[test]
fn resp3_replies_become_the_resp2_replies_of_the_server() {
    let server = Server::start();
    let (mut resp2, mut resp3) = (server.connect(), server.connect());
    resp3.call(&request("HELLO 3"));
    // Two databases, so that both sides see the same keys and neither sees the other's writes.
    resp2.call(&request("SELECT 2"));
    resp3.call(&request("SELECT 3"));

    let mut differing = Vec::new();
    let mut count = 0;
    for line in CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (masked, line) = line.strip_prefix('~').map_or((false, line), |line| (true, line));
        let request = request(line);
        let theirs = resp2.call(&request);
        let ours = convert(&mut resp3, &request);
        if shown(&ours, masked) != shown(&theirs, masked) {
            let (ours, theirs) = (ours.escape_ascii(), theirs.escape_ascii());
            differing.push(format!("{line}\n  ours   {ours}\n  theirs {theirs}"));
        }
        count += 1;
    }
    assert!(differing.is_empty(), "{} of {count} replies differ:\n{}", differing.len(), differing.join("\n"));
    assert!(count > 300, "only {count} commands were compared");
}

fn request(line: &str) -> OwnedRequest {
    OwnedRequest::from_args(line.split(' ').map(|word| if word == "\"\"" { "" } else { word }))
}

fn convert(connection: &mut Connection, request: &OwnedRequest) -> Vec<u8> {
    let reply = connection.call(request);
    let request = request.as_request();
    let form = recognise(&request).map_or(Form::ByRule, |spec| spec.form);
    let mut converted = BytesMut::new();
    resp2::to_resp2(&reply, form, &request, &mut converted).unwrap();
    assert_eq!(resp2::needs_conversion(&reply, form), converted != reply, "{}", reply.escape_ascii());
    converted.to_vec()
}

/// The reply, or its shape alone: kinds, nulls, counts and texts without their digits.
fn shown(reply: &[u8], masked: bool) -> String {
    if !masked {
        return reply.escape_ascii().to_string();
    }
    let mut cursor = Cursor::new(reply);
    let mut shape = String::new();
    while let Some(head) = cursor.head() {
        shape += &match head {
            ReplyHead::Line { kind, text } | ReplyHead::Blob { kind, body: text } => {
                let text: Vec<u8> = text.iter().copied().filter(u8::is_ascii_alphabetic).collect();
                format!("{} {}\n", kind.escape_ascii(), text.escape_ascii())
            }
            other => format!("{other:?}\n"),
        };
    }
    shape
}
