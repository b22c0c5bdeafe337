//! Plain connections that keep and read values: a cache, counters, iteration and pipelines.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use redis::{Client, Commands, SetExpiry, SetOptions, pipe};

/// A cache over two connections: who reads after the write was answered sees it.
pub(super) fn values(client: &Client, prefix: &str) {
    let (mut redis, mut other) = (client.get_connection().unwrap(), client.get_connection().unwrap());
    let key = format!("{prefix}page");
    assert_eq!(redis.get::<_, Option<String>>(&key).unwrap(), None);
    for round in 0..50 {
        () = redis.set_ex(&key, round, 60).unwrap();
        for reader in [&mut other, &mut redis] {
            assert_eq!(reader.get::<_, u32>(&key).unwrap(), round);
        }
    }
    let left: i64 = other.ttl(&key).unwrap();
    assert!((58..=60).contains(&left), "{left}");

    let short = format!("{prefix}short");
    let briefly = SetOptions::default().with_expiration(SetExpiry::PX(1000));
    () = redis.set_options(&short, "soon gone", briefly).unwrap();
    assert_eq!(other.get::<_, String>(&short).unwrap(), "soon gone");
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(other.get::<_, Option<String>>(&short).unwrap(), None);

    let items: Vec<(String, Vec<u8>)> =
        (0..40_u8).map(|item| (format!("{prefix}item:{item}"), vec![item, 0, b'\r', b'\n', 255])).collect();
    let keys: Vec<&String> = items.iter().map(|(key, _)| key).collect();
    () = redis.mset(&items).unwrap();
    let many: Vec<Vec<u8>> = other.mget(&keys).unwrap();
    assert!(many.iter().eq(items.iter().map(|(_, value)| value)));
    assert_eq!(redis.del::<_, u32>(&keys).unwrap(), 40);
    assert_eq!(other.mget::<_, Vec<Option<Vec<u8>>>>(&keys).unwrap(), vec![None; 40]);

    () = redis.zadd_multiple(format!("{prefix}board"), &[(1.5, "one"), (f64::INFINITY, "last")]).unwrap();
    let board: Vec<(String, f64)> = other.zrange_withscores(format!("{prefix}board"), 0, -1).unwrap();
    assert_eq!(board, [("one".to_owned(), 1.5), ("last".to_owned(), f64::INFINITY)]);
}

/// Several connections count; no number is given twice.
pub(super) fn counter(client: &Client, prefix: &str) {
    let count = || -> Vec<u32> {
        let mut redis = client.get_connection().unwrap();
        (0..100).map(|_| redis.incr(format!("{prefix}counter"), 1).unwrap()).collect()
    };
    let given: BTreeSet<u32> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(given.into_iter().eq(1..=400));
}

/// Every key is found.
pub(super) fn scan(client: &Client, prefix: &str) {
    let mut redis = client.get_connection().unwrap();
    let wanted: BTreeSet<String> = (0..300).map(|number| format!("{prefix}scan:{number}")).collect();
    let mut sets = pipe();
    for key in &wanted {
        sets.set(key, "value").ignore();
    }
    () = sets.query(&mut redis).unwrap();
    let seen = redis.scan_match::<_, String>(format!("{prefix}scan:*")).unwrap();
    assert_eq!(seen.map(Result::unwrap).collect::<BTreeSet<_>>(), wanted);
    () = redis.sadd(format!("{prefix}set"), &wanted).unwrap();
    let members = redis.sscan::<_, String>(format!("{prefix}set")).unwrap();
    assert_eq!(members.map(Result::unwrap).collect::<BTreeSet<_>>(), wanted);
}

/// Replies come in order; an error is that of its command.
pub(super) fn pipeline(client: &Client, prefix: &str) {
    let mut redis = client.get_connection().unwrap();
    let mut pipeline = pipe();
    for number in 0..400 {
        let key = format!("{prefix}pipe:{}", number % 7);
        pipeline.set(&key, number).ignore().get(&key);
    }
    let read: Vec<u32> = pipeline.query(&mut redis).unwrap();
    assert!(read.into_iter().eq(0..400));
    let broken = pipe().get(format!("{prefix}pipe:0")).lpush(format!("{prefix}pipe:0"), 1).exec(&mut redis);
    assert!(broken.unwrap_err().to_string().contains("WRONGTYPE"));
    assert_eq!(redis.get::<_, u32>(format!("{prefix}pipe:0")).unwrap(), 399);
}
