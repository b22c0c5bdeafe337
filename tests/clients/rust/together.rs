//! What several plain connections do together: locks, queues, messages, transactions and scripts.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use redis::{Client, Commands, Connection, Direction, ExistenceCheck, Script, SetExpiry, SetOptions, cmd};

const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// Reads and writes under a lock lose nothing.
pub(super) fn lock(client: &Client, prefix: &str) {
    let (lock, guarded) = (format!("{prefix}lock"), format!("{prefix}guarded"));
    let release = Script::new(RELEASE);
    let work = |worker: u32| {
        let mut redis = client.get_connection().unwrap();
        for time in 0..10 {
            let token = format!("worker {worker}, time {time}");
            while !acquires(&mut redis, &lock, &token) {
                thread::sleep(Duration::from_millis(2));
            }
            let value: Option<u32> = redis.get(&guarded).unwrap();
            () = redis.set(&guarded, value.unwrap_or_default() + 1).unwrap();
            assert_eq!(release.key(&lock).arg("another").invoke::<u32>(&mut redis).unwrap(), 0);
            assert_eq!(release.key(&lock).arg(&token).invoke::<u32>(&mut redis).unwrap(), 1);
        }
    };
    thread::scope(|scope| {
        for worker in 0..3 {
            scope.spawn(move || work(worker));
        }
    });
    assert_eq!(client.get_connection().unwrap().get::<_, u32>(&guarded).unwrap(), 30);
}

fn acquires(redis: &mut Connection, lock: &str, token: &str) -> bool {
    let options =
        SetOptions::default().conditional_set(ExistenceCheck::NX).with_expiration(SetExpiry::PX(10_000));
    redis.set_options::<_, _, Option<String>>(lock, token, options).unwrap().is_some()
}

/// Workers that block do every job once; one that dies would leave its job in the second list.
pub(super) fn queue(client: &Client, prefix: &str) {
    let (todo, doing) = (format!("{prefix}{{jobs}}:todo"), format!("{prefix}{{jobs}}:doing"));
    let work = || {
        let mut redis = client.get_connection().unwrap();
        let mut done = Vec::new();
        loop {
            let job: Option<String> =
                redis.blmove(&todo, &doing, Direction::Right, Direction::Left, 5.0).unwrap();
            let job = job.unwrap();
            assert_eq!(redis.lrem::<_, _, u32>(&doing, 1, &job).unwrap(), 1);
            if job.starts_with("the end") {
                return done;
            }
            done.push(job);
        }
    };
    let wanted: BTreeSet<String> = (0..60).map(|job| format!("job {job}")).collect();
    let done: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        let mut redis = client.get_connection().unwrap();
        for job in &wanted {
            () = redis.lpush(&todo, job).unwrap();
        }
        () = redis.lpush(&todo, ["the end 1", "the end 2", "the end 3"].as_slice()).unwrap();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(done.len(), wanted.len());
    assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), wanted);
    let mut redis = client.get_connection().unwrap();
    assert_eq!(redis.llen::<_, u32>(&doing).unwrap(), 0);
    assert_eq!(redis.blpop::<_, Option<(String, String)>>(&todo, 0.1).unwrap(), None);
}

/// A channel and a pattern on one connection, each in order.
pub(super) fn publish_and_subscribe(client: &Client, prefix: &str) {
    let mut redis = client.get_connection().unwrap();
    let mut subscriber = client.get_connection().unwrap();
    subscriber.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut subscriber = subscriber.as_pubsub();
    let channel = format!("{prefix}news:local");
    subscriber.subscribe(&channel).unwrap();
    subscriber.psubscribe(format!("{prefix}news:*")).unwrap();
    for message in 0..40 {
        assert_eq!(redis.publish::<_, _, u32>(&channel, message).unwrap(), 2);
    }
    let (mut plain, mut matched) = (Vec::new(), Vec::new());
    for _ in 0..80 {
        let message = subscriber.get_message().unwrap();
        assert_eq!(message.get_channel_name(), channel);
        let heard = if message.from_pattern() { &mut matched } else { &mut plain };
        heard.push(message.get_payload::<u32>().unwrap());
    }
    assert!(plain.into_iter().eq(0..40));
    assert!(matched.into_iter().eq(0..40));
}

/// A conflict is seen, and the transaction tried again.
pub(super) fn transaction(client: &Client, prefix: &str) {
    let (mut redis, mut other) = (client.get_connection().unwrap(), client.get_connection().unwrap());
    let (account, history) = (format!("{prefix}{{account}}"), format!("{prefix}{{account}}:history"));
    () = redis.set(&account, 100).unwrap();
    let mut attempts = 0;
    let replies: (String, u32) = redis::transaction(&mut redis, &[&account], |redis, pipeline| {
        attempts += 1;
        let balance: i64 = redis.get(&account)?;
        if attempts == 1 {
            () = other.incr(&account, 50)?;
        }
        pipeline.set(&account, balance - 30).rpush(&history, "paid 30").query(redis)
    })
    .unwrap();
    assert_eq!((attempts, replies), (2, ("OK".to_owned(), 1)));
    assert_eq!(other.get::<_, i64>(&account).unwrap(), 120);
}

/// A script that no server has seen yet: NOSCRIPT, then the crate loads it.
pub(super) fn script(client: &Client, prefix: &str) {
    let mut redis = client.get_connection().unwrap();
    let script =
        Script::new(&format!("return {{KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}} -- {prefix}"));
    let sum = format!("{prefix}sum");
    let unknown = cmd("EVALSHA").arg(script.get_hash()).arg(1).arg(&sum).arg(5).exec(&mut redis);
    assert_eq!(unknown.unwrap_err().code(), Some("NOSCRIPT"));
    for time in 1..=3 {
        let reply: (String, u32) = script.key(&sum).arg(5).invoke(&mut redis).unwrap();
        assert_eq!(reply, (sum.clone(), 5 * time));
        assert_eq!(redis.get::<_, u32>(&sum).unwrap(), 5 * time);
    }
    let error = cmd("EVAL").arg("return redis.error_reply('MINE my own error')").arg(0).exec(&mut redis);
    assert_eq!(error.unwrap_err().code(), Some("MINE"));
}
