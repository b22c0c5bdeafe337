//! I5: how long a reply is served.

use super::*;

#[test]
fn i5_a_reply_is_served_until_its_deadline_and_not_at_it() {
    let seconds = Duration::from_secs;
    let cases = [
        ("nothing but our own limit", Lifetime::Unbounded, LIMITS.ttl),
        ("the server shortens it", Lifetime::Bounded(seconds(7)), seconds(7)),
        ("the server never extends it", Lifetime::Bounded(seconds(700)), LIMITS.ttl),
        ("absence is remembered for less", Lifetime::Absent, LIMITS.negative_ttl),
    ];
    for (why, lifetime, keep) in cases {
        let (cache, key) = (one_worker(), get("key"));
        let ticket = cache.ticket(&miss(&cache, &key), live());
        // The command was sent a while ago: the time counts from then, and not from the reply.
        let sent_at = clock::now() - SECOND / 2;
        let deadline = sent_at + clock::nanos(keep);
        let commit = cache.commit(&ticket, &key.query(), &reply("value"), lifetime, sent_at);
        assert_eq!(commit, Commit::Kept, "{why}");
        // Deadlines are known to the tick.
        for _ in 0..2 {
            assert_eq!(served_at(&cache, &key, deadline - TICK).as_deref(), Some("value"), "{why}");
        }
        assert_eq!(served_at(&cache, &key, deadline), None, "{why}");
        assert_eq!(served_at(&cache, &key, deadline - TICK), None, "{why}: what expired is gone");
    }
}

#[test]
fn i5_absence_is_never_remembered_longer_than_anything_else() {
    let limits = CacheLimits { ttl: Duration::from_secs(2), ..LIMITS };
    let (cache, key) = (worker(&shared(limits)), get("key"));
    let (ticket, sent_at) = (cache.ticket(&miss(&cache, &key), live()), clock::now());
    cache.commit(&ticket, &key.query(), &reply("_\r\n"), Lifetime::Absent, sent_at);
    assert!(served_at(&cache, &key, sent_at + 2 * SECOND - TICK).is_some());
    assert!(served_at(&cache, &key, sent_at + 2 * SECOND).is_none());
}

#[test]
fn i5_a_reply_that_took_longer_than_its_key_lives_is_not_kept() {
    let (cache, key) = (one_worker(), get("key"));
    let ticket = cache.ticket(&miss(&cache, &key), live());
    let lifetime = Lifetime::Bounded(Duration::from_millis(100));
    let sent_at = clock::now() - SECOND / 2;
    let commit = cache.commit(&ticket, &key.query(), &reply("value"), lifetime, sent_at);
    assert_eq!(commit, Commit::NotKept);
    assert_eq!(served(&cache, &key), None);
}

#[test]
fn i5_a_newer_reply_does_not_lengthen_the_life_of_another() {
    let (cache, epoch) = (one_worker(), live());
    let (short, long) = (get("key"), asked("strlen", &["key"]));
    let ticket = cache.ticket(&miss(&cache, &short), epoch.clone());
    let sent_at = clock::now();
    let lifetime = Lifetime::Bounded(Duration::from_secs(3));
    cache.commit(&ticket, &short.query(), &reply("abc"), lifetime, sent_at);
    fill_hot(&cache, &long, "3", &epoch);
    assert_eq!(served_at(&cache, &short, sent_at + 3 * SECOND), None);
}

#[test]
fn a_policy_has_its_own_limits_and_the_server_still_shortens_them() {
    let seconds = Duration::from_secs;
    let terms =
        CacheTerms { ttl: Some(seconds(100)), negative_ttl: Some(seconds(200)), ..CacheTerms::default() };
    let brief = CacheTerms { ttl: Some(seconds(1)), ..CacheTerms::default() };
    let shaken = CacheTerms { ttl_jitter: 500, ..terms };
    let shared = shared(LIMITS);
    let cases = [
        (terms, Lifetime::Unbounded, 100..=100),
        (terms, Lifetime::Bounded(seconds(7)), 7..=7),
        (terms, Lifetime::Absent, 100..=100),
        (brief, Lifetime::Unbounded, 1..=1),
        (brief, Lifetime::Absent, 1..=1),
        (shaken, Lifetime::Unbounded, 50..=100),
        (shaken, Lifetime::Bounded(seconds(7)), 7..=7),
        (CacheTerms::default(), Lifetime::Unbounded, 60..=60),
        (CacheTerms::default(), Lifetime::Absent, 5..=5),
    ];
    for (terms, lifetime, wanted) in cases {
        let times: Vec<Duration> = (0..200).map(|_| shared.time_to_keep(&terms, lifetime)).collect();
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        let bounds = seconds(*wanted.start())..=seconds(*wanted.end());
        assert!(
            bounds.contains(least) && bounds.contains(most),
            "{terms:?}, {lifetime:?}: {least:?}, {most:?}"
        );
        assert_eq!(least < most, wanted.start() < wanted.end(), "{terms:?}, {lifetime:?}");
    }
}
