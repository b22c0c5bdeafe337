//! A request as words that know what they were meant to be, and the words that are put into them.

use fastrand::Rng;

/// What a word was meant to be. A mutation puts something else of the same kind there, or of no kind at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The name of the command or subcommand, or an option.
    Token,
    Key,
    Number,
    /// How long something lives: small ones would expire between the two servers' answers.
    Lifetime,
    /// How long to wait: long ones would be waited for.
    Timeout,
    Text,
}

/// One argument.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: Kind,
}

/// A request, the name of its command first.
pub(crate) type Request = Vec<Word>;

const TEXTS: [&[u8]; 12] =
    [b"a", b"b", b"c", b"d", b"f1", b"f2", b"1", b"x", b"hello", b"", b"\x00\xff\r\n", b"wor ld"];
const SCRIPTS: [&str; 6] = [
    "return 1",
    "return {KEYS[1], ARGV[1]}",
    "return redis.call('GET', KEYS[1])",
    "return redis.error_reply('MY error')",
    "return {1, 'two', {3}, false, 4.5}",
    "return redis.call('TYPE', KEYS[1])",
];
const IDS: [&str; 9] = ["0", "0-0", "1-1", "2-1", "2-2", "9-9", "10-*", "$", "1"];

// === impl Word ===

impl Word {
    pub(crate) fn new(bytes: impl AsRef<[u8]>, kind: Kind) -> Word {
        Word { bytes: bytes.as_ref().to_vec(), kind }
    }
}

/// A request of plain words.
pub(crate) fn plain(words: &[&str]) -> Request {
    words.iter().map(|word| Word::new(word, Kind::Text)).collect()
}

/// The request that a person would type so.
pub(crate) fn typed(line: &str) -> Request {
    split(line).into_iter().map(|word| Word::new(word, Kind::Text)).collect()
}

pub(crate) fn bytes(request: &Request) -> Vec<&[u8]> {
    request.iter().map(|word| &word.bytes[..]).collect()
}

/// The request as a person would type it.
pub(crate) fn shown(request: &Request) -> String {
    let word = |word: &Word| match &word.bytes[..] {
        bytes if bytes.is_empty() || bytes.contains(&b' ') => format!("\"{}\"", bytes.escape_ascii()),
        bytes => bytes[..bytes.len().min(120)].escape_ascii().to_string(),
    };
    request.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn one<'a>(rng: &mut Rng, words: &[&'a str]) -> &'a str {
    words[rng.usize(..words.len())]
}

