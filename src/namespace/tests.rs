//! Requests on their way out, and replies on their way back.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::protocol::command::{ReplyNames, TopicKind, recognise};
use crate::protocol::db::DbIndex;
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::OwnedRequest;

fn scope(pinned: bool, channels: ChannelRule, database: u32) -> Scope {
    let namespace = Namespace { name: "app".into(), pinned, channels };
    Scope::new(Arc::new(namespace), DbIndex::new(database))
}

/// What the servers get for `request`, or the error.
fn sent(scope: &Scope, request: &str) -> String {
    let request = OwnedRequest::from_args(request.split(' '));
    let (request, mut rewriter, copy) = (request.as_request(), Rewriter::default(), OnceCell::new());
    let args = match scope.outward(recognise(&request).unwrap(), &request, &mut rewriter) {
        Outward::Same => request,
        Outward::Rewritten | Outward::As(_) => rewriter.request(&copy),
        Outward::Answered(error) | Outward::Refused(error) => {
            return String::from_utf8(error.to_vec()).unwrap();
        }
    };
    let texts: Vec<_> = args.args().map(|arg| String::from_utf8(arg.to_vec()).unwrap()).collect();
    assert_eq!(args.raw(), OwnedRequest::from_args(&texts).as_request().raw(), "the bytes are a request");
    texts.join(" ")
}

#[test]
fn every_name_of_a_request_gets_the_prefix() {
    let scope = scope(false, ChannelRule::Own, 0);
    let cases = [
        ("GET k", "GET app:k"),
        ("get {a}b", "get app:{a}b"),
        ("MSET a 1 b 2", "MSET app:a 1 app:b 2"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "ZUNIONSTORE app:d 2 app:a app:b WEIGHTS 1 2"),
        ("BLPOP a b 0", "BLPOP app:a app:b 0"),
        ("XREAD COUNT 2 STREAMS a b 0 0", "XREAD COUNT 2 STREAMS app:a app:b 0 0"),
        ("OBJECT ENCODING k", "OBJECT ENCODING app:k"),
        (
            "SORT k BY w_* GET # GET o_*->f LIMIT 0 1 STORE d",
            "SORT app:k BY app:w_* GET # GET app:o_*->f LIMIT 0 1 STORE app:d",
        ),
        ("SORT k BY nosort", "SORT app:k BY nosort"),
        ("GEORADIUS k 1 2 3 km STORE d", "GEORADIUS app:k 1 2 3 km STORE app:d"),
        ("KEYS a*", "KEYS app:a*"),
        ("SCAN 0", "SCAN 0 MATCH app:*"),
        ("SCAN 0 COUNT 5 match a* TYPE string", "SCAN 0 COUNT 5 match app:a* TYPE string"),
        ("COPY a b", "COPY app:a app:b"),
        ("COPY a b REPLACE DB 3", "COPY app:a app@3:b REPLACE"),
        ("MOVE a 3", "RENAMENX app:a app@3:a"),
        ("PUBLISH c m", "PUBLISH app:c m"),
        ("PUBLISH __keyspace@3__:k set", "PUBLISH __keyspace@0__:app@3:k set"),
        ("PUBLISH __keyevent@0__:set k", "PUBLISH __keyevent@0__:set app:k"),
        ("PUBLISH __keyevent@16__:set k", "PUBLISH app:__keyevent@16__:set k"),
        ("PUBSUB NUMPAT", "PUBSUB NUMPAT app:"),
        ("PUBSUB CHANNELS", "PUBSUB CHANNELS app:*"),
        ("PUBSUB NUMSUB a b", "PUBSUB NUMSUB app:a app:b"),
        ("CLIENT TRACKING ON BCAST PREFIX a", "CLIENT TRACKING ON BCAST PREFIX a"),
        ("CLIENT TRACKING ON", "CLIENT TRACKING ON"),
        ("NEARSIDE FLUSH", "NEARSIDE FLUSH app:"),
        ("NEARSIDE EXPLAIN k", "NEARSIDE EXPLAIN app:k"),
        ("PING k", "PING k"),
        ("EXISTS a b a", "EXISTS app:a app:b app:a"),
    ];
    for (request, wanted) in cases {
        assert_eq!(sent(&scope, request), wanted);
    }
}

