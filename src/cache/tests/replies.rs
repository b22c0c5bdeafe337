//! What a commit compares and keeps, and the bytes that a hit appends.

use futures_util::FutureExt;

use super::*;

#[test]
fn i6_a_fill_that_ran_beside_a_write_never_outlives_it() {
    let shared = shared(CacheLimits { several_workers: false, ..LIMITS });
    let (writer, reader, key) = (worker(&shared), worker(&shared), get("key"));
    // A write drops its keys before it is sent and again before its reply leaves.
    let before = reader.ticket(&miss(&reader, &key), live());
    shared.invalidate_key(b"key", MissReason::Written);
    let beside = reader.ticket(&miss(&reader, &key), live());
    assert_eq!(commit(&reader, &key, &before, "old"), Commit::Killed);
    assert_eq!(commit(&reader, &key, &beside, "old"), Commit::Kept, "the write has no reply yet");
    warm(&reader, &key, "old");
    assert!(shared.invalidate_key(b"key", MissReason::Written));
    assert_eq!(served(&writer, &key), None);
    assert_eq!(served(&reader, &key), None);
}

#[test]
fn what_is_heard_of_over_another_connection_is_compared_before_a_reply_leaves() {
    for (elsewhere, served_then) in [(true, None), (false, Some("old"))] {
        let shared = shared(CacheLimits { several_workers: false, ..LIMITS });
        let (cache, key) = (worker(&shared), get("key"));
        shared.set_separate_invalidation_stream(elsewhere);
        let (first, second) = (miss(&cache, &key), miss(&cache, &key));
        assert_eq!(commit(&cache, &key, &cache.ticket(&first, live()), "old"), Commit::Kept);
        // The newer one is no reply to keep, and the change was not heard of yet.
        let now = clock::now();
        let over = cache.ticket(&second, live());
        let over = cache.commit(&over, &key.query(), &reply("new"), Lifetime::Bounded(Duration::ZERO), now);
        assert_ne!(over, Commit::Kept);
        assert_eq!(
            served(&cache, &key).as_deref(),
            served_then,
            "what was served is never followed by older"
        );
    }
}

#[test]
fn a_hit_at_once_is_the_hit_of_a_lookup_counted_and_sampled_alike() {
    let shared = shared(CacheLimits { sampled: Some(1.0), ..LIMITS });
    let (cache, key, longer) = (worker(&shared), get("key"), asked("hget", &["hash", "field"]));
    let other = Asked { command: longer.command, ..get("key") };
    fill(&cache, &longer, "of the field", &live());
    assert_eq!(served_at_once(&cache, &get("hash"), clock::now()), None, "other arguments");
    fill(&cache, &key, "value", &live());
    assert_eq!(served_at_once(&cache, &other, clock::now()), None, "another command");
    assert_eq!(cache.stats.l1_hits.get(), 0);
    assert_eq!(served_at_once(&cache, &key, clock::now()), None, "its epoch is new to this worker");
    assert_eq!(served(&cache, &key).as_deref(), Some("value"));
    assert_eq!(served_at_once(&cache, &key, clock::now()).as_deref(), Some("value"));
    assert_eq!(cache.stats.l1_hits.get(), 2);
    for _ in 0..2 {
        let sample = cache.next_sample().now_or_never().unwrap();
        assert_eq!((sample.command, &sample.tail[..]), (key.command, &key.tail[..]));
        assert!(sample.served == "value" && cache.is_still_served(&sample, clock::now()));
    }
}

