//! Whether two replies differ only in what a row of the differences allows.

use nearside::sandbox::Reply;

use crate::differences::How;

/// From here on an integer is a moment: some second of the year 2001.
const FIRST_MOMENT: i64 = 1_000_000_000;

/// Whether `how` excuses that a plain server said `plain` and nearside said `nearside`.
pub(crate) fn allows(how: &How, plain: &[u8], nearside: &[u8]) -> bool {
    if let How::Instead(redis, ours) = how {
        return plain.starts_with(redis.as_bytes()) && nearside.starts_with(ours.as_bytes());
    }
    let (Ok(plain), Ok(nearside)) = (Reply::read(&mut &*plain), Reply::read(&mut &*nearside)) else {
        return false;
    };
    match how {
        How::Order => same_elements(&plain, &nearside),
        How::Near(most) => alike(&plain, &nearside, &|one, other| are_near(one, other, *most)),
        How::Moment(most) => alike(&plain, &nearside, &|one, other| {
            one.integer().is_some_and(|moment| moment > FIRST_MOMENT) && are_near(one, other, *most)
        }),
        How::Choice => alike(&plain, &nearside, &|_, _| true),
        How::Fields(names) => same_but(names, &plain, &nearside),
        How::Answer => !plain.is_error() && !nearside.is_error(),
        How::Instead(..) => false,
    }
}

fn are_near(one: &Reply, other: &Reply, most: i64) -> bool {
    match (one.integer(), other.integer()) {
        (Some(one), Some(other)) => one.abs_diff(other) <= most.unsigned_abs(),
        _ => false,
    }
}

/// Whether the two have the same shape, and every two leaves are the same or `fit`.
fn alike(plain: &Reply, nearside: &Reply, fit: &dyn Fn(&Reply, &Reply) -> bool) -> bool {
    let all = |one: &[Reply], other: &[Reply]| {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other, fit))
    };
    match (plain, nearside) {
        (Reply::Array(one), Reply::Array(other)) | (Reply::Set(one), Reply::Set(other)) => all(one, other),
        (Reply::Map(one), Reply::Map(other)) => all(&flat(one), &flat(other)),
        _ => plain == nearside || (same_kind(plain, nearside) && !plain.is_error() && fit(plain, nearside)),
    }
}

fn same_kind(one: &Reply, other: &Reply) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn flat(pairs: &[(Reply, Reply)]) -> Vec<Reply> {
    pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect()
}

/// The same elements in another order, in nested replies as well. Pairs stay pairs in a map; in an array they
/// are counted as elements.
fn same_elements(plain: &Reply, nearside: &Reply) -> bool {
    ordered(plain) == ordered(nearside)
}

/// The bytes of a reply whose elements were put in order.
fn ordered(reply: &Reply) -> String {
    let sorted = |mut parts: Vec<String>| {
        parts.sort();
        parts.join(" ")
    };
    match reply {
        Reply::Array(items) => format!("[{}]", sorted(items.iter().map(ordered).collect())),
        Reply::Set(items) => format!("~[{}]", sorted(items.iter().map(ordered).collect())),
        Reply::Map(pairs) => {
            let pair = |(key, value): &(Reply, Reply)| format!("{}={}", ordered(key), ordered(value));
            format!("%[{}]", sorted(pairs.iter().map(pair).collect()))
        }
        leaf => format!("{leaf:?}"),
    }
}

/// The same but for the values of fields with these names: in a map, or behind each other in an array.
fn same_but(names: &[&str], plain: &Reply, nearside: &Reply) -> bool {
    let is_named = |reply: &Reply| names.iter().any(|name| reply.bytes() == Some(name.as_bytes()));
    let all = |one: &[Reply], other: &[Reply]| {
        one.len() == other.len()
            && (0..one.len()).all(|at| {
                let is_value = at > 0 && is_named(&one[at - 1]) && is_named(&other[at - 1]);
                (is_value && same_kind(&one[at], &other[at])) || same_but(names, &one[at], &other[at])
            })
    };
    match (plain, nearside) {
        (Reply::Array(one), Reply::Array(other)) | (Reply::Set(one), Reply::Set(other)) => all(one, other),
        (Reply::Map(one), Reply::Map(other)) => all(&flat(one), &flat(other)),
        _ => plain == nearside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_excuses_what_it_names_and_nothing_else() {
        let list = |items: &str| format!("*3\r\n{items}").into_bytes();
        let (abc, cab, abd) =
            (list("+a\r\n+b\r\n+c\r\n"), list("+c\r\n+a\r\n+b\r\n"), list("+a\r\n+b\r\n+d\r\n"));
        let cases: [(How, &[u8], &[u8], bool); 20] = [
            (How::Order, &abc, &cab, true),
            (How::Order, &abc, &abd, false),
            (How::Order, &abc, b"*2\r\n+a\r\n+b\r\n", false),
            (How::Choice, &abc, &abd, true),
            (How::Choice, &abc, b"*2\r\n+a\r\n+b\r\n", false),
            (How::Choice, b"$1\r\na\r\n", b"-ERR no\r\n", false),
            (How::Choice, b"-ERR yes\r\n", b"-ERR no\r\n", false),
            (How::Near(5), b":100\r\n", b":105\r\n", true),
            (How::Near(5), b":100\r\n", b":106\r\n", false),
            (How::Near(5), b":-2\r\n", b"$-1\r\n", false),
            (How::Moment(5), b":4000000000\r\n", b":4000000001\r\n", true),
            (How::Moment(5), b":3\r\n", b":4\r\n", false),
            (How::Fields(&["id"]), b"*2\r\n+id\r\n:1\r\n", b"*2\r\n+id\r\n:2\r\n", true),
            (How::Fields(&["id"]), b"%1\r\n+id\r\n:1\r\n", b"%1\r\n+id\r\n:2\r\n", true),
            (How::Fields(&["id"]), b"*2\r\n+no\r\n:1\r\n", b"*2\r\n+no\r\n:2\r\n", false),
            (How::Answer, b"+a\r\n", b":2\r\n", true),
            (How::Answer, b"+a\r\n", b"-ERR no\r\n", false),
            (How::Instead("-ERR one", "-ERR other"), b"-ERR one\r\n", b"-ERR other\r\n", true),
            (How::Instead("-ERR one", "-ERR other"), b"-ERR one\r\n", b"+OK\r\n", false),
            (How::Order, b"", b"+OK\r\n", false),
        ];
        for (how, plain, nearside, wanted) in cases {
            assert_eq!(
                allows(&how, plain, nearside),
                wanted,
                "{how:?}: {} and {}",
                plain.escape_ascii(),
                nearside.escape_ascii()
            );
        }
    }
}
