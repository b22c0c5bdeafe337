//! The index of the command table: finds the row of a request by one hash of its name, and numbers the rows.

use super::{Class, CommandError, Join, Spec, table::FAMILIES};
use crate::protocol::resp::request::Request;

/// Room for some three times as many names as there are, so that few of them share a place.
const PLACES: usize = 1024;

/// Every row by the hash of its name. A row whose place is taken has the next free one.
static INDEX: [Option<&'static Spec>; PLACES] = index(&ROWS);

/// Every row of the table but subcommands, numbered from 1.
static ROWS: [Spec; ROW_COUNT] = rows(&SUBROWS);

/// The subcommands of all rows, numbered after those.
static SUBROWS: [Spec; SUBROW_COUNT] = subrows();

const ROW_COUNT: usize = counts().0;
const SUBROW_COUNT: usize = counts().1;

/// The bound of the numbers of rows: each is less.
pub const NUMBERS: usize = ROW_COUNT + SUBROW_COUNT + 1;

/// Finds the row of `request`, or the error that Redis answers to a request without one.
pub fn recognise(request: &Request<'_>) -> Result<&'static Spec, CommandError> {
    let command = find(request.arg(0)).ok_or(CommandError::Unknown)?;
    let spec = if command.subcommands.is_empty() || request.len() == 1 {
        command
    } else {
        subcommand(command, request.arg(1)).ok_or(CommandError::UnknownSubcommand)?
    };
    if spec.takes(request.len()) { Ok(spec) } else { Err(CommandError::Arity(spec.name)) }
}

/// Whether the only error of `request` is that its last key has no value, as in MSET with an odd number of
/// arguments.
pub fn is_unpaired(request: &Request<'_>) -> bool {
    find(request.arg(0)).is_some_and(|spec| !spec.takes(request.len()) && spec.fits(request.len()))
}

/// Iterates over the rows of the table; the row of a container holds its subcommands.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    ROWS.iter()
}

/// The name of the row that has this number.
pub fn named(number: usize) -> Option<&'static str> {
    numbered(number).map(|spec| spec.name)
}

/// The row of this number.
pub fn numbered(number: usize) -> Option<&'static Spec> {
    let row = number.checked_sub(1)?;
    ROWS.get(row).or_else(|| SUBROWS.get(row - ROW_COUNT))
}

/// How many commands there are whose replies L1 keeps.
pub const CACHED: u8 = {
    let (mut row, mut count) = (0, 0);
    while row < ROW_COUNT {
        count += (ROWS[row].cached > 0) as u8;
        row += 1;
    }
    count
};

/// The row whose replies L1 keeps under this number ([`Spec::cached`]).
pub fn cached(number: u8) -> Option<&'static Spec> {
    ROWS.iter().find(|spec| number > 0 && spec.cached == number)
}

/// The number under which L1 keeps replies of the command of this name; 0 when it keeps none.
pub fn cached_number_of(name: &str) -> u8 {
    find(name.as_bytes()).map_or(0, |spec| spec.cached)
}

/// The number of the row that has this name; 0 when there is none.
pub fn number_of(name: &str) -> usize {
    let row = match name.split_once('|') {
        None => find(name.as_bytes()),
        Some((command, sub)) => find(command.as_bytes()).and_then(|spec| subcommand(spec, sub.as_bytes())),
    };
    row.map_or(0, Spec::number)
}

fn find(name: &[u8]) -> Option<&'static Spec> {
    let mut place = place(name);
    while let Some(spec) = INDEX[place] {
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        place = (place + 1) % PLACES;
    }
    None
}

fn subcommand(command: &'static Spec, name: &[u8]) -> Option<&'static Spec> {
    let prefix = command.name.len() + 1;
    command.subcommands.iter().find(|spec| spec.name.as_bytes()[prefix..].eq_ignore_ascii_case(name))
}

/// Where a name is looked for first: its length and its first and last eight bytes, in lower case, mixed by
/// one multiplication. Two names that agree in all of that only share a place.
const fn place(name: &[u8]) -> usize {
    let (first, last) = ends(name);
    let lower = 0x2020_2020_2020_2020;
    let mixed = ((first | lower) ^ (last | lower).rotate_left(29) ^ ((name.len() as u64) << 59))
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - PLACES.ilog2())) as usize
}

/// The first and the last eight bytes; of fewer than eight, all of them and 0.
#[inline]
pub(super) const fn ends(name: &[u8]) -> (u64, u64) {
    match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (short(name), 0),
    }
}

/// Fewer than eight bytes as one number.
#[inline]
const fn short(name: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        return (u32::from_le_bytes(*first) as u64) << 32 | u32::from_le_bytes(*last) as u64;
    }
    match name {
        [first, .., last] => (*first as u64) << 16 | (name[name.len() / 2] as u64) << 8 | *last as u64,
        [only] => *only as u64,
        [] => 0,
    }
}

/// How many rows there are, and how many subcommands they have.
const fn counts() -> (usize, usize) {
    let (mut rows, mut subrows) = (0, 0);
    let mut family = 0;
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            subrows += FAMILIES[family][row].subcommands.len();
            row += 1;
        }
        rows += row;
        family += 1;
    }
    (rows, subrows)
}

