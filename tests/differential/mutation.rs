//! Makes a request wrong in one place: an argument too few or too many, of another type, or at the border of
//! its type.

use fastrand::Rng;

use crate::words::{Kind, Request, Word, anything};
use crate::world;

/// Where numbers end, and what is none. Nothing that a server would reserve much memory for.
const NUMBERS: [&[u8]; 19] = [
    b"0",
    b"-1",
    b"1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"1e308",
    b"-1e309",
    b"nan",
    b"inf",
    b"1.5",
    b"",
    b"abc",
    b" 1",
    b"01",
    b"+1",
    b"0x10",
    b"1\x00",
];

/// Neither a moment from now nor a long while from now.
const LIFETIMES: [&[u8]; 12] = [
    b"0",
    b"-1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"1e308",
    b"nan",
    b"9223372036854775",
    b"",
    b"abc",
    b"+100000",
    b"1.5",
];

const TIMEOUTS: [&[u8]; 7] = [b"-1", b"", b"abc", b"nan", b"9223372036854775808", b"-0.5", b"0.01x"];

/// Changes one thing about `request`, whose first `fixed` words name the command.
pub(crate) fn mutate(rng: &mut Rng, request: &mut Request, fixed: usize, tag: &str) {
    let arguments = request.len() - fixed;
    let at = fixed + rng.usize(..arguments.max(1));
    match rng.u8(..10) {
        0 if arguments > 0 => drop(request.remove(at)),
        1 => request.insert(at.min(request.len()), anything(rng)),
        2 if arguments > 0 => request.insert(at, request[at].clone()),
        3 => request.push(anything(rng)),
        4 => change_case(rng, request),
        5 => wrong_type(rng, request, tag),
        _ if arguments > 0 => request[at] = borderline(rng, &request[at]),
        _ => request.push(anything(rng)),
    }
}

/// Another word in the place of `word`.
fn borderline(rng: &mut Rng, word: &Word) -> Word {
    let words: &[&[u8]] = match word.kind {
        Kind::Number => &NUMBERS,
        Kind::Lifetime => &LIFETIMES,
        Kind::Timeout => &TIMEOUTS,
        Kind::Token | Kind::Key | Kind::Text => &[b"", b"\x00\xff\r\n", b"abc", b"0", b"-1", b"1.5", b"*"],
    };
    Word::new(words[rng.usize(..words.len())], word.kind)
}

/// Names and options are read without regard to case.
fn change_case(rng: &mut Rng, request: &mut Request) {
    for word in request.iter_mut().filter(|word| word.kind == Kind::Token) {
        for byte in &mut word.bytes {
            *byte = if rng.bool() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        }
    }
}

/// Some key of the world, whatever its type.
fn wrong_type(rng: &mut Rng, request: &mut Request, tag: &str) {
    let keys: Vec<usize> = (0..request.len()).filter(|at| request[*at].kind == Kind::Key).collect();
    if let Some(at) = rng.choice(keys) {
        let name = world::NAMES[rng.usize(..world::NAMES.len())];
        request[at] = Word::new(world::key(tag, name), Kind::Key);
    }
}