#[test]
fn a_reply_is_kept_once_says_whether_it_differs_and_holds_no_read_buffer() {
    let (cache, key) = (one_worker(), asked("hgetall", &["key"]));
    let buffer = Bytes::from(vec![b'x'; 1 << 20]);
    let both = VersionedReply { resp3: buffer.slice(0..10), resp2: Some(buffer.slice(10..30)) };
    let ticket = cache.ticket(&miss(&cache, &key), live());
    cache.commit(&ticket, &key.query(), &both, Lifetime::Unbounded, clock::now());
    drop(both);
    assert!(buffer.is_unique(), "the entry has a copy of its own");
    let mut out = WriteQueue::default();
    let Lookup::Hit(kept) = cache.lookup(&key.query(), clock::now(), || key.slot(), &mut out) else {
        panic!("not kept");
    };
    assert_eq!((kept.resp3(), kept.resp2()), (&b"xxxxxxxxxx"[..], Resp2::Other));
    assert_eq!(fill(&cache, &get("other"), "value", &live()), Commit::Kept);
    let other = get("other");
    let Lookup::Hit(hit) = cache.lookup(&other.query(), clock::now(), || other.slot(), &mut out) else {
        panic!("not kept");
    };
    assert_eq!((hit.resp3(), hit.resp2()), (&b"value"[..], Resp2::Same));
}

#[test]
fn what_was_looked_up_is_on_its_way_only_when_it_is_appended() {
    let (cache, mut out) = (one_worker(), WriteQueue::default());
    for (key, bytes) in [("small", 100), ("larger", 5_000), ("large", 20_000)] {
        fill(&cache, &get(key), &"v".repeat(bytes), &live());
        let (key, before) = (get(key), out.len());
        for appended in [false, true] {
            let Lookup::Hit(hit) = cache.lookup(&key.query(), clock::now(), || key.slot(), &mut out) else {
                panic!("not kept");
            };
            assert_eq!(hit.resp3().len(), bytes);
            if appended {
                hit.append();
            }
            assert_eq!(out.len() - before, if appended { bytes } else { 0 });
        }
        assert!(out.take_back(before).iter().all(|byte| *byte == b'v'));
        out.push_copy(b"x");
    }
    assert_eq!(out.take_back(0), "xxx");
}

#[test]
fn a_map_or_a_set_is_an_array_by_its_head_wherever_it_lies() {
    let (cache, mut out) = (one_worker(), WriteQueue::default());
    let heads =
        [("%2", "*4"), ("%5", "*10"), ("%50", "*100"), ("%9999", "*19998"), ("~7", "*7"), ("%0", "*0")];
    // In the log, and in memory of its own.
    for (number, elements) in [10, 900].into_iter().enumerate() {
        let behind = format!("\r\n{}", "$1\r\na\r\n".repeat(elements));
        for (head, wanted) in heads {
            let (key, kept) = (asked("hgetall", &[&format!("{head}{number}")]), format!("{head}{behind}"));
            let both = VersionedReply { resp3: kept.into(), resp2: Some(format!("{wanted}{behind}").into()) };
            let ticket = cache.ticket(&miss(&cache, &key), live());
            cache.commit(&ticket, &key.query(), &both, Lifetime::Unbounded, clock::now());
            out.push_copy(b"before");
            let Lookup::Hit(hit) = cache.lookup(&key.query(), clock::now(), || key.slot(), &mut out) else {
                panic!("not kept");
            };
            assert_eq!(hit.resp2(), Resp2::Head);
            hit.append_as_array().unwrap();
            out.push_copy(b"behind");
            assert_eq!(out.take_back(0), format!("before{wanted}{behind}behind"));
        }
    }
}

#[test]
fn what_is_no_map_and_no_set_is_not_touched() {
    let (cache, mut out) = (one_worker(), WriteQueue::default());
    for reply in ["_\r\n", "$1\r\na\r\n", "*1\r\n$1\r\na\r\n", ""] {
        let key = get(&format!("key:{}", reply.len()));
        fill(&cache, &key, reply, &live());
        let Lookup::Hit(hit) = cache.lookup(&key.query(), clock::now(), || key.slot(), &mut out) else {
            panic!("not kept");
        };
        let hit = hit.append_as_array().unwrap_err();
        hit.append();
        assert_eq!(out.take_back(0), reply);
    }
}
