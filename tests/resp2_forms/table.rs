//! The command table against COMMAND, COMMAND GETKEYS and the error replies of the server.

use std::collections::{BTreeSet, HashMap};

use nearside::{
    protocol::command::{self, Class, Flags, Keys, ModuleCommand, Spec, TtlEffect, recognise},
    protocol::resp::{
        cursor::{self, ReplyHead},
        request::OwnedRequest,
    },
};

use crate::request;
use crate::server::{Connection, Server};

/// Redis 7.0 asks for other numbers of arguments, and the table has the looser arity.
const ARITY_DIFFERS: [&str; 6] =
    ["cluster|replicate", "command|getkeys", "command|getkeysandflags", "script|debug", "zrank", "zrevrank"];

/// Redis 7.0 does not have these flags yet, though it behaves so.
const FLAGS_DIFFER: [&str; 4] = ["client|reply", "multi", "wait", "watch"];

/// They put something into a key, but never here: one moves keys to another database, of which there is none,
/// and the others say of the fields of a hash how long they stay.
const PUTS_NOTHING: [&str; 8] =
    ["move", "hexpire", "hexpireat", "hgetex", "hpersist", "hpexpire", "hpexpireat", "hsetex"];

/// Requests whose keys are asked for; `!` marks those whose arguments do not tell.
const KEY_SAMPLES: &str = "GET k
MSET a 1 b 2
BLPOP a b 0
BITOP AND d a b
OBJECT ENCODING k
MEMORY USAGE k
XGROUP CREATE s g $
XINFO STREAM s
ZUNIONSTORE d 2 a b WEIGHTS 1 2
ZINTERSTORE d 1 a
ZUNION 2 a b
ZINTERCARD 2 a b LIMIT 1
SINTERCARD 1 a
LMPOP 2 a b LEFT
BLMPOP 0 2 a b LEFT
ZMPOP 1 a MIN
BZMPOP 0 1 a MIN
EVAL s 2 a b c
EVALSHA_RO s 1 a
FCALL f 1 a
SORT k BY w* GET store STORE d
SORT k LIMIT 0 1
SORT_RO k BY w*
GEORADIUS k 1 2 3 km STORE d
GEORADIUSBYMEMBER k m 3 km STOREDIST d
GEOSEARCHSTORE d s FROMMEMBER m BYBOX 1 1 km
MIGRATE h 1 k 0 9
MIGRATE h 1 \"\" 0 9 REPLACE KEYS a b
XREAD COUNT 1 STREAMS a b 0 0
XREADGROUP GROUP g c STREAMS a >
COPY a b
LCS a b
! EVAL s 3 a b
! EVAL s x a
! ZUNION -1 a
! LMPOP 9 a LEFT
! XREADGROUP GROUP g c NOACK COUNT 1";

/// Requests that no server recognises.
const FAULTS: [&[&[u8]]; 14] = [
    &[b"foo"],
    &[b"foo", b"a", b"b"],
    &[b"foo", b"line\r\nbreak", b""],
    &[b"foo\nbar", b"ends here\0not this"],
    &[b"f\0oo"],
    &[&[b'x'; 200], &[b'y'; 60], &[b'z'; 100], b"more"],
    &[b"foo", &[b'y'; 125], b"z"],
    &[b"foo", &[b'y'; 124], b"zz", b"more"],
    &[b"GeT"],
    &[b"cOnFig"],
    &[b"cOnFig", b"geT"],
    &[b"cOnFig", b"noPe"],
    &[b"cOnFig", &[b'n'; 200]],
    &[b"MSET", b"a", b"1", b"b"],
];

