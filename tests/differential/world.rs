//! What is there before a conversation: keys of every type, the same on both sides, and the keys' names.

/// The keys, by what they hold; those beyond `none` and `none2` do not exist at first.
pub(crate) const NAMES: [&str; 19] = [
    "str", "int", "list", "list2", "set", "set2", "ints", "hash", "zset", "zset2", "lex", "stream", "hll",
    "hll2", "geo", "bits", "lived", "none", "none2",
];

/// Each line is a request; `@name` is a key.
const SETUP: &str = "SET @str hello-world
SET @int 10
RPUSH @list a b c d a 1
RPUSH @list2 b x
SADD @set a b c m1
SADD @set2 b c d
SADD @ints 1 2 3
HSET @hash f1 v1 f2 2 f3 0.5
ZADD @zset 1 a 2 b 3 c 3 m1
ZADD @zset2 1.5 b 7 c -1 x
ZADD @lex 0 a 0 b 0 c 0 d
XADD @stream 1-1 f1 v1
XADD @stream 2-1 f1 v1 f2 v2
XADD @stream 2-2 f3 v3
XGROUP CREATE @stream g 0
XREADGROUP GROUP g c1 COUNT 1 STREAMS @stream >
PFADD @hll a b c
PFADD @hll2 c d
GEOADD @geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
SETBIT @bits 7 1
SET @lived v EX 100000";

/// Large enough for the encodings of large values. Their sizes pass the bounds of small encodings.
const LARGE: usize = 600;

/// The key of the world of `tag`; all of one tag lie in one slot.
pub(crate) fn key(tag: &str, name: &str) -> String {
    format!("{{{tag}}}{name}")
}

/// What makes the world of `tag`. In a large one some keys have many elements.
pub(crate) fn setup(tag: &str, is_large: bool) -> Vec<Vec<Vec<u8>>> {
    let word = |word: &str| match word.strip_prefix('@') {
        Some(name) => key(tag, name).into_bytes(),
        None => word.as_bytes().to_vec(),
    };
    let mut requests: Vec<Vec<Vec<u8>>> =
        SETUP.lines().map(|line| line.split(' ').map(word).collect()).collect();
    if is_large {
        for (command, name) in
            [("SADD", "set"), ("RPUSH", "list"), ("HSET", "hash"), ("ZADD", "zset"), ("SADD", "ints")]
        {
            requests.push(many(command, &key(tag, name)));
        }
    }
    requests
}

fn many(command: &str, key: &str) -> Vec<Vec<u8>> {
    let mut request: Vec<Vec<u8>> = vec![command.into(), key.into()];
    for number in 0..LARGE {
        let number = number.to_string().into_bytes();
        if matches!(command, "HSET" | "ZADD") {
            request.push(number.clone());
        }
        request.push(number);
    }
    request
}

/// The names of keys that a command of this group is about, when it gets what it expects.
pub(crate) fn names_of(group: &str) -> &'static [&'static str] {
    match group {
        "string" => &["str", "int", "int", "lived", "none"],
        "bitmap" => &["bits", "str", "int", "none"],
        "list" => &["list", "list", "list2", "none"],
        "set" => &["set", "set2", "ints", "none"],
        "hash" => &["hash", "hash", "hash", "none"],
        "sorted-set" => &["zset", "zset2", "lex", "geo", "none"],
        "stream" => &["stream", "stream", "stream", "none"],
        "hyperloglog" => &["hll", "hll2", "none"],
        "geo" => &["geo", "geo", "geo", "none"],
        _ => &NAMES,
    }
}
