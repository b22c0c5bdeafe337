//! The bytes of entries.

use crate::cost;
use crate::trace::Size;

#[test]
fn an_entry_of_redis_takes_its_allocations_and_its_place() {
    // dictEntry and place, key, robj, string.
    assert_eq!(cost::redis(Size { key: 29, value: 100 }), 24 + 12 + 32 + 16 + 112);
    // One allocation for the robj and a short string; a key with a longer head.
    assert_eq!(cost::redis(Size { key: 35, value: 20 }), 24 + 12 + 40 + 40);
    // Four sizes between a power of two and the next.
    assert_eq!(cost::redis(Size { key: 29, value: 1_000 }), 24 + 12 + 32 + 16 + 1_024);
    assert_eq!(cost::redis(Size { key: 29, value: 1_020 }), 24 + 12 + 32 + 16 + 1_280);
    let with_ttl = cost::redis_with_ttl(Size { key: 29, value: 100 });
    assert_eq!(with_ttl, cost::redis(Size { key: 29, value: 100 }) + 24 + 12);
}

#[test]
fn nobody_keeps_an_entry_in_less_than_its_bytes() {
    let costs = [cost::belady, cost::s3_fifo, cost::lru, cost::tiny_lfu, cost::arc];
    for size in [Size { key: 20, value: 8 }, Size { key: 29, value: 100 }, Size { key: 45, value: 1 << 20 }] {
        let bytes = u64::from(size.key) + u64::from(size.value);
        let taken = costs.map(|cost| cost(size));
        assert!(taken.is_sorted() && taken[0] > bytes, "{size:?}: {taken:?}");
        assert!(taken[4] < bytes + bytes / 50 + 96, "{size:?}: {taken:?}");
    }
}