#[test]
fn every_command_of_the_server_is_in_the_table_as_the_server_describes_it() {
    let server = Server::start();
    let reply = server.connect().call(&request("COMMAND"));
    let rows: HashMap<&str, &Spec> = command::all()
        .flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
        .map(|spec| (spec.name, spec))
        .collect();
    let mut faults = Vec::new();
    let mut count = 0;
    for description in parts(&reply) {
        let fields = parts(description);
        for description in std::iter::once(description).chain(parts(fields[9])) {
            compare(description, &rows, &mut faults);
            count += 1;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 300, "only {count} commands were compared");
}

fn compare(description: &[u8], rows: &HashMap<&str, &Spec>, faults: &mut Vec<String>) {
    let fields = parts(description);
    let name = text(fields[0]);
    let Some(spec) = rows.get(name.as_str()) else {
        return faults.push(format!("{name} is not in the table"));
    };
    let arity = cursor::integer(fields[1]).unwrap();
    if i64::from(spec.arity) != arity && !ARITY_DIFFERS.contains(&spec.name) {
        faults.push(format!("{name}: arity {} instead of {arity}", spec.arity));
    }
    let flags: BTreeSet<String> = parts(fields[2]).into_iter().map(text).collect();
    for (flag, name_of_flag) in [
        (Flags::READ, "readonly"),
        (Flags::WRITE, "write"),
        (Flags::BLOCKING, "blocking"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::ADMIN, "admin"),
    ] {
        let differs = spec.flags.has(flag) && FLAGS_DIFFER.contains(&spec.name);
        if spec.flags.has(flag) != flags.contains(name_of_flag) && !differs {
            faults.push(format!("{name}: the table and the server disagree on {name_of_flag}"));
        }
    }
    let [first, last, step] = [3, 4, 5].map(|field| cursor::integer(fields[field]).unwrap());
    let agree = match spec.keys {
        Keys::None => first == 0 && !flags.contains("movablekeys"),
        Keys::Range { first: f, last: l, step: s } => (f as i64, l as i64, s as i64) == (first, last, step),
        _ => flags.contains("movablekeys"),
    };
    if !agree {
        faults.push(format!("{name}: keys {:?} instead of {first}, {last}, {step}", spec.keys));
    }
    compare_lasting(spec, parts(fields[8]), faults);
}

/// What a command may leave without a time to live are the keys that it inserts or updates something in.
fn compare_lasting(spec: &Spec, key_specs: Vec<&[u8]>, faults: &mut Vec<String>) {
    let is_put_into = |key_spec: &&[u8]| {
        let flags: BTreeSet<String> = parts(field(key_spec, "flags")).into_iter().map(text).collect();
        let is_written = flags.contains("RW") || flags.contains("OW");
        is_written && (flags.contains("insert") || flags.contains("update"))
    };
    let put_into: Vec<String> = key_specs.into_iter().filter(is_put_into).map(begin_of).collect();
    let of_range = |at: usize| vec![at.to_string()];
    let in_table = match spec.ttl_effect {
        TtlEffect::Explicit => return,
        TtlEffect::Options => of_range(1),
        TtlEffect::Keys(Keys::Range { first, .. }) => of_range(first),
        TtlEffect::Keys(Keys::SortDestination) => vec!["unknown".to_owned()],
        TtlEffect::Keys(Keys::GeoDestination) => vec!["STORE".to_owned(), "STOREDIST".to_owned()],
        TtlEffect::Nothing if PUTS_NOTHING.contains(&spec.name) => return,
        // Of scripts nobody knows what they write.
        TtlEffect::Nothing if matches!(spec.class, Class::Script(_)) => return,
        TtlEffect::Nothing => Vec::new(),
        TtlEffect::Keys(other) => return faults.push(format!("{}: {other:?} is not compared", spec.name)),
    };
    if in_table != put_into {
        faults.push(format!("{}: puts something into {in_table:?}, the server says {put_into:?}", spec.name));
    }
}

/// Where the keys of a key specification begin: an argument, a keyword, or nobody says.
fn begin_of(key_spec: &[u8]) -> String {
    let begin = field(key_spec, "begin_search");
    let spec = || field(begin, "spec");
    match text(field(begin, "type")).as_str() {
        "index" => cursor::integer(field(spec(), "index")).unwrap().to_string(),
        "keyword" => text(field(spec(), "keyword")),
        other => other.to_owned(),
    }
}

/// The value of a field of a map, which RESP2 writes as an array.
fn field<'a>(map: &'a [u8], name: &str) -> &'a [u8] {
    let parts = parts(map);
    parts.chunks(2).find(|pair| text(pair[0]) == name).unwrap()[1]
}

#[test]
fn keys_are_where_the_server_finds_them() {
    let server = Server::start();
    let mut connection: Connection = server.connect();
    for sample in KEY_SAMPLES.lines() {
        let (broken, sample) = sample.strip_prefix("! ").map_or((false, sample), |sample| (true, sample));
        let asked = request(sample);
        let positions = recognise(&asked.as_request()).unwrap().keys.positions(&asked.as_request());
        let reply = connection.call(&request(&format!("COMMAND GETKEYS {sample}")));
        if broken {
            // Of scripts, that need no key, the server says that there is none.
            assert!(positions.is_err() && matches!(&reply[..2], b"-E" | b"*0"), "{sample}");
            continue;
        }
        let ours: BTreeSet<String> =
            positions.unwrap().map(|at| String::from_utf8_lossy(asked.as_request().arg(at)).into()).collect();
        assert_eq!(ours, parts(&reply).into_iter().map(text).collect(), "{sample}");
    }
}

#[test]
fn faults_are_told_as_the_server_tells_them() {
    let server = Server::start();
    let mut connection: Connection = server.connect();
    for fault in FAULTS {
        let asked = OwnedRequest::from_args(fault);
        let theirs = connection.call(&asked);
        let ours = recognise(&asked.as_request()).unwrap_err().reply(&asked.as_request());
        assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string());
    }
}

#[test]
fn a_description_of_the_server_can_be_learned() {
    let server = Server::start();
    let mut connection: Connection = server.connect();
    for hello in ["HELLO 2", "HELLO 3"] {
        connection.call(&request(hello));
        for name in ["get", "mset", "blpop", "flushall", "bitop"] {
            let reply = connection.call(&request(&format!("COMMAND INFO {name}")));
            let row = command::all().find(|spec| spec.name == name).unwrap();
            assert_eq!(
                ModuleCommand::from_command_info(&reply),
                Some(ModuleCommand { name: name.into(), flags: row.flags, keys: row.keys })
            );
        }
        let movable = ModuleCommand::from_command_info(&connection.call(&request("COMMAND INFO eval")));
        assert_eq!(movable.map(|learned| learned.keys), Some(Keys::Movable));
        assert_eq!(ModuleCommand::from_command_info(&connection.call(&request("COMMAND INFO nope"))), None);
    }
}

fn parts(reply: &[u8]) -> Vec<&[u8]> {
    cursor::elements(reply).unwrap().map(Option::unwrap).collect()
}

fn text(reply: &[u8]) -> String {
    match cursor::head(reply) {
        Some(ReplyHead::Line { text, .. } | ReplyHead::Blob { body: text, .. }) => {
            String::from_utf8_lossy(text).into()
        }
        other => panic!("{other:?} is no text"),
    }
}