#[test]
fn what_may_lead_out_is_refused() {
    let scope = scope(false, ChannelRule::Own, 0);
    for request in ["SWAPDB 0 1", "FCALL f 0", "FUNCTION FLUSH", "DEBUG OBJECT k", "MIGRATE h 1 k 0 9"] {
        let error = sent(&scope, request);
        assert!(error.starts_with("-ERR nearside: "), "{request}: {error}");
    }
    assert_eq!(sent(&scope, "XREAD NEWOPTION STREAMS a 0"), "-ERR syntax error\r\n");
    assert_eq!(sent(&scope, "MOVE k 16"), "-ERR DB index is out of range\r\n");
    assert_eq!(sent(&scope, "COPY a b DB x"), "-ERR value is not an integer or out of range\r\n");
    assert_eq!(sent(&scope, "MOVE k 0"), "-ERR source and destination objects are the same\r\n");
}

#[test]
fn a_pinned_namespace_has_one_slot_and_others_share_channels() {
    let (first, third) = (scope(true, ChannelRule::Shared, 0), scope(true, ChannelRule::Shared, 3));
    assert_eq!(sent(&first, "RENAME {a}b c"), "RENAME {app}:{a}b {app}:c");
    assert_eq!(sent(&third, "GET k"), "GET {app}@3:k");
    assert_eq!(first.slot(), Some(Slot::of(b"{app}:{a}b")));
    assert_eq!(first.slot(), third.slot());
    assert_eq!(sent(&first, "PUBLISH c m"), "PUBLISH c m");
    assert_eq!(sent(&first, "PUBSUB CHANNELS"), "PUBSUB CHANNELS");
    assert_eq!(
        sent(&first, "PUBSUB NUMSUB c __keyspace@0__:k"),
        "PUBSUB NUMSUB c {app}:__keyspace@0__:k",
        "notifications are about keys, which are not shared"
    );
    assert_eq!(sent(&first, "SPUBLISH c m"), "SPUBLISH c m");
}

#[test]
fn every_name_of_a_reply_loses_the_prefix() {
    let scope = scope(false, ChannelRule::Own, 0);
    let cases: [(ReplyNames, &[u8], &[u8]); 10] = [
        (ReplyNames::Whole, b"$5\r\napp:k\r\n", b"$1\r\nk\r\n"),
        (ReplyNames::Whole, b"$-1\r\n", b"$-1\r\n"),
        (ReplyNames::Elements, b"*2\r\n$5\r\napp:k\r\n$3\r\nx:k\r\n", b"*1\r\n$1\r\nk\r\n"),
        (ReplyNames::Page, b"*2\r\n$1\r\n7\r\n*1\r\n$5\r\napp:k\r\n", b"*2\r\n$1\r\n7\r\n*1\r\n$1\r\nk\r\n"),
        (ReplyNames::First, b"*2\r\n$5\r\napp:k\r\n$5\r\napp:v\r\n", b"*2\r\n$1\r\nk\r\n$5\r\napp:v\r\n"),
        (ReplyNames::First, b"*-1\r\n", b"*-1\r\n"),
        (ReplyNames::Streams, b"*1\r\n*2\r\n$5\r\napp:k\r\n*0\r\n", b"*1\r\n*2\r\n$1\r\nk\r\n*0\r\n"),
        (ReplyNames::Streams, b"%1\r\n$5\r\napp:k\r\n*0\r\n", b"%1\r\n$1\r\nk\r\n*0\r\n"),
        (ReplyNames::Moved, b"-ERR no such key\r\n", b":0\r\n"),
        (
            ReplyNames::None,
            b"-NOGROUP No such key 'app:k' or 'app:g'\r\n",
            b"-NOGROUP No such key 'k' or 'g'\r\n",
        ),
    ];
    for (names, reply, wanted) in cases {
        let got = scope.inward(names, Bytes::from_static(reply));
        assert_eq!(got, wanted, "{names:?} {}", reply.escape_ascii());
    }
    let exec = b"*2\r\n*2\r\n$5\r\napp:k\r\n$1\r\nv\r\n+OK\r\n";
    let got = scope.inward_of_exec(&[ReplyNames::First, ReplyNames::None], Bytes::from_static(exec));
    assert_eq!(&got[..], b"*2\r\n*2\r\n$1\r\nk\r\n$1\r\nv\r\n+OK\r\n");
}