/// The rows of all families, each with the part of `subrows` that is its own.
const fn rows(mut subrows: &'static [Spec]) -> [Spec; ROW_COUNT] {
    let mut rows = [FAMILIES[0][0]; ROW_COUNT];
    let (mut family, mut at) = (0, 0);
    let mut latest = 0;
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            let spec = FAMILIES[family][row];
            let (subcommands, rest) = subrows.split_at(spec.subcommands.len());
            subrows = rest;
            let is_cached = matches!(spec.class, Class::CacheableRead | Class::FanOut(Join::SumOfReads));
            if is_cached {
                latest += 1;
            }
            let cached = if is_cached { latest } else { 0 };
            rows[at] = Spec { number: at as u16 + 1, cached, subcommands, ..spec };
            at += 1;
            row += 1;
        }
        family += 1;
    }
    rows
}

/// The subcommands of all families, in the order of their rows.
const fn subrows() -> [Spec; SUBROW_COUNT] {
    let mut subrows = [FAMILIES[0][0]; SUBROW_COUNT];
    let (mut family, mut at) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            let subcommands = FAMILIES[family][row].subcommands;
            let mut sub = 0;
            while sub < subcommands.len() {
                subrows[at] = Spec { number: (ROW_COUNT + at) as u16 + 1, ..subcommands[sub] };
                at += 1;
                sub += 1;
            }
            row += 1;
        }
        family += 1;
    }
    subrows
}

const fn index(rows: &'static [Spec]) -> [Option<&'static Spec>; PLACES] {
    let mut index = [None; PLACES];
    let mut row = 0;
    while row < rows.len() {
        let mut place = place(rows[row].name.as_bytes());
        while index[place].is_some() {
            place = (place + 1) % PLACES;
        }
        index[place] = Some(&rows[row]);
        row += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::protocol::command::Class;
    use crate::protocol::resp::request::OwnedRequest;

    fn recognised(request: &str) -> Result<&'static str, CommandError> {
        let request = OwnedRequest::from_args(request.split(' '));
        recognise(&request.as_request()).map(|spec| spec.name)
    }

    #[test]
    fn every_row_is_found_by_its_name_and_by_no_other() {
        let mut names = HashSet::new();
        for spec in all() {
            assert!(names.insert(spec.name), "{} is there twice", spec.name);
            assert_eq!(spec.name, spec.name.to_lowercase());
            assert_eq!(find(spec.name.to_uppercase().as_bytes()).map(|found| found.name), Some(spec.name));
            for sub in spec.subcommands {
                assert!(names.insert(sub.name), "{} is there twice", sub.name);
                assert_eq!(sub.name.split_once('|').map(|(container, _)| container), Some(spec.name));
            }
        }
        for name in ["", "g", "gett", "ge\0", "\u{ff}\u{ff}\u{ff}", "GEORADIUSBYMEMBER_ROO", "config|get"] {
            assert!(find(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn few_names_share_a_place() {
        let first_try = all()
            .filter(|spec| INDEX[place(spec.name.as_bytes())].is_some_and(|found| found.name == spec.name));
        assert!(first_try.count() * 10 > all().count() * 8);
    }

    #[test]
    fn subcommands_have_rows_of_their_own() {
        assert_eq!(recognised("cOnFiG gEt maxmemory"), Ok("config|get"));
        assert_eq!(recognised("CONFIG GET"), Err(CommandError::Arity("config|get")));
        assert_eq!(recognised("CONFIG"), Err(CommandError::Arity("config")));
        assert_eq!(recognised("CONFIG nope"), Err(CommandError::UnknownSubcommand));
        assert_eq!(recognised("COMMAND"), Ok("command"));
        assert_eq!(recognised("NOPE x"), Err(CommandError::Unknown));
    }

    #[test]
    fn every_row_has_a_number_of_its_own() {
        let mut numbers = HashSet::new();
        for spec in all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)) {
            assert!(numbers.insert(spec.number()) && (1..NUMBERS).contains(&spec.number()), "{spec:?}");
            assert_eq!(named(spec.number()), Some(spec.name));
            assert_eq!(number_of(spec.name), spec.number());
        }
        assert_eq!(numbers.len(), NUMBERS - 1);
        assert!(named(0).is_none() && named(NUMBERS).is_none());
        assert_eq!(number_of("nope"), 0);
        let owned = OwnedRequest::from_args(["CONFIG", "GET", "a"]);
        assert_eq!(recognise(&owned.as_request()).unwrap().number(), number_of("config|get"));
    }

    #[test]
    fn arity_counts_the_name_and_pairs() {
        assert_eq!(recognised("GET a"), Ok("get"));
        assert_eq!(recognised("GET"), Err(CommandError::Arity("get")));
        assert_eq!(recognised("GET a b"), Err(CommandError::Arity("get")));
        assert_eq!(recognised("MSET a 1 b 2"), Ok("mset"));
        assert_eq!(recognised("MSET a 1 b"), Err(CommandError::Arity("mset")));
        for (request, unpaired) in
            [("MSET a 1 b", true), ("MSET a", false), ("MSET a 1", false), ("GET a b", false)]
        {
            let request = OwnedRequest::from_args(request.split(' '));
            assert_eq!(is_unpaired(&request.as_request()), unpaired, "{request:?}");
        }
    }

    #[test]
    fn a_stream_read_needs_a_session_only_when_it_may_wait() {
        let waits = OwnedRequest::from_args("XREAD BLOCK 0 STREAMS s $".split(' '));
        let spec = recognise(&waits.as_request()).unwrap();
        assert_eq!(
            spec.class_of(&waits.as_request()),
            Class::Session(crate::protocol::command::RequiredState::Blocking)
        );
        let reads = OwnedRequest::from_args("XREAD STREAMS block 0".split(' '));
        assert_eq!(spec.class_of(&reads.as_request()), Class::Forward);
    }
}
