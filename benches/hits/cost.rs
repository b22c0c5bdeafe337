//! What an entry takes in memory, with all that keeping it takes, by who keeps it.

use crate::trace::Size;

/// redis-server 7 with its own jemalloc: the key's dictEntry (24) and sds, the value's robj (16) and sds, in
/// one allocation up to 44 bytes, and the key's place in the table.
pub(crate) fn redis(size: Size) -> u64 {
    let (key, value) = (u64::from(size.key), u64::from(size.value));
    let value = if value <= EMBEDDED_MAX { class(16 + 3 + value + 1) } else { class(16) + sds(value) };
    class(24) + PLACE + sds(key) + value
}

/// The same with a time to live, which is one more dictEntry and place in another table.
pub(crate) fn redis_with_ttl(size: Size) -> u64 {
    redis(size) + class(24) + PLACE
}

/// A compact entry: 16 bytes of its own, key and reply side by side, rounded to 8, with 1 % for what is not
/// yet full, and its place of 8 bytes in an index that is 78 % full. The policies that are simulated keep
/// such entries.
fn compact(size: Size) -> u64 {
    let (key, value) = (u64::from(size.key), u64::from(size.value));
    let reply = 1 + u64::from(value.max(1).ilog10()) + 1 + 2 + value + 2;
    let entry = (16 + key + reply).next_multiple_of(8);
    entry + entry / 100 + 10
}

/// With two links of 4 bytes for the order.
pub(crate) fn lru(size: Size) -> u64 {
    compact(size) + 8
}

/// With 4 bytes for one key that is remembered. The count of hits has room in the index, and there are no
/// links.
pub(crate) fn s3_fifo(size: Size) -> u64 {
    compact(size) + 4
}

/// With two links, and 8 bytes of the sketch.
pub(crate) fn tiny_lfu(size: Size) -> u64 {
    compact(size) + 8 + 8
}

/// With two links, and one key that is remembered: its tag and two links.
pub(crate) fn arc(size: Size) -> u64 {
    compact(size) + 8 + 12
}

/// With nothing: what could be had at best.
pub(crate) fn belady(size: Size) -> u64 {
    compact(size)
}

/// Longer values have an allocation of their own.
const EMBEDDED_MAX: u64 = 44;

/// A table has between one and two places of 8 bytes for a key.
const PLACE: u64 = 12;

/// A string: its head by its length, its bytes and a zero.
fn sds(bytes: u64) -> u64 {
    let head = match bytes {
        0..32 => 1,
        32..256 => 3,
        256..65_536 => 5,
        _ => 9,
    };
    class(head + bytes + 1)
}

/// What jemalloc gives for so many bytes: steps of 8 up to 64, then four between a power of two and the next.
fn class(bytes: u64) -> u64 {
    bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(8))
}