#[test]
fn a_reply_of_another_form_is_not_shown() {
    let scope = scope(false, ChannelRule::Own, 0);
    for (names, reply) in [
        (ReplyNames::Whole, &b"$3\r\nx:k\r\n"[..]),
        (ReplyNames::Elements, b"$5\r\napp:k\r\n"),
        (ReplyNames::Page, b"*1\r\n$1\r\n0\r\n"),
        (ReplyNames::First, b"*2\r\n:1\r\n:2\r\n"),
        (ReplyNames::Streams, b"*1\r\n$1\r\na\r\n"),
    ] {
        let got = scope.inward(names, Bytes::copy_from_slice(reply));
        assert!(got.starts_with(b"-ERR nearside: "), "{names:?}");
    }
}

#[test]
fn what_is_subscribed_to_leads_to_channels_of_the_servers() {
    let own = scope(false, ChannelRule::Own, 3).on_servers(DbIndex::new(5));
    let shared = scope(true, ChannelRule::Shared, 0);
    let namespace = own.namespace().clone();
    let numbered = Scope::numbered(namespace, DbIndex::new(2));
    let cases: [(&Scope, TopicKind, &str, &[&str]); 17] = [
        (&own, TopicKind::Channel, "c", &["app:c"]),
        (&own, TopicKind::Shard, "__keyspace@0__:k", &["app:__keyspace@0__:k"]),
        (&own, TopicKind::Channel, "__keyspace@0__:k", &["__keyspace@5__:app:k"]),
        (&own, TopicKind::Channel, "__keyspace@3__:k", &["__keyspace@5__:app@3:k"]),
        (&own, TopicKind::Channel, "__keyspace@03__:k", &["app:__keyspace@03__:k"]),
        (&own, TopicKind::Channel, "__keyevent@3__:del", &["__keyevent@5__:del"]),
        (&own, TopicKind::Pattern, "c*", &["app:c*"]),
        (
            &own,
            TopicKind::Pattern,
            "__keyspace@3__:k*",
            &["app:__keyspace@3__:k*", "__keyspace@5__:app@3:k*"],
        ),
        (&own, TopicKind::Pattern, "__keyevent@*__:x", &["app:__keyevent@*__:x", "__keyevent@5__:x"]),
        (&own, TopicKind::Pattern, "_*", &["app:_*", "__keyspace@5__:app[:@]*", "__keyevent@5__:*"]),
        (&shared, TopicKind::Channel, "c", &["c"]),
        (&shared, TopicKind::Channel, "__keyspace@99__:app:k", &["{app}:__keyspace@99__:app:k"]),
        (&shared, TopicKind::Pattern, "*", &["*", "__keyspace@0__:{app}[:@]*", "__keyevent@0__:*"]),
        (&shared, TopicKind::Pattern, "__keyevent@?__:x", &["{app}:__keyevent@?__:x", "__keyevent@0__:*"]),
        (&shared, TopicKind::Shard, "c", &["c"]),
        (&numbered, TopicKind::Channel, "__keyspace@2__:k", &["__keyspace@0__:app:k"]),
        (&numbered, TopicKind::Channel, "__keyspace@0__:k", &["app:__keyspace@0__:k"]),
    ];
    for (scope, kind, name, wanted) in cases {
        let topics = scope.topics(kind, name.as_bytes());
        assert_eq!(&topics[..], wanted, "{name}");
    }
}