/// The words of a line; in quotes, `\n` is a line break and `\0` a zero byte.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
            Some((word, after)) => (word.replace("\\n", "\n").replace("\\0", "\0"), after),
            None => {
                let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
                (word.to_owned(), after)
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// A whole number for an argument of this name.
pub(crate) fn integer(rng: &mut Rng, name: &str) -> Word {
    let (words, kind): (&[&str], Kind) = match name {
        "seconds" | "milliseconds" | "ttl" => (&["100000", "200000000", "0", "-1"], Kind::Lifetime),
        "timeout" => (&["10"], Kind::Timeout),
        "ms" | "min-idle-time" => (&["0", "0", "900000000"], Kind::Lifetime),
        "unix-time-seconds" | "unix-time-milliseconds" => return unix_time(rng, name),
        "numreplicas" | "numlocal" => (&["0", "1"], Kind::Number),
        "db" | "destination-db" | "index" | "index1" | "index2" => {
            (&["0", "0", "0", "1", "1", "2", "15", "16"], Kind::Number)
        }
        "cursor" => (&["0", "0", "0", "1"], Kind::Number),
        "bit" => (&["0", "1"], Kind::Number),
        "protover" => (&["2", "3"], Kind::Number),
        "rank" => (&["1", "-1", "2"], Kind::Number),
        "port" => (&["1"], Kind::Timeout),
        _ => (&["-3", "-2", "-1", "0", "0", "1", "1", "2", "2", "3", "4", "7", "10"], Kind::Number),
    };
    Word::new(one(rng, words), kind)
}

/// A number with or without a fraction.
pub(crate) fn double(rng: &mut Rng, name: &str) -> Word {
    let (words, kind): (&[&str], Kind) = match name {
        "timeout" => (&["0.01", "0.02"], Kind::Timeout),
        "longitude" => (&["13.361389", "15", "15.087269", "-180"], Kind::Number),
        "latitude" => (&["38.115556", "37", "37.502669", "85"], Kind::Number),
        "radius" | "width" | "height" => (&["200", "1000", "0", "1.5"], Kind::Number),
        _ => (&["0", "1", "1.5", "-2", "3", "0.1", "inf", "-inf", "3e3", "1e-7"], Kind::Number),
    };
    Word::new(one(rng, words), kind)
}

/// A moment that is long gone or far away.
pub(crate) fn unix_time(rng: &mut Rng, name: &str) -> Word {
    let words: &[&str] = if name.contains("milli") {
        &["4000000000000", "4000000000000", "1", "0", "-1"]
    } else {
        &["4000000000", "4000000000", "1", "0", "-1"]
    };
    Word::new(one(rng, words), Kind::Lifetime)
}

pub(crate) fn pattern(rng: &mut Rng) -> Word {
    Word::new(one(rng, &["*", "*", "a*", "[a-c]", "?1", "none", "m*"]), Kind::Text)
}

/// A string for an argument of this name, in a command of this group.
pub(crate) fn text(rng: &mut Rng, name: &str, group: &str) -> Word {
    let words: &[&str] = match (name, group) {
        ("min" | "max", "sorted-set") => &["-inf", "+inf", "(1", "1", "2", "-", "+", "[a", "(b", "[c"],
        ("start" | "stop", "sorted-set") => &["0", "-1", "1", "-inf", "+inf", "-", "+", "[a", "2"],
        ("start", "stream") => &["-", "0", "1-1", "(1-1", "2"],
        ("end", "stream") => &["+", "9", "2-1", "(2-1", "3-1"],
        ("id" | "last-id" | "lastid" | "max-deleted-id" | "threshold", _) => &IDS,
        ("group" | "groupname", _) => &["g", "g", "g", "nogroup"],
        ("consumer" | "consumername", _) => &["c1", "c1", "c2"],
        ("field", _) => &["f1", "f2", "f3", "none"],
        ("member" | "member1" | "member2", "geo") => &["Palermo", "Catania", "none"],
        ("member" | "element", _) => &["a", "b", "c", "m1", "1", "none"],
        ("value", "bitmap") => &["0", "1"],
        ("encoding", _) => &["u8", "i5", "u63", "i64", "u64"],
        ("offset", "bitmap") => &["0", "7", "#1", "100"],
        ("increment" | "value", "string") => &["1", "5", "-3", "1.5", "hello"],
        ("script", _) => &SCRIPTS,
        ("sha1", _) => {
            &["e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0000000000000000000000000000000000000000"]
        }
        ("function", _) => &["nsread", "nswrite", "nofunction"],
        ("library-name" | "library-name-pattern", _) => &["nslib", "nolib"],
        ("serialized-value", _) => &["$dump"],
        ("username", _) => &["default", "nobody"],
        ("command" | "command-name", _) => &["get", "SET", "nocommand", "config|get"],
        ("category" | "categoryname", _) => &["read", "string", "nocategory"],
        ("parameter", _) => &["maxmemory", "no-such-parameter"],
        ("channel" | "shardchannel", _) => &["ch1", "ch2", "{a}ch"],
        _ => return Word::new(TEXTS[rng.usize(..TEXTS.len())], Kind::Text),
    };
    Word::new(one(rng, words), Kind::Text)
}

/// Any word at all.
pub(crate) fn anything(rng: &mut Rng) -> Word {
    Word::new(TEXTS[rng.usize(..TEXTS.len())], Kind::Text)
}
