//! The prologue of scripts: its tables agree with the command table, and bodies stay what they are.

use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::namespace::{ChannelRule, Namespace};
use crate::protocol::command::{Flags, Keys};

fn scope(pinned: bool, database: u32) -> Scope {
    let (name, channels) = ("app".into(), ChannelRule::Own);
    Scope::new(Arc::new(Namespace { name, pinned, channels }), DbIndex::new(database))
}

fn wrapped(body: &str) -> String {
    String::from_utf8(scope(true, 3).wrap_script(body.as_bytes()).unwrap().to_vec()).unwrap()
}

fn codes() -> HashMap<&'static str, &'static str> {
    table::text()
        .split(';')
        .filter(|entry| !entry.is_empty())
        .filter_map(|entry| entry.split_once(':'))
        .collect()
}

#[test]
fn the_table_of_a_script_says_where_names_stand() {
    let codes = codes();
    for (name, code) in [
        ("get", ""),
        ("mset", "r1,-1,2"),
        ("del", "r1,-1,1"),
        ("rename", "r1,2,1"),
        ("blpop", "r1,-2,1>f"),
        ("lmpop", "c1,1>f"),
        ("zunionstore", "d1,2"),
        ("xread", "s>t"),
        ("sort", "o"),
        ("sort_ro", "o"),
        ("georadius", "g"),
        ("xgroup", "+"),
        ("xgroup|create", "r2,2,1"),
        ("object|encoding", "r2,2,1"),
        ("publish", "p"),
        ("keys", ">e"),
        ("scan", "n>p"),
        ("select", "l"),
        ("move", "v"),
        ("copy", "y"),
        ("ping", "0"),
        ("multi", "0"),
        ("flushall", "x"),
        ("dbsize", "x"),
        ("fcall", "x"),
        ("migrate", "x"),
        ("cluster", "x"),
        ("slowlog", "x"),
        ("pubsub|channels", "x"),
    ] {
        assert_eq!(codes.get(name), Some(&code), "{name}");
    }
    assert!(!codes.contains_key("nearside"));
}

#[test]
fn every_command_with_keys_is_in_the_table_of_a_script() {
    let codes = codes();
    let rows = command::all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    for spec in rows.filter(|spec| spec.keys != Keys::None) {
        let code = codes.get(spec.name).copied();
        assert!(code.is_some_and(|code| code != "0"), "{}: {code:?}", spec.name);
        assert!(!spec.flags.has(Flags::SHARED) || code == Some("x"), "{}", spec.name);
    }
}

#[test]
fn the_prologue_leaves_the_lines_as_they_are() {
    let body = "local x = 1\nreturn x";
    let sent = wrapped(body);
    assert!(sent.ends_with(body) && sent.lines().count() == 2, "{sent}");
    assert!(sent.contains("'{app}@3:'") && !sent.contains('@'.to_string().repeat(2).as_str()));
    for left in
        ["@PREFIX@", "@CHANNELS@", "@NAME@", "@LINE@", "@TABLE@", "@LOCALS@", "@CALL@", "@REST@", "--"]
    {
        assert!(!sent.contains(left), "{left}");
    }
    let shebang = "#!lua flags=no-writes\nreturn 1";
    let sent = wrapped(shebang);
    assert!(
        sent.starts_with("#!lua flags=no-writes\nlocal redis,KEYS=") && sent.ends_with(" return 1"),
        "{sent}"
    );
    let binary = scope(false, 0).wrap_script(b"return '\xff\0'").unwrap();
    assert!(binary.ends_with(b" return '\xff\0'"));
}

#[test]
fn ways_out_are_shadowed_where_they_are_mentioned() {
    for (body, shadows) in [
        ("return redis.call('GET', KEYS[1])", false),
        ("return payload._Gx.reload", false),
        ("return _G", true),
        ("load(f)", true),
        ("server.call('PING')", true),
        ("return getfenv(0)", true),
    ] {
        assert_eq!(wrapped(body).starts_with("local redis,KEYS,server,_G,"), shadows, "{body}");
    }
    let old = "ERR nearside: a script in a namespace cannot use _G, load, loadstring, getfenv or setfenv before Redis 7.0";
    assert!(wrapped("return _G").contains(old));
    for (body, catches) in [
        ("redis.pcall('PING')", false),
        ("pcall(f)", true),
        ("redis['pcall']('PING')", true),
        ("xpcall(f, g)", true),
        ("coroutine.wrap(f)", true),
    ] {
        assert_eq!(!wrapped(body).contains("coroutine.yield"), catches, "{body}");
    }
}

#[test]
fn another_language_is_refused() {
    for (body, error) in [
        ("#!js\nreturn 1", "-ERR nearside: scripts in a namespace have to be in Lua\r\n"),
        ("#!lua", "-ERR Invalid script shebang\r\n"),
    ] {
        assert_eq!(scope(false, 0).wrap_script(body.as_bytes()).unwrap_err(), error, "{body}");
    }
}

#[test]
fn a_script_without_keys_goes_to_the_slot_of_its_namespace() {
    let mut rewriter = Rewriter::default();
    let args = |scope: Scope, request: &[&str], rewriter: &mut Rewriter| {
        let request = OwnedRequest::from_args(request);
        let spec = command::recognise(&request.as_request()).unwrap();
        let outward = scope.outward_script(spec, &request.as_request(), b"sha", false, rewriter);
        let copy = std::cell::OnceCell::new();
        let sent = rewriter.request(&copy);
        let Outward::As(spec) = outward else { panic!("{outward:?}") };
        (spec.name, sent.args().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join(" "))
    };
    let pinned = args(scope(true, 2), &["EVAL", "x", "0", "a"], &mut rewriter);
    assert_eq!(pinned, ("evalsha", "EVALSHA sha 1 {app}! a".to_owned()));
    let spread = args(scope(false, 2), &["EVALSHA_RO", "x", "0", "a"], &mut rewriter);
    assert_eq!(spread, ("evalsha_ro", "EVALSHA_RO sha 0 a".to_owned()));
    let keys = args(scope(true, 0), &["EVAL", "x", "2", "a", "b", "c"], &mut rewriter);
    assert_eq!(keys, ("evalsha", "EVALSHA sha 2 {app}:a {app}:b c".to_owned()));
}