#[test]
fn a_message_has_the_names_of_the_client_or_is_not_for_it() {
    let push = |args: &[&str]| {
        let mut out = BytesMut::from(format!(">{}\r\n", args.len()).as_bytes());
        args.iter().for_each(|arg| encode::bulk(&mut out, arg.as_bytes()));
        out.freeze()
    };
    let own = scope(false, ChannelRule::Own, 0);
    let shared = scope(true, ChannelRule::Shared, 0);
    let messages: [(&Scope, &[&str], Option<&[&str]>); 9] = [
        (&own, &["message", "app:c", "app:m"], Some(&["message", "c", "app:m"])),
        (&own, &["smessage", "app:c", "m"], Some(&["smessage", "c", "m"])),
        (&own, &["pmessage", "app:c*", "app:cd", "m"], Some(&["pmessage", "c*", "cd", "m"])),
        (&own, &["message", "other:c", "m"], None),
        (&own, &["pmessage", "*", "app:c", "m"], None),
        (&own, &["invalidate", "app:c", "m"], None),
        (&shared, &["message", "c", "m"], Some(&["message", "c", "m"])),
        (&shared, &["pmessage", "*", "c", "m"], Some(&["pmessage", "*", "c", "m"])),
        (&shared, &["pmessage", "*", "__keyspace@0__:other:k", "set"], None),
    ];
    for (scope, args, wanted) in messages {
        let wanted = wanted.map(push);
        match scope.message(&push(args)) {
            Some(Delivered::Message(head, rest)) => {
                assert_eq!(Some([head, rest].concat().into()), wanted, "{args:?}")
            }
            other => assert_eq!((other, wanted), (None, None), "{args:?}"),
        }
    }
    let notifications: [(&Scope, &[&str], Option<(&str, &str)>); 8] = [
        (&own, &["message", "__keyspace@0__:app:k", "set"], Some(("__keyspace@0__:k", "set"))),
        (&own, &["message", "__keyspace@0__:app@15:k", "set"], Some(("__keyspace@15__:k", "set"))),
        (&own, &["message", "__keyspace@0__:app@16:k", "set"], None),
        (&own, &["message", "__keyspace@1__:app:k", "set"], None),
        (
            &own,
            &["pmessage", "__keyevent@0__:*", "__keyevent@0__:del", "app@3:k"],
            Some(("__keyevent@3__:del", "k")),
        ),
        (&own, &["pmessage", "__keyevent@0__:*", "__keyevent@0__:del", "app2:k"], None),
        (&shared, &["message", "__keyevent@0__:del", "{app}:k"], Some(("__keyevent@0__:del", "k"))),
        (&shared, &["message", "__keyevent@0__:del", "app:k"], None),
    ];
    for (scope, args, wanted) in notifications {
        match (scope.message(&push(args)), wanted) {
            (None, None) => {}
            (Some(Delivered::Notification { channel, message, .. }), Some((name, text))) => {
                assert_eq!((&channel[..], &message[..]), (name.as_bytes(), text.as_bytes()), "{args:?}");
            }
            (got, wanted) => panic!("{args:?}: {got:?} is not {wanted:?}"),
        }
    }
}

#[test]
fn names_of_namespaces_are_plain() {
    for name in ["a", "my-app_2.x"] {
        assert!(is_name(name), "{name}");
    }
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for name in ["", "a:b", "{a}", "a@1", "a*", "ä", &long] {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn a_large_request_is_copied_once() {
    let scope = scope(false, ChannelRule::Own, 0);
    let value = "v".repeat(100_000);
    let request = OwnedRequest::from_args(["SET", "k", &value]);
    let (request, mut rewriter, copy) = (request.as_request(), Rewriter::default(), OnceCell::new());
    let outward = scope.outward(recognise(&request).unwrap(), &request, &mut rewriter);
    assert!(matches!(outward, Outward::Rewritten));
    let sent = rewriter.request(&copy);
    assert_eq!((sent.arg(1), sent.arg(2).len()), (&b"app:k"[..], 100_000));
    assert_eq!(sent.to_owned().bytes().as_ptr(), sent.raw().as_ptr());
}

#[test]
fn reads_in_turn_have_their_own_keys() {
    let scopes = [scope(false, ChannelRule::Own, 0), scope(true, ChannelRule::Own, 1)];
    let mut rewriter = Rewriter::default();
    let requests = ["GET a", "GET b", "get c", "TYPE d", "GET long", "HGET h f", "GET e", "STRLEN e"];
    for (number, request) in requests.iter().cycle().take(40).enumerate() {
        let scope = &scopes[number / 3 % 2];
        let request = OwnedRequest::from_args(request.split(' '));
        let (request, copy) = (request.as_request(), OnceCell::new());
        let spec = recognise(&request).unwrap();
        let read = scope.outward_read(spec, &request, &mut rewriter, &copy);
        let mut wanted: Vec<Vec<u8>> = read.args().map(<[u8]>::to_vec).collect();
        assert_eq!(read.raw(), OwnedRequest::from_args(&wanted).as_request().raw());
        wanted[0].make_ascii_uppercase();
        let name = request.arg(0).to_ascii_uppercase();
        let mut args: Vec<Vec<u8>> = request.args().map(<[u8]>::to_vec).collect();
        args[0] = name;
        args[1] = [&scope.prefix()[..], request.arg(1)].concat();
        assert_eq!(wanted, args);
    }
}
