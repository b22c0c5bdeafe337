//! Scripts in namespaces: each answers as on a server of its own, also where it builds the names that it uses, and
//! none leaves its namespace.

use nearside::sandbox::{SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{shared_cluster, valkey_server};

/// A script with its keys and its arguments. Names have one tag, so that a namespace that is not pinned has them in
/// one slot too.
type Script<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

/// Scripts as applications use them: the names are built from arguments, from other names and from values.
const REAL: &[Script<'_>] = &[
    // A queue's producer and worker: a counter, a hash for each job, a list, a sorted set of delayed ones.
    (
        "local rcall = redis.call
local id = rcall('INCR', KEYS[1] .. ':id')
local job = KEYS[1] .. ':' .. id
rcall('HMSET', job, 'name', ARGV[1], 'data', ARGV[2], 'opts', cjson.encode({attempts = 3}))
if tonumber(ARGV[3]) > 0 then
  rcall('ZADD', KEYS[1] .. ':delayed', ARGV[3], id)
else
  rcall('LPUSH', KEYS[1] .. ':wait', id)
end
rcall('XADD', KEYS[1] .. ':events', 'MAXLEN', '~', 100, '5-' .. id, 'event', 'waiting', 'jobId', id)
return id",
        &["{t}:q"],
        &["mail", "payload", "0"],
    ),
    (
        "local prefix = ARGV[1]
local due = redis.call('ZRANGEBYSCORE', prefix .. ':delayed', 0, ARGV[2], 'LIMIT', 0, 10)
for _, id in ipairs(due) do
  redis.call('ZREM', prefix .. ':delayed', id)
  redis.call('LPUSH', prefix .. ':wait', id)
end
local id = redis.call('RPOPLPUSH', prefix .. ':wait', prefix .. ':active')
if not id then return false end
redis.call('SET', prefix .. ':' .. id .. ':lock', ARGV[3], 'PX', 30000)
redis.call('HSET', prefix .. ':' .. id, 'processedOn', ARGV[2])
return {redis.call('HGETALL', prefix .. ':' .. id), id}",
        &["{t}:q"],
        &["{t}:q", "1000", "token"],
    ),
    (
        "local lock = KEYS[1] .. ':1:lock'
if redis.call('GET', lock) ~= ARGV[1] then return -2 end
redis.call('DEL', lock)
if redis.call('LREM', KEYS[1] .. ':active', -1, '1') < 1 then return -3 end
redis.call('ZADD', KEYS[1] .. ':completed', 10, '1')
return redis.call('XLEN', KEYS[1] .. ':events')",
        &["{t}:q"],
        &["token"],
    ),
    // The due entry of a schedule.
    (
        "local key, now = KEYS[1], ARGV[1]
local jobs = redis.call('zrange', key, '-inf', now, 'byscore', 'limit', 0, 1)
if jobs[1] then
  redis.call('zrem', key, jobs[1])
  return jobs[1]
end",
        &["{t}:schedule"],
        &["1"],
    ),
    // A queue with reserved jobs and notifications.
    (
        "local job = redis.call('lpop', KEYS[1])
local reserved = false
if job ~= false then
  reserved = cjson.decode(job)
  reserved['attempts'] = reserved['attempts'] + 1
  reserved = cjson.encode(reserved)
  redis.call('zadd', KEYS[2], ARGV[1], reserved)
  redis.call('lpop', KEYS[3])
end
return {job, reserved}",
        &["{t}:queues:default", "{t}:queues:default:reserved", "{t}:queues:default:notify"],
        &["1700000000"],
    ),
    (
        "redis.call('rpush', KEYS[1], ARGV[1]) redis.call('rpush', KEYS[2], 1) return redis.call('llen', KEYS[1])",
        &["{t}:queues:default", "{t}:queues:default:notify"],
        &["{\"attempts\":0}"],
    ),
    // A lock that only its owner releases, and one that is prolonged.
    ("return redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', 30000)", &["{t}:lock"], &["me"]),
    (
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0",
        &["{t}:lock"],
        &["me", "1000"],
    ),
    (
        "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end return 0",
        &["{t}:lock"],
        &["me"],
    ),
    // Limits of rates: a window that slides, and a bucket.
    (
        "local now, window, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - window)
local used = redis.call('ZCARD', KEYS[1])
if used < limit then redis.call('ZADD', KEYS[1], now, now .. '-' .. used) end
redis.call('PEXPIRE', KEYS[1], window)
return limit - used",
        &["{t}:limit"],
        &["1000", "60000", "3"],
    ),
    (
        "local bucket = 'bucket:' .. ARGV[1] .. '{t}'
local v = redis.call('HMGET', bucket, 'tokens', 'at')
local tokens = tonumber(v[1] or ARGV[2])
if tokens < 1 then return {0, 0} end
redis.call('HMSET', bucket, 'tokens', tokens - 1, 'at', 7)
return {1, tokens - 1}",
        &[],
        &["user", "10"],
    ),
];

/// Commands whose names stand in many places, and whose replies have names.
const PLACES: &[Script<'_>] = &[
    ("return redis.call('MSET', ARGV[1], 1, ARGV[2], 2)", &["{t}a"], &["{t}a", "{t}b"]),
    ("return redis.call('mget', '{t}a', '{t}b', '{t}none')", &["{t}a"], &[]),
    ("return redis.call('eXists', '{t}a', '{t}b')", &["{t}a"], &[]),
    ("redis.call('RPUSH', '{t}l', 3, 1, 2) return redis.call('BLPOP', '{t}none', '{t}l', 0)", &["{t}l"], &[]),
    ("return redis.call('LMPOP', 2, '{t}none', '{t}l', 'LEFT', 'COUNT', 1)", &["{t}l"], &[]),
    (
        "return redis.call('SORT', '{t}l', 'BY', '{t}w*', 'GET', '#', 'GET', '{t}w*', 'STORE', '{t}s')",
        &["{t}l"],
        &[],
    ),
    ("return redis.call('SORT', '{t}l', 'BY', 'nosort')", &["{t}l"], &[]),
    (
        "redis.call('ZADD', '{t}z', 1, 'x', 2, 'y') return redis.call('ZUNIONSTORE', '{t}u', 2, '{t}z', '{t}z')",
        &["{t}z"],
        &[],
    ),
    ("return redis.call('ZMPOP', '2', '{t}none', '{t}z', 'MIN')", &["{t}z"], &[]),
    ("return redis.call('BZPOPMIN', '{t}u', 0)", &["{t}z"], &[]),
    (
        "redis.call('XADD', '{t}x', '1-1', 'f', 'v') return redis.call('XREAD', 'COUNT', 5, 'STREAMS', '{t}none', '{t}x', 0, 0)",
        &["{t}x"],
        &[],
    ),
    ("return redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', '{t}x', '>')", &["{t}x"], &[]),
    ("return redis.pcall('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', '{t}x', '>')", &["{t}x"], &[]),
    ("return redis.call('XGROUP', 'CREATE', '{t}x', 'g', '0')", &["{t}x"], &[]),
    ("return redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'NOACK', 'STREAMS', '{t}x', '>')", &["{t}x"], &[]),
    ("redis.setresp(3) return redis.call('XREAD', 'STREAMS', '{t}x', 0)", &["{t}x"], &[]),
    ("redis.setresp(3) return redis.call('HGETALL', '{t}none')", &["{t}x"], &[]),
    (
        "redis.call('GEOADD', '{t}g', 1, 1, 'm') return redis.call('GEORADIUS', '{t}g', 1, 1, 5, 'km', 'STORE', '{t}gs')",
        &["{t}g"],
        &[],
    ),
    ("return redis.call('RENAME', '{t}gs', '{t}gt')", &["{t}g"], &[]),
    ("return redis.call('COPY', '{t}gt', '{t}gu', 'REPLACE')", &["{t}g"], &[]),
    ("return redis.call('OBJECT', 'ENCODING', '{t}gt')", &["{t}g"], &[]),
    ("return redis.call('KEYS', '{t}g*') and redis.call('TYPE', '{t}gt')", &["{t}g"], &[]),
    ("local t = redis.call('KEYS', '{t}g*') table.sort(t) return t", &["{t}g"], &[]),
    ("return redis.call('SET', 1700000000123456, 1)", &["1700000000123456"], &[]),
    ("return redis.call('GET', 17 * 100000000007261 + 123419)", &["{t}a"], &[]),
    ("return {redis.call('PING'), redis.call('ECHO', 'hi')}", &["{t}a"], &[]),
    ("return redis.call('PUBLISH', 'channel', 'm')", &["{t}a"], &[]),
    ("return redis.acl_check_cmd('GET', '{t}a')", &["{t}a"], &[]),
    ("return {KEYS[1], KEYS[2], #KEYS, ARGV[1], #ARGV, KEYS[3] == nil}", &["{t}a", "{t}"], &["x", "y"]),
    ("return {#KEYS, KEYS[1] == nil, KEYS[0] == nil}", &[], &["x"]),
    ("local n = 0 for _ in pairs(KEYS) do n = n + 1 end return n", &["{t}a", "{t}b"], &[]),
    ("return redis.sha1hex('x') .. tostring(redis.LOG_WARNING)", &["{t}a"], &[]),
    ("redis.log(redis.LOG_DEBUG, 'x') return redis.status_reply('FINE')", &["{t}a"], &[]),
    ("return cmsgpack.unpack(cmsgpack.pack({1, 'a'}))", &[], &[]),
    ("return {struct.unpack('>I2', struct.pack('>I2', 513)), bit.band(7, 12)}", &[], &[]),
    (
        "local redis = redis local c = redis['call'] c('SET', '{t}a', 5) return c('GET', '{t}a')",
        &["{t}a"],
        &[],
    ),
    ("redis.call('DEL', unpack(KEYS))", &["{t}a", "{t}b"], &[]),
    ("", &["{t}a"], &[]),
    ("\n\nreturn 1 -- with a comment", &["{t}a"], &[]),
    ("#!lua flags=no-writes\nreturn redis.call('GET', '{t}a')", &["{t}a"], &[]),
    ("#!lua flags=no-writes\nreturn redis.call('SET', '{t}a', 1)", &["{t}a"], &[]),
    (
        "local t = {} for i = 1, 6000 do t[i] = '{t}a' end return redis.call('EXISTS', unpack(t))",
        &["{t}a"],
        &[],
    ),
];

/// Errors, and where they say that they come from.
const ERRORS: &[Script<'_>] = &[
    ("return redis.call('GET')", &["{t}a"], &[]),
    ("\n\nredis.call('GET', '{t}a', 3)", &["{t}a"], &[]),
    ("\nreturn redis.call('NOPE', '{t}a')", &["{t}a"], &[]),
    ("return redis.call()", &["{t}a"], &[]),
    ("return redis.pcall()", &["{t}a"], &[]),
    ("return redis.call('GET', {})", &["{t}a"], &[]),
    ("return redis.pcall('GET', {})", &["{t}a"], &[]),
    ("return redis.call({})", &["{t}a"], &[]),
    ("return redis.call(5)", &["{t}a"], &[]),
    (
        "\n\nlocal f = function()\n return redis.call('LPUSH', KEYS[1], 1) end\n redis.call('SET', KEYS[1], 1)\nreturn f()",
        &["{t}a"],
        &[],
    ),
    ("local r = redis.pcall('LPUSH', KEYS[1], 1)\nreturn r.err", &["{t}a"], &[]),
    ("return redis.pcall('LPUSH', KEYS[1], 1)", &["{t}a"], &[]),
    (
        "local ok, e = pcall(redis.call, 'LPUSH', KEYS[1], 1)\nreturn {tostring(ok), type(e) == 'table' and e.err or e, redis.call('GET', KEYS[1])}",
        &["{t}a"],
        &[],
    ),
    (
        "local rcall = redis.call\nlocal ok = pcall(function() rcall('LPUSH', KEYS[1], 1) end)\nrcall('INCR', KEYS[1])\nlocal x = rcall('LPUSH', KEYS[1], 1)\nreturn x",
        &["{t}a"],
        &[],
    ),
    ("\nlocal ok, e = pcall(redis.call, 'LPUSH', KEYS[1], 1)\n\nerror(e)", &["{t}a"], &[]),
    ("\nerror('mine')", &["{t}a"], &[]),
    ("\nerror({err='MINE x'})", &["{t}a"], &[]),
    ("return redis.error_reply('MY own')", &["{t}a"], &[]),
    ("return {err='MY own'}", &["{t}a"], &[]),
    ("\nreturn nope", &["{t}a"], &[]),
    ("\nnope = 1", &["{t}a"], &[]),
    ("\nredis.nope = 1", &["{t}a"], &[]),
    ("\nlocal x = nil\nreturn x.y", &["{t}a"], &[]),
    ("retur 1", &["{t}a"], &[]),
    ("return 1 end", &["{t}a"], &[]),
    ("\n\nif", &["{t}a"], &[]),
    ("end)(1); redis.call('SET', 'x', 1) (function()", &["{t}a"], &[]),
    ("#!lua flags=nonsense\nreturn 1", &["{t}a"], &[]),
    ("return redis.call('XGROUP', 'CREATE', '{t}none', 'g', '0')", &["{t}a"], &[]),
    ("return redis.call('SUBSCRIBE', 'x')", &["{t}a"], &[]),
    ("return redis.call('CLIENT', 'ID')", &["{t}a"], &[]),
    ("return redis.call('MULTI')", &["{t}a"], &[]),
    ("return redis.sha1hex()", &["{t}a"], &[]),
    ("return getfenv", &["{t}a"], &[]),
    ("return setfenv(1, {})", &["{t}a"], &[]),
];

/// What only a namespace of one slot, or one server, has as a server of its own does.
const DATABASES: &[Script<'_>] = &[
    (
        "redis.call('SELECT', 3) redis.call('SET', 'in3', ARGV[1]) return redis.call('GET', 'in3')",
        &[],
        &["v"],
    ),
    ("return redis.call('GET', 'in3')", &[], &[]),
    (
        "redis.call('SELECT', 3) local m = redis.call('MOVE', 'in3', 2) return {m, redis.call('MOVE', 'in3', 2)}",
        &[],
        &[],
    ),
    ("redis.call('SET', 'c', 1) return redis.call('COPY', 'c', 'c2', 'DB', 3, 'REPLACE')", &[], &[]),
    ("redis.call('SELECT', '3') return {redis.call('GET', 'c2'), redis.call('DEL', 'c2')}", &[], &[]),
    ("redis.call('SELECT', 2) return redis.call('DEL', 'in3')", &[], &[]),
    ("return redis.call('SELECT', 16)", &[], &[]),
    ("return redis.call('SELECT', 'x')", &[], &[]),
    ("return redis.call('MOVE', 'c', 0)", &[], &[]),
    (
        "redis.call('SET', 'far' .. 'away', 1) redis.call('SET', 'else' .. 'where', 2) return redis.call('MGET', 'faraway', 'elsewhere')",
        &[],
        &[],
    ),
    (
        "local c, n = '0', 0 repeat local p = redis.call('SCAN', c, 'COUNT', 1000) c = p[1] for _, k in ipairs(p[2]) do n = n + (k == 'faraway' and 1 or 0) end until c == '0' return n",
        &[],
        &[],
    ),
    ("return {redis.call('EXISTS', 'faraway'), redis.call('DEL', 'faraway', 'elsewhere', 'c')}", &[], &[]),
];

/// Where clients in a namespace are: in front of one server or of a cluster, all in one slot or not.
fn namespaces(upstream: &str) -> [Daemon; 2] {
    [&["--namespace", "app"][..], &["--namespace", "app", "--pin"]]
        .map(|flags| Daemon::start(&[&["--upstream", upstream][..], flags].concat()))
}

fn ask(client: &mut SandboxClient, args: &[&str]) -> String {
    client.send(args).unwrap();
    client.receive_raw().unwrap().escape_ascii().to_string()
}

fn eval(client: &mut SandboxClient, command: &str, script: &str, keys: &[&str], args: &[&str]) -> String {
    let count = keys.len().to_string();
    ask(client, &[&[command, script, &count], keys, args].concat())
}

fn sha_of(plain: &mut SandboxClient, script: &str) -> String {
    let loaded = ask(plain, &["SCRIPT", "LOAD", script]);
    loaded.trim_start_matches("$40\\r\\n").trim_end_matches("\\r\\n").to_owned()
}

/// Runs all scripts on both sides, in both versions of the protocol, with EVAL and with EVALSHA.
fn compare(plain: &Standalone, daemon: &Daemon, scripts: &[&[Script<'_>]], what: &str) {
    let mut different: Vec<String> = Vec::new();
    for version in [2, 3] {
        let mut sides = [plain.server().connect().unwrap(), daemon.client()];
        if version == 3 {
            sides.iter_mut().for_each(|side| drop(side.hello(3).unwrap()));
        }
        for round in ["EVAL", "EVALSHA"] {
            ask(&mut sides[0], &["FLUSHALL"]);
            let _ = daemon.client().command(&["EVAL", CLEAR, "1", "{t}"]).unwrap();
            for (script, keys, args) in scripts.iter().copied().flatten() {
                let sent = if round == "EVAL" { (*script).to_owned() } else { sha_of(&mut sides[0], script) };
                let [wanted, got] = sides.each_mut().map(|side| eval(side, round, &sent, keys, args));
                if got != wanted {
                    different.push(format!("{what}, RESP{version}, {round}: {script}\n  {got}\n  {wanted}"));
                }
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Removes what the scripts have written.
const CLEAR: &str = "for _, k in ipairs(redis.call('KEYS', '*')) do redis.call('DEL', k) end";

#[test]
fn scripts_in_a_namespace_of_one_server_answer_as_on_a_plain_one() {
    let (plain, shared) = (Standalone::launch(&[]).unwrap(), Standalone::launch(&[]).unwrap());
    for daemon in namespaces(&format!("redis://{}", shared.server().address())) {
        compare(&plain, &daemon, &[REAL, PLACES, ERRORS, DATABASES], "one server");
    }
}

#[test]
fn scripts_in_a_namespace_of_valkey_answer_as_on_a_plain_one() {
    let program = valkey_server();
    let launch = || Standalone::launch_program(Some(&program), &[]).unwrap();
    let (plain, shared) = (launch(), launch());
    for daemon in namespaces(&format!("redis://{}", shared.server().address())) {
        compare(&plain, &daemon, &[REAL, PLACES, ERRORS, DATABASES], "Valkey");
    }
}

#[test]
fn scripts_in_a_namespace_of_a_cluster_answer_as_on_a_plain_server() {
    let plain = Standalone::launch(&[]).unwrap();
    let [spread, pinned] = namespaces(&upstream_url(shared_cluster()));
    // Nodes of a cluster of Redis refuse BY with a pattern, and GET.
    let allowed: Vec<_> =
        PLACES.iter().copied().filter(|(script, ..)| !script.contains("'GET', '#'")).collect();
    compare(&plain, &pinned, &[REAL, &allowed, ERRORS, DATABASES], "pinned");
    let has_tag = |(script, keys, _): &Script<'_>| {
        keys.first().is_some_and(|key| key.starts_with("{t}")) && !script.contains("17 *")
    };
    let tagged: Vec<_> = [REAL, &allowed].concat().into_iter().filter(has_tag).collect();
    compare(&plain, &spread, &[&tagged, ERRORS], "spread");
}

#[test]
fn names_of_scripts_are_those_of_clients() {
    let (plain, shared) = (Standalone::launch(&[]).unwrap(), Standalone::launch(&[]).unwrap());
    let daemon = Daemon::start(&[
        "--upstream",
        &format!("redis://{}", shared.server().address()),
        "--namespace",
        "app",
    ]);
    let mut sides = [plain.server().connect().unwrap(), daemon.client()];
    let body = "redis.call('INCR', KEYS[1])\nreturn redis.call('GET', ARGV[1])";
    let sha = sha_of(&mut plain.server().connect().unwrap(), body);
    ask(&mut sides[0], &["SCRIPT", "FLUSH"]);
    let upper = sha.to_uppercase();
    let broken = "retur 1";
    let broken_sha = "0b0b8c0b0d44a3ea7ad6d6ac11ac02ca23a0c6c2";
    let requests: &[&[&str]] = &[
        &["EVALSHA", &sha, "1", "n", "n"],
        &["SCRIPT", "EXISTS", &sha, "nonsense"],
        &["SCRIPT", "LOAD", body],
        &["SCRIPT", "EXISTS", &sha, &upper, "nonsense"],
        &["EVALSHA", &upper, "1", "n", "n"],
        &["SELECT", "3"],
        &["EVALSHA", &sha, "1", "n", "n"],
        &["EVALSHA_RO", &sha, "1", "n", "n"],
        &["SELECT", "0"],
        &["EVALSHA", &sha, "1", "n", "n", "more"],
        &["EVAL_RO", "return redis.call('GET', KEYS[1])", "1", "n"],
        &["EVAL_RO", "return redis.call('SET', KEYS[1], 1)", "1", "n"],
        &["SCRIPT", "LOAD", broken],
        &["EVAL", broken, "0"],
        &["SCRIPT", "EXISTS", broken_sha],
        &["EVAL", body, "3", "n"],
        &["EVAL", body, "-1", "n"],
        &["EVAL", body, "x", "n"],
        &["EVAL", body],
        &["EVALSHA", &sha, "0"],
        &["MULTI"],
        &["EVALSHA", &sha, "1", "n", "n"],
        &["EVAL", "return redis.call('LPUSH', 'n', 1)", "0"],
        &["EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "0"],
        &["EXEC"],
        &["SCRIPT", "FLUSH", "sideways"],
        &["SCRIPT", "FLUSH", "ASYNC"],
        &["SCRIPT", "EXISTS", &sha],
        &["EVALSHA", &sha, "1", "n", "n"],
        &["EVAL", body, "1", "n", "n"],
        &["EVALSHA", &sha, "1", "n", "n"],
        &["SCRIPT", "SHOW", &sha],
        &["FCALL", "f", "0"],
    ];
    for request in requests {
        let [wanted, got] = sides.each_mut().map(|side| ask(side, request));
        match request[0] {
            "FCALL" => {
                assert!(got.starts_with("-ERR nearside: FCALL is not available in a namespace"), "{got}")
            }
            _ => assert_eq!(got, wanted, "{request:?}"),
        }
    }
    // A script that is in a pipeline with its name, and a server that has lost all scripts.
    for side in &mut sides {
        ask(side, &["SCRIPT", "FLUSH"]);
        side.send(&["SCRIPT", "LOAD", body]).unwrap();
        side.send(&["EVALSHA", &sha, "1", "n", "n"]).unwrap();
        assert_eq!(side.receive().unwrap().text(), sha);
        assert!(!side.receive().unwrap().is_error());
    }
    let mut direct = shared.server().connect().unwrap();
    assert_eq!(
        ask(&mut direct, &["SCRIPT", "EXISTS", &sha]),
        "*1\\r\\n:0\\r\\n",
        "the servers have it under another name"
    );
    ask(&mut direct, &["SCRIPT", "FLUSH"]);
    let [wanted, got] = sides.each_mut().map(|side| ask(side, &["EVALSHA", &sha, "1", "n", "n"]));
    assert_eq!(got, wanted);
}

#[test]
fn the_scripts_of_one_namespace_are_not_those_of_another() {
    let shared = Standalone::launch(&[]).unwrap();
    let [one, two] = namespaces(&format!("redis://{}", shared.server().address()));
    let (mut one, mut direct) = (one.client(), shared.server().connect().unwrap());
    let mut two = two.client();
    let sha = sha_of(&mut one, "return redis.call('SET', 'mine', 1)");
    assert!(ask(&mut two, &["EVALSHA", &sha, "0"]).starts_with("-NOSCRIPT"));
    ask(&mut direct, &["SCRIPT", "LOAD", "return redis.call('SET', 'mine', 1)"]);
    assert!(ask(&mut two, &["EVALSHA", &sha, "0"]).starts_with("-NOSCRIPT"), "nor those of the server");
    ask(&mut two, &["SCRIPT", "FLUSH"]);
    assert_eq!(ask(&mut one, &["EVALSHA", &sha, "0"]), "+OK\\r\\n");
    assert_eq!(ask(&mut direct, &["KEYS", "*mine"]), "*1\\r\\n$8\\r\\napp:mine\\r\\n");
}

/// Ways to the bare `redis`. Each runs with `write` set to code that writes the key `escaped`.
const ESCAPES: &[&str] = &[
    "redis.call('SET', 'escaped', 1)",
    "local c = redis.call c('SET', 'escaped', 1)",
    "redis.pcall('SET', 'escaped', 1)",
    "_G.redis.call('SET', 'escaped', 1)",
    "_G['red' .. 'is'].call('SET', 'escaped', 1)",
    "rawget(_G, 'redis').call('SET', 'escaped', 1)",
    "_G._G._G.redis.call('SET', 'escaped', 1)",
    "for k, v in pairs(_G) do if k == 'redis' then v.call('SET', 'escaped', 1) end end",
    "local k, v = next(_G) while k do if type(v) == 'table' and type(rawget(v, 'call')) == 'function' then v.call('SET', 'escaped', 1) end k, v = next(_G, k) end",
    "loadstring(\"redis.call('SET', 'escaped', 1)\")()",
    "loadstring(\"return loadstring('redis.call(\\\\'SET\\\\', \\\\'escaped\\\\', 1)')\")()()",
    "loadstring(\"_G.redis.call('SET', 'escaped', 1)\")()",
    "loadstring(\"KEYS[0]().call('SET', 'escaped', 1)\")()",
    "local done load(function() if not done then done = true return \"redis.call('SET', 'escaped', 1)\" end end)()",
    "getfenv(0).redis.call('SET', 'escaped', 1)",
    "getfenv(loadstring('return 1')).redis.call('SET', 'escaped', 1)",
    "setfenv(function() return redis.call('SET', 'escaped', 1) end, _G)()",
    "coroutine.wrap(function() redis.call('SET', 'escaped', 1) end)()",
    "local c = coroutine.create(redis.call) coroutine.resume(c, 'SET', 'escaped', 1)",
    "getmetatable(redis).__index.call('SET', 'escaped', 1)",
    "getmetatable(_G).__index(_G, 'redis').call('SET', 'escaped', 1)",
    "setmetatable(redis, {__index = function() end})",
    "server.call('SET', 'escaped', 1)",
    "_G.server.call('SET', 'escaped', 1)",
    "redis.call(setmetatable({}, {__tostring = function() return 'SET' end}), 'escaped', 1)",
    "KEYS[0]().call('SET', 'escaped', 1)",
    "local t = rawget(_G, 'KEYS') t[0]().call('SET', 'escaped', 1)",
    "string.gsub('SET', '.+', function(c) redis.call(c, 'escaped', 1) end)",
    "xpcall(function() redis.call('SET', 'escaped', 1) error('x') end, function() redis.call('SET', 'escaped', 1) end)",
    "loadstring(string.dump(function() redis.call('SET', 'escaped', 1) end))()",
    "redis.call('EVAL', \"redis.call('SET', 'escaped', 1)\", 0)",
    "redis.call('FLUSHALL')",
    "redis.call('FLUSHDB')",
    "redis.call('SWAPDB', 0, 1)",
    "return redis.call('RANDOMKEY')",
    "return redis.call('DBSIZE')",
    "return redis.call('KEYS', '*outside*')",
    "return redis.call('SCAN', 0, 'MATCH', '*outside*', 'COUNT', 10000)",
    "return redis.call('SCAN', 0, 'COUNT', 10000)",
    "return redis.call('GET', 'outside')",
    "return redis.call('SORT', 'list', 'BY', 'nosort', 'GET', 'outside*')",
    "return redis.call('PUBSUB', 'CHANNELS')",
    "return redis.call('SLOWLOG', 'GET')",
    "return redis.call('CLUSTER', 'GETKEYSINSLOT', 0, 10)",
    "return redis.call('SELECT', '0', '1') or redis.call('SET', 'escaped', 1)",
    "return redis.call('SET\0', 'escaped', 1)",
    "return redis.call('get:;set', 'escaped', 1)",
    "return redis.call('config|get', 'escaped', 1)",
    "#!lua\nredis.call('SET', 'escaped', 1)",
    "#!LUA name=x flags=allow-cross-slot-keys\nredis.call('SET', 'escaped', 1)",
    "#!js\nredis.call('SET', 'escaped', 1)",
    "#!lua",
    "end redis.call('SET', 'escaped', 1) do",
];

#[test]
fn no_script_leaves_its_namespace() {
    for program in [None, Some(valkey_server())] {
        let shared = Standalone::launch_program(
            program.as_deref(),
            &["--slowlog-log-slower-than", "0"].map(str::to_owned),
        )
        .unwrap();
        let mut direct = shared.server().connect().unwrap();
        for daemon in namespaces(&format!("redis://{}", shared.server().address())) {
            let mut client = daemon.client();
            ask(&mut direct, &["SET", "outside", "of-another"]);
            ask(&mut direct, &["SET", "outside1", "of-another"]);
            ask(&mut client, &["RPUSH", "list", "1"]);
            for escape in ESCAPES {
                for wrapped in [
                    (*escape).to_owned(),
                    format!("local ok, e = pcall(function() {escape} end) return tostring(e)"),
                ] {
                    let got = eval(&mut client, "EVAL", &wrapped, &[], &[]);
                    assert!(!got.contains("outside") && !got.contains("of-another"), "{wrapped}: {got}");
                    assert!(!got.contains("app"), "the prefix is shown: {wrapped}: {got}");
                    let all = ask(&mut direct, &["KEYS", "*"]);
                    let bare =
                        ["escaped", "outside", "outside1"].map(|key| ask(&mut direct, &["EXISTS", key]));
                    assert_eq!(bare, [":0\\r\\n", ":1\\r\\n", ":1\\r\\n"], "{wrapped}: {got}: {all}");
                }
            }
            let got = eval(&mut client, "EVAL", "return redis.call('FLUSHALL')", &[], &[]);
            assert!(
                got.starts_with("-ERR nearside: FLUSHALL is not available to scripts in a namespace"),
                "{got}"
            );
            let got = eval(&mut client, "EVAL", "return redis.pcall('XGROUP', '%1|x', 'k').err", &[], &[]);
            assert!(got.contains("XGROUP %1 X is not available to scripts in a namespace"), "{got}");
            ask(&mut direct, &["FLUSHALL"]);
        }
    }
}

#[test]
fn what_a_script_writes_is_not_answered_from_before() {
    let shared = Standalone::launch(&[]).unwrap();
    for daemon in namespaces(&format!("redis://{}", shared.server().address())) {
        let mut client = daemon.client();
        for round in 0..50 {
            let value = format!("v{round}");
            ask(&mut client, &["GET", "built"]);
            ask(&mut client, &["GET", "built"]);
            eval(&mut client, "EVAL", "return redis.call('SET', 'bu' .. 'ilt', ARGV[1])", &[], &[&value]);
            assert_eq!(ask(&mut client, &["GET", "built"]), format!("${}\\r\\n{value}\\r\\n", value.len()));
        }
    }
}
