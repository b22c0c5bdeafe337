//! The coherence promise, number by number, and the races that it excludes. Each test is named after its
//! number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::entry::Resp2;
use super::policy::{AdmissionRule, CacheTerms};
use super::store::{NewEntry, REPLIES_MAX, Refused, tick};
use super::*;
use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::net::write_queue::WriteQueue;
use crate::node::Epoch;
use crate::protocol::key::Slot;
use crate::stats::WorkerStats;

/// The near cache of one worker; a fill ends with its reply.
pub(super) type Cache = NearCache<VersionedReply>;

/// A question that owns its parts.
pub(super) struct Asked {
    command: CommandId,
    key: String,
    tail: Vec<u8>,
}

const SECOND: Nanos = 1_000_000_000;
/// An entry may end so much before its time.
const TICK: Nanos = 1 << 20;

pub(super) const LIMITS: CacheLimits = CacheLimits {
    bytes_max: 1 << 20,
    entry_bytes_max: 1 << 17,
    ttl: Duration::from_secs(60),
    negative_ttl: Duration::from_secs(5),
    admission: AdmissionRule::Always,
    sampled: None,
    several_workers: true,
};

// === impl Asked ===

impl Asked {
    pub(super) fn question(&self) -> CacheQuery<'_> {
        CacheQuery { command: self.command, key: self.key.as_bytes(), args: &self.tail }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    pub(super) fn slot(&self) -> Slot {
        Slot::of(self.key.as_bytes())
    }
}

fn asked(command: &'static str, args: &[&str]) -> Asked {
    let tail = args.iter().map(|arg| format!("${}\r\n{arg}\r\n", arg.len())).collect::<String>();
    // Any number that tells one from another.
    let number =
        command.bytes().fold(1_u16, |number, byte| number.wrapping_mul(31).wrapping_add(u16::from(byte)));
    let command = CommandId { name: command, number: number & 1_023 };
    Asked { command, key: args[0].to_owned(), tail: tail.into_bytes() }
}

pub(super) fn get(key: &str) -> Asked {
    asked("get", &[key])
}

/// HGET whose arguments stand in the request as in `tail`.
pub(super) fn odd_hget(key: &str, tail: &str) -> Asked {
    Asked { key: key.to_owned(), tail: tail.into(), ..asked("hget", &[key]) }
}

pub(super) fn shared(limits: CacheLimits) -> Arc<SharedCache> {
    Arc::new(SharedCache::new(limits, Arc::default()))
}

pub(super) fn worker(shared: &Arc<SharedCache>) -> Cache {
    NearCache::new(shared.clone(), Arc::default())
}

pub(super) fn one_worker() -> Cache {
    worker(&shared(LIMITS))
}

/// An epoch that lasts longer than any test.
pub(super) fn live() -> Epoch {
    Epoch::begin(clock::now() + 3_600 * SECOND)
}

pub(super) fn reply(text: &str) -> VersionedReply {
    VersionedReply { resp3: Bytes::copy_from_slice(text.as_bytes()), resp2: None }
}

/// What is served at `now`.
fn served_at(cache: &Cache, asked: &Asked, now: Nanos) -> Option<String> {
    match cache.lookup(&asked.question(), now, || asked.slot(), &mut WriteQueue::default()) {
        Lookup::Hit(hit) => Some(String::from_utf8(hit.resp3().to_vec()).unwrap()),
        Lookup::Miss(_) => None,
    }
}

pub(super) fn served(cache: &Cache, asked: &Asked) -> Option<String> {
    served_at(cache, asked, clock::now())
}

pub(super) fn miss(cache: &Cache, asked: &Asked) -> MissToken {
    match cache.lookup(&asked.question(), clock::now(), || asked.slot(), &mut WriteQueue::default()) {
        Lookup::Miss(missed) => missed,
        hit => panic!("not a miss: {hit:?}"),
    }
}

pub(super) fn commit(cache: &Cache, asked: &Asked, ticket: &Ticket, value: &str) -> Commit {
    cache.commit(ticket, &asked.question(), &reply(value), Lifetime::Unbounded, clock::now())
}

/// A whole fill, undisturbed.
pub(super) fn fill(cache: &Cache, asked: &Asked, value: &str, epoch: &Epoch) -> Commit {
    let ticket = cache.ticket(&miss(cache, asked), epoch.clone());
    commit(cache, asked, &ticket, value)
}

/// Fills, and looks up.
fn fill_hot(cache: &Cache, asked: &Asked, value: &str, epoch: &Epoch) {
    assert_eq!(fill(cache, asked, value, epoch), Commit::Kept);
    warm(cache, asked, value);
}

fn warm(cache: &Cache, asked: &Asked, value: &str) {
    assert_eq!(served(cache, asked).as_deref(), Some(value));
    assert_eq!(served(cache, asked).as_deref(), Some(value));
}

pub(super) fn change(cache: &Cache, keys: &[&str]) {
    let keys = keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
    cache.shared().invalidate(&Invalidation::Keys(keys), &cache.stats);
}

#[test]
fn i1_what_happens_between_the_lookup_and_the_ticket_kills_the_fill() {
    let (cache, key) = (one_worker(), get("key"));
    let missed = miss(&cache, &key);
    change(&cache, &["key"]);
    let ticket = cache.ticket(&missed, live());
    assert_eq!(commit(&cache, &key, &ticket, "old"), Commit::Killed);
    assert_eq!(served(&cache, &key), None);
}

#[test]
fn i2_an_invalidation_kills_the_running_fill_of_its_key() {
    let (cache, key) = (one_worker(), get("key"));
    for invalidation in [
        Invalidation::Keys(vec![Bytes::from_static(b"other"), Bytes::from_static(b"key")]),
        Invalidation::Slots(vec![key.slot()]),
        Invalidation::All,
    ] {
        let ticket = cache.ticket(&miss(&cache, &key), live());
        cache.shared().invalidate(&invalidation, &cache.stats);
        assert_eq!(commit(&cache, &key, &ticket, "old"), Commit::Killed, "{invalidation:?}");
        assert_eq!(served(&cache, &key), None, "{invalidation:?}");
    }
    assert_eq!(cache.stats.l1_fills_killed.get(), 3);
    assert_eq!(fill(&cache, &key, "new", &live()), Commit::Kept);
    assert_eq!(served(&cache, &key).as_deref(), Some("new"));
}

#[test]
fn i2_an_invalidation_in_the_hot_set_of_another_worker_is_a_miss() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    for invalidation in [
        Invalidation::Keys(vec![Bytes::from_static(b"key")]),
        Invalidation::Slots(vec![key.slot()]),
        Invalidation::All,
    ] {
        fill_hot(&one, &key, "old", &live());
        warm(&other, &key, "old");
        shared.invalidate(&invalidation, &one.stats);
        assert_eq!(served(&other, &key), None, "{invalidation:?}");
        assert_eq!(served(&one, &key), None, "{invalidation:?}");
    }
}

/// The interleaving that no call can make from outside: a commit has checked its ticket, an invalidation
/// comes, and only then the commit puts its entry into the store.
#[test]
fn i2_an_entry_that_comes_right_after_an_invalidation_is_not_put_into_the_store() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let ticket = one.ticket(&miss(&one, &key), live());
    assert!(shared.is_current(ticket.hash, &ticket.generation), "the commit's check");
    change(&other, &["key"]);
    let fill_of = |ticket: &Ticket| {
        shared.store.insert(&NewEntry {
            hash: ticket.hash,
            generation: ticket.generation.key,
            slot_generation: ticket.generation.moves,
            slot: key.slot(),
            epoch: &ticket.epoch,
            deadline: tick(clock::now() + SECOND),
            question: &key.question(),
            reply: &Bytes::from_static(b"old"),
            resp2: Resp2::Same,
        })
    };
    assert_eq!(fill_of(&ticket), Err(Refused::Changed));
    for cache in [&one, &other] {
        assert_eq!(served(cache, &key), None);
    }
    let ticket = one.ticket(&miss(&one, &key), live());
    assert_eq!(fill_of(&ticket), Ok(()));
    assert_eq!(served(&other, &key).as_deref(), Some("old"));
}

#[test]
fn i2_one_invalidation_drops_every_reply_about_its_key_and_none_comes_back() {
    let (cache, epoch) = (one_worker(), live());
    let questions = [asked("hget", &["h", "a"]), asked("hget", &["h", "b"]), asked("hlen", &["h"])];
    for question in &questions {
        fill_hot(&cache, question, "old", &epoch);
    }
    assert!(questions.iter().all(|question| served(&cache, question).as_deref() == Some("old")));
    change(&cache, &["h"]);
    assert!(questions.iter().all(|question| served(&cache, question).is_none()));
    // The entry that the next fill makes has nothing of the one before.
    fill_hot(&cache, &questions[0], "new", &epoch);
    assert_eq!(served(&cache, &questions[1]), None);
    assert_eq!(served(&cache, &questions[2]), None);
}

#[test]
fn i2_an_invalidation_of_one_key_leaves_the_others() {
    let (cache, epoch) = (one_worker(), live());
    let keys: Vec<Asked> = (0..100).map(|number| get(&format!("key:{number}"))).collect();
    for key in &keys {
        fill(&cache, key, &key.key, &epoch);
    }
    change(&cache, &["key:7"]);
    let gone = keys.iter().filter(|key| served(&cache, key).is_none()).count();
    assert_eq!(gone, 1);
    assert_eq!(served(&cache, &keys[7]), None);
}

#[test]
fn i3_who_asks_after_an_invalidation_does_not_join_an_older_fill() {
    let (cache, key) = (one_worker(), get("key"));
    let before = miss(&cache, &key);
    let ticket = cache.ticket(&before, live());
    let lead = cache.begin_fill(&key.question(), Bytes::copy_from_slice(key.question().args), ticket.clone());
    let (mut joined, _) = cache.join(&before, &key.question(), clock::now()).expect("nothing happened yet");
    change(&cache, &["key"]);

    let after = miss(&cache, &key);
    assert!(cache.join(&after, &key.question(), clock::now()).is_none());
    let newer = cache.begin_fill(
        &key.question(),
        Bytes::copy_from_slice(key.question().args),
        cache.ticket(&after, live()),
    );
    let (mut joined_newer, _) =
        cache.join(&after, &key.question(), clock::now()).expect("this fill is as new");

    assert_eq!(commit(&cache, &key, &ticket, "old"), Commit::Killed);
    cache.finish_fill(lead, &reply("old"));
    assert_eq!(joined.try_recv().unwrap().resp3, "old", "who asked before may have the older value");
    assert!(joined_newer.try_recv().is_err(), "the older fill's end is not the newer one's");
    // The older fill's end does not hide the newer one.
    assert!(cache.join(&after, &key.question(), clock::now()).is_some());
    cache.finish_fill(newer, &reply("new"));
    assert_eq!(joined_newer.try_recv().unwrap().resp3, "new");
    assert!(cache.join(&after, &key.question(), clock::now()).is_none(), "it has ended");
}

#[test]
fn i3_a_fill_of_a_lost_connection_is_not_joined() {
    let (cache, key, epoch) = (one_worker(), get("key"), live());
    let missed = miss(&cache, &key);
    let lead = cache.begin_fill(
        &key.question(),
        Bytes::copy_from_slice(key.question().args),
        cache.ticket(&missed, epoch.clone()),
    );
    epoch.end();
    assert!(cache.join(&missed, &key.question(), clock::now()).is_none());
    drop(lead);
}

#[test]
fn i6_a_read_behind_another_one_joins_no_fill_that_was_sent_before_that() {
    let (cache, key) = (one_worker(), get("key"));
    let missed = miss(&cache, &key);
    let sent = cache.next_number();
    let lead = cache.begin_fill(
        &key.question(),
        Bytes::copy_from_slice(key.question().args),
        cache.ticket(&missed, live()),
    );
    let (name, now) = (key.key.as_bytes(), clock::now());
    let behind = |number| cache.miss_without_lookup(name, now, Slot::of(name), number);
    let joined = cache.join(&behind(sent), &key.question(), clock::now());
    assert_eq!(joined.map(|(_, number)| number), Some(sent));
    let later = cache.next_number();
    assert!(cache.join(&behind(later), &key.question(), clock::now()).is_none());
    drop(lead);
}

#[test]
fn i5_a_fill_that_runs_for_long_is_not_joined_any_more() {
    let (cache, key) = (one_worker(), get("key"));
    let missed = miss(&cache, &key);
    let lead = cache.begin_fill(
        &key.question(),
        Bytes::copy_from_slice(key.question().args),
        cache.ticket(&missed, live()),
    );
    let (soon, late) =
        (missed.at + clock::nanos(COALESCE_WINDOW) - 1, missed.at + clock::nanos(COALESCE_WINDOW));
    assert!(cache.join(&missed, &key.question(), soon).is_some());
    assert!(cache.join(&missed, &key.question(), late).is_none());
    drop(lead);
}

#[test]
fn i3_a_fill_that_began_before_another_worker_brought_something_in_is_not_joined() {
    let (shared, asked, epoch) = (shared(LIMITS), get("key"), live());
    let (one, other) = (worker(&shared), worker(&shared));
    let missed = miss(&one, &asked);
    let _lead = one.begin_fill(
        &asked.question(),
        Bytes::copy_from_slice(asked.question().args),
        one.ticket(&missed, epoch.clone()),
    );
    assert!(one.join(&missed, &asked.question(), clock::now()).is_some());
    assert_eq!(fill(&other, &asked, "newer", &epoch), Commit::Kept);
    // What its session asked for before keeps it from being answered from L1.
    let behind = one.miss_without_lookup(b"key", clock::now(), asked.slot(), 0);
    assert!(one.join(&behind, &asked.question(), clock::now()).is_none());
}

#[test]
fn i3_only_the_same_question_is_joined() {
    let (cache, key) = (one_worker(), asked("getrange", &["key", "0", "1"]));
    let missed = miss(&cache, &key);
    let lead = cache.begin_fill(
        &key.question(),
        Bytes::copy_from_slice(key.question().args),
        cache.ticket(&missed, live()),
    );
    for other in [asked("getrange", &["key", "0", "2"]), asked("substr", &["key", "0", "1"]), get("key")] {
        assert!(cache.join(&missed, &other.question(), clock::now()).is_none());
    }
    let (mut joined, _) = cache.join(&missed, &key.question(), clock::now()).unwrap();
    drop(lead);
    assert!(joined.try_recv().is_err(), "a lead that is gone leaves nobody waiting");
    assert!(cache.join(&missed, &key.question(), clock::now()).is_none());
}

#[test]
fn i4_an_ended_epoch_is_a_miss_everywhere_and_kills_its_fills() {
    let shared = shared(LIMITS);
    let (one, other, key, epoch) = (worker(&shared), worker(&shared), get("key"), live());
    fill_hot(&one, &key, "old", &epoch);
    warm(&other, &key, "old");
    let unfilled = get("unfilled");
    let ticket = one.ticket(&miss(&one, &unfilled), epoch.clone());
    epoch.end();
    assert_eq!(served(&one, &key), None);
    assert_eq!(served(&other, &key), None);
    assert_eq!(commit(&one, &unfilled, &ticket, "old"), Commit::Killed);
    epoch.renew(u64::MAX);
    assert_eq!(served(&one, &key), None, "an epoch that has ended stays so");
}

#[test]
fn i4_a_lapsed_lease_is_a_miss_until_it_is_renewed() {
    let (cache, key) = (one_worker(), get("key"));
    let lease_until = clock::now() + 10 * SECOND;
    let epoch = Epoch::begin(lease_until);
    fill_hot(&cache, &key, "value", &epoch);
    assert_eq!(served_at(&cache, &key, lease_until - 1).as_deref(), Some("value"));
    assert_eq!(served_at(&cache, &key, lease_until), None);
    // Everything that was pushed meanwhile has been received when a lease is renewed.
    epoch.renew(lease_until + 10 * SECOND);
    assert_eq!(served_at(&cache, &key, lease_until).as_deref(), Some("value"));
    change(&cache, &["key"]);
    assert_eq!(served_at(&cache, &key, lease_until), None);
}

#[test]
fn i4_a_fill_over_a_lapsed_lease_is_not_kept() {
    let (cache, key) = (one_worker(), get("key"));
    let epoch = Epoch::begin(clock::now() - 1);
    assert_eq!(fill(&cache, &key, "value", &epoch), Commit::Killed);
}

#[test]
fn i4_a_slot_that_moved_takes_its_entries_along_and_no_others() {
    let shared = shared(LIMITS);
    let (one, other, epoch) = (worker(&shared), worker(&shared), live());
    let (moved, stayed) = (get("{moved}key"), get("{stayed}key"));
    fill_hot(&one, &moved, "old", &epoch);
    fill_hot(&other, &stayed, "value", &epoch);
    shared.invalidate(&Invalidation::Slots(vec![Slot::of(b"moved")]), &one.stats);
    assert_eq!(served(&one, &moved), None);
    assert_eq!(served(&other, &moved), None);
    assert_eq!(served(&other, &stayed).as_deref(), Some("value"));
}

#[test]
fn i4_replies_of_one_key_depend_each_on_its_own_epoch() {
    let (cache, lost, present) = (one_worker(), live(), live());
    let (first, second) = (get("key"), asked("strlen", &["key"]));
    fill_hot(&cache, &first, "old", &lost);
    fill_hot(&cache, &second, "3", &present);
    lost.end();
    assert_eq!(served(&cache, &first), None);
    assert_eq!(served(&cache, &second).as_deref(), Some("3"));
}

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
        let commit = cache.commit(&ticket, &key.question(), &reply("value"), lifetime, sent_at);
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
    cache.commit(&ticket, &key.question(), &reply("_\r\n"), Lifetime::Absent, sent_at);
    assert!(served_at(&cache, &key, sent_at + 2 * SECOND - TICK).is_some());
    assert!(served_at(&cache, &key, sent_at + 2 * SECOND).is_none());
}

#[test]
fn i5_a_reply_that_took_longer_than_its_key_lives_is_not_kept() {
    let (cache, key) = (one_worker(), get("key"));
    let ticket = cache.ticket(&miss(&cache, &key), live());
    let lifetime = Lifetime::Bounded(Duration::from_millis(100));
    let sent_at = clock::now() - SECOND / 2;
    let commit = cache.commit(&ticket, &key.question(), &reply("value"), lifetime, sent_at);
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
    cache.commit(&ticket, &short.question(), &reply("abc"), lifetime, sent_at);
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
        shared.set_split_tracking(elsewhere);
        let (first, second) = (miss(&cache, &key), miss(&cache, &key));
        assert_eq!(commit(&cache, &key, &cache.ticket(&first, live()), "old"), Commit::Kept);
        // The newer one is no reply to keep, and the change was not heard of yet.
        let now = clock::now();
        let over = cache.ticket(&second, live());
        let over =
            cache.commit(&over, &key.question(), &reply("new"), Lifetime::Bounded(Duration::ZERO), now);
        assert_ne!(over, Commit::Kept);
        assert_eq!(
            served(&cache, &key).as_deref(),
            served_then,
            "what was served is never followed by older"
        );
    }
}

#[test]
fn a_reply_is_kept_once_says_whether_it_differs_and_holds_no_read_buffer() {
    let (cache, key) = (one_worker(), asked("hgetall", &["key"]));
    let buffer = Bytes::from(vec![b'x'; 1 << 20]);
    let both = VersionedReply { resp3: buffer.slice(0..10), resp2: Some(buffer.slice(10..30)) };
    let ticket = cache.ticket(&miss(&cache, &key), live());
    cache.commit(&ticket, &key.question(), &both, Lifetime::Unbounded, clock::now());
    drop(both);
    assert!(buffer.is_unique(), "the entry has a copy of its own");
    let mut out = WriteQueue::default();
    let Lookup::Hit(kept) = cache.lookup(&key.question(), clock::now(), || key.slot(), &mut out) else {
        panic!("not kept");
    };
    assert_eq!((kept.resp3(), kept.resp2()), (&b"xxxxxxxxxx"[..], Resp2::Other));
    assert_eq!(fill(&cache, &get("other"), "value", &live()), Commit::Kept);
    let other = get("other");
    let Lookup::Hit(hit) = cache.lookup(&other.question(), clock::now(), || other.slot(), &mut out) else {
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
            let Lookup::Hit(hit) = cache.lookup(&key.question(), clock::now(), || key.slot(), &mut out)
            else {
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
            cache.commit(&ticket, &key.question(), &both, Lifetime::Unbounded, clock::now());
            out.push_copy(b"before");
            let Lookup::Hit(hit) = cache.lookup(&key.question(), clock::now(), || key.slot(), &mut out)
            else {
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
        let Lookup::Hit(hit) = cache.lookup(&key.question(), clock::now(), || key.slot(), &mut out) else {
            panic!("not kept");
        };
        let hit = hit.append_as_array().unwrap_err();
        hit.append();
        assert_eq!(out.take_back(0), reply);
    }
}

#[test]
fn the_budget_of_bytes_holds() {
    let limits = CacheLimits { bytes_max: 256 << 10, ..LIMITS };
    let evictions: Arc<WorkerStats> = Arc::default();
    let shared = Arc::new(SharedCache::new(limits, evictions.clone()));
    let (cache, epoch, value) = (worker(&shared), live(), "v".repeat(1_000));
    for number in 0..5_000 {
        fill(&cache, &get(&format!("key:{number}")), &value, &epoch);
    }
    let (entries, bytes) = shared.size();
    assert!(bytes <= limits.bytes_max, "{bytes} of {}", limits.bytes_max);
    assert!(bytes > limits.bytes_max / 2, "the room is used: {bytes}");
    assert!(bytes >= entries * 1_000, "{entries} entries cannot take {bytes} bytes");
    assert!(evictions.l1_evictions.get() >= 5_000 - entries - cache.stats.l1_misses.get().min(1));
}

#[test]
fn an_entry_that_is_too_large_is_not_kept() {
    let limits = CacheLimits { entry_bytes_max: 4_096, several_workers: false, ..LIMITS };
    let (cache, epoch) = (worker(&shared(limits)), live());
    assert_eq!(fill(&cache, &get("large"), &"v".repeat(4_096), &epoch), Commit::NotKept);
    assert_eq!(served(&cache, &get("large")), None);
    assert_eq!(fill(&cache, &get("small"), &"v".repeat(1_024), &epoch), Commit::Kept);
}

#[test]
fn only_so_many_replies_are_kept_of_one_key_and_the_oldest_go_first() {
    let (cache, epoch) = (one_worker(), live());
    let fields: Vec<Asked> =
        (0..REPLIES_MAX + 50).map(|field| asked("hget", &["h", &field.to_string()])).collect();
    for field in &fields {
        assert_eq!(fill(&cache, field, "value", &epoch), Commit::Kept);
    }
    let kept: Vec<bool> = fields.iter().map(|field| served(&cache, field).is_some()).collect();
    assert!(kept[..50].iter().all(|kept| !kept), "the oldest went");
    assert!(kept[50..].iter().all(|kept| *kept), "the newest stay");
    change(&cache, &["h"]);
    assert!(fields.iter().all(|field| served(&cache, field).is_none()));
}

#[test]
fn of_one_key_only_as_many_large_replies_are_kept_as_its_lines_have_places() {
    let (cache, epoch) = (one_worker(), live());
    let fields: Vec<Asked> = (0..60).map(|field| asked("hget", &["h", &field.to_string()])).collect();
    for field in &fields {
        assert_eq!(fill(&cache, field, &"v".repeat(2_000), &epoch), Commit::Kept);
    }
    let kept = fields.iter().filter(|field| served(&cache, field).is_some()).count();
    assert!((14..=21).contains(&kept), "{kept}");
    assert_eq!(fill(&cache, &get("other"), "value", &epoch), Commit::Kept);
    assert_eq!(served(&cache, &get("other")).as_deref(), Some("value"));
    change(&cache, &["h"]);
    assert!(fields.iter().all(|field| served(&cache, field).is_none()));
}

#[tokio::test]
async fn a_sweep_gives_back_what_can_never_be_served_again() {
    let shared = shared(LIMITS);
    let (cache, lost, present) = (worker(&shared), live(), live());
    fill(&cache, &get("lost"), "value", &lost);
    fill(&cache, &get("{moved}"), "value", &present);
    fill(&cache, &get("stays"), "value", &present);
    lost.end();
    shared.invalidate(&Invalidation::Slots(vec![Slot::of(b"moved")]), &cache.stats);
    assert_eq!(shared.size().0, 3, "nothing was looked at yet");
    shared.sweep(&cache.stats).await;
    assert_eq!(shared.size().0, 1);
    assert_eq!(served(&cache, &get("stays")).as_deref(), Some("value"));
}

#[tokio::test]
async fn a_sweep_gives_back_the_memory_of_what_has_gone() {
    let shared = shared(LIMITS);
    let (cache, lost, present) = (worker(&shared), live(), live());
    for number in 0..2_000 {
        let epoch = if number % 10 == 0 { &present } else { &lost };
        assert_eq!(fill(&cache, &get(&format!("key:{number}")), &"v".repeat(300), epoch), Commit::Kept);
    }
    let before = shared.size().1;
    lost.end();
    shared.sweep(&cache.stats).await;
    assert_eq!(shared.size().0, 200);
    assert!(shared.size().1 < before / 3, "{} of {before}", shared.size().1);
    for number in (0..2_000).step_by(10) {
        assert!(served(&cache, &get(&format!("key:{number}"))).is_some());
    }
}

/// Others that nobody reads, more than there is room for.
fn push_through(cache: &Cache, round: usize) {
    let epoch = live();
    for number in 0..5_000 {
        fill(cache, &get(&format!("other:{round}:{number}")), &"v".repeat(300), &epoch);
    }
}

#[test]
fn a_key_that_stays_because_it_is_hit_is_worth_keeping_whatever_is_written() {
    let limits = CacheLimits { admission: AdmissionRule::Adaptive, ..LIMITS };
    let (cache, key) = (worker(&shared(limits)), get("key"));
    for round in 0..8 {
        assert!(cache.admits(&miss(&cache, &key), &CacheTerms::default()), "after {round} rounds");
        assert_eq!(fill(&cache, &key, "value", &live()), Commit::Kept);
        (0..3).for_each(|_| assert!(served(&cache, &key).is_some()));
        push_through(&cache, round);
        // It is written before its next hit.
        change(&cache, &["key"]);
    }
}

#[test]
fn what_was_over_when_room_was_made_went_because_it_was_over() {
    let cache = worker(&shared(CacheLimits { ttl: Duration::from_millis(30), ..LIMITS }));
    let keys: Vec<String> = (0..200).map(|number| format!("over:{number}")).collect();
    keys.iter().for_each(|key| _ = fill(&cache, &get(key), "value", &live()));
    thread::sleep(Duration::from_millis(35));
    push_through(&cache, 0);
    let noted =
        keys.iter().map(|key| cache.explain(key.as_bytes(), Slot::of(key.as_bytes()), clock::now()).noted);
    let (over, others): (Vec<_>, Vec<_>) = noted
        .filter(|noted| *noted != Noted::Forgotten)
        .partition(|noted| matches!(noted, Noted::Reason(MissReason::Expired, _)));
    assert!(over.len() > 20 && others.is_empty(), "{} and {others:?}", over.len());
}

/// The server in the stress below: the version of each key, and which version the last finished invalidation
/// told of.
#[derive(Default)]
struct Versioned {
    current: AtomicU64,
    invalidated: AtomicU64,
}

/// A writer and two workers: no reader gets a version older than the one that was invalidated before it
/// asked.
#[test]
fn i2_no_version_older_than_the_last_invalidated_one_is_served_under_stress() {
    const KEYS: usize = 8;
    const RUN: Duration = Duration::from_millis(400);
    let shared = shared(LIMITS);
    let keys: Vec<(Asked, Versioned)> =
        (0..KEYS).map(|number| (get(&format!("key:{number}")), Versioned::default())).collect();
    let is_over = AtomicBool::new(false);
    let read = || {
        let (cache, epoch, mut own_hits) = (worker(&shared), live(), 0);
        let mut random = fastrand::Rng::with_seed(7);
        while !is_over.load(Ordering::Relaxed) {
            let (key, versioned) = &keys[random.usize(..KEYS)];
            let floor = versioned.invalidated.load(Ordering::SeqCst);
            if let Some(version) = served(&cache, key) {
                let version: u64 = version.parse().unwrap();
                assert!(version >= floor, "{}: served {version} after {floor} was invalidated", key.key);
                own_hits += 1;
                continue;
            }
            let Lookup::Miss(missed) =
                cache.lookup(&key.question(), clock::now(), || key.slot(), &mut WriteQueue::default())
            else {
                continue;
            };
            let ticket = cache.ticket(&missed, epoch.clone());
            let version = versioned.current.load(Ordering::SeqCst);
            (0..random.u8(..50)).for_each(|_| std::hint::spin_loop());
            commit(&cache, key, &ticket, &version.to_string());
        }
        (own_hits, cache.stats.l1_fills_killed.get())
    };
    let (writes, readers) = thread::scope(|scope| {
        let readers = [scope.spawn(read), scope.spawn(read)];
        let mut random = fastrand::Rng::with_seed(8);
        let (begun, mut writes) = (Instant::now(), 0);
        while begun.elapsed() < RUN {
            let (key, versioned) = &keys[random.usize(..KEYS)];
            let version = versioned.current.fetch_add(1, Ordering::SeqCst) + 1;
            shared.invalidate_key(key.key.as_bytes(), MissReason::Written);
            versioned.invalidated.store(version, Ordering::SeqCst);
            writes += 1;
            // Long enough now and then for entries to be hit.
            (0..random.u16(..2_000)).for_each(|_| std::hint::spin_loop());
        }
        is_over.store(true, Ordering::Relaxed);
        (writes, readers.map(|reader| reader.join().unwrap()))
    });
    let hits: u64 = readers.iter().map(|(hits, _)| hits).sum();
    let killed: u64 = readers.iter().map(|(_, killed)| killed).sum();
    println!("{writes} writes, {hits} hits, {killed} fills killed");
    assert!(writes > 100 && hits > 1_000, "{writes} writes, {hits} hits: nothing was tested");
}

/// Two fills of two workers, both under way at once: the tickets of the one and of the other.
fn two_fills(one: &Cache, other: &Cache, asked: &Asked) -> (Ticket, Ticket) {
    let (first, second) = (miss(one, asked), miss(other, asked));
    (one.ticket(&first, live()), other.ticket(&second, live()))
}

#[test]
fn an_older_reply_of_another_worker_is_not_kept_over_a_newer_one() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let (later, earlier) = two_fills(&one, &other, &key);
    commit(&one, &key, &later, "new");
    assert_eq!(served(&one, &key).as_deref(), Some("new"));
    commit(&other, &key, &earlier, "old");
    // The push that kills the older one is still on its way: which of the two is newer, nobody can tell.
    assert_eq!(served(&other, &key), None);
    assert_eq!(served(&one, &key), None);
}

#[test]
fn a_newer_reply_of_another_worker_ends_an_older_entry_in_every_hot_set() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let (later, earlier) = two_fills(&one, &other, &key);
    commit(&other, &key, &earlier, "old");
    assert_eq!(served(&other, &key).as_deref(), Some("old"));
    assert_eq!(served(&other, &key).as_deref(), Some("old"), "from the store that both share");
    commit(&one, &key, &later, "new");
    assert_eq!(served(&other, &key), None);
}

#[test]
fn a_newer_reply_that_is_killed_leaves_no_older_fill_to_commit() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let missed = miss(&one, &key);
    let later = one.ticket(&missed, live());
    shared.invalidate_key(b"key", MissReason::Written);
    let missed = miss(&other, &key);
    let earlier = other.ticket(&missed, live());
    commit(&one, &key, &later, "new");
    commit(&other, &key, &earlier, "old");
    assert_eq!(served(&other, &key), None);
}

#[test]
fn a_reply_that_is_not_kept_leaves_no_older_one_behind() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let (_, earlier) = two_fills(&one, &other, &key);
    shared.invalidate_if_unordered(b"key");
    commit(&other, &key, &earlier, "old");
    assert_eq!(served(&other, &key), None);
}

/// A worker that reads over two connections: its view, and the epoch of each.
fn over_two_connections() -> (Cache, [Epoch; 2]) {
    let shared = shared(CacheLimits { several_workers: false, ..LIMITS });
    shared.note_multi_stream();
    (worker(&shared), [live(), live()])
}

#[test]
fn what_came_over_another_connection_is_not_served_after_an_answer_to_another_question() {
    let (cache, [main, side]) = over_two_connections();
    let (a, b) = (asked("hget", &["key", "a"]), asked("hget", &["key", "b"]));
    assert_eq!(fill(&cache, &a, "old", &main), Commit::Kept);
    assert_eq!(
        fill(&cache, &asked("hget", &["key", "c"]), "old", &main),
        Commit::Kept,
        "in the order of its connection"
    );
    // The key changed, and what tells of it is held up on the main connection.
    assert_eq!(fill(&cache, &b, "new", &side), Commit::Killed);
    assert_eq!(served(&cache, &a), None);
    assert_eq!(fill(&cache, &b, "new", &side), Commit::Kept);
    assert_eq!(fill(&cache, &a, "new", &side), Commit::Kept);
    assert_eq!((served(&cache, &a).as_deref(), served(&cache, &b).as_deref()), (Some("new"), Some("new")));
}

#[test]
fn a_fill_is_not_kept_beside_which_another_connection_brought_something_that_has_gone_again() {
    let (cache, [main, side]) = over_two_connections();
    let (a, b) = (asked("hget", &["key", "a"]), asked("hget", &["key", "b"]));
    let earlier = cache.ticket(&miss(&cache, &a), main.clone());
    assert_eq!(fill(&cache, &b, "new", &side), Commit::Kept);
    let (all, _) = cache.shared.store.dead(0, usize::MAX, |_| Some(MissReason::Evicted));
    assert!(cache.shared.store.remove(earlier.hash, all[0].1), "as if there had been no room for it");
    assert_eq!(commit(&cache, &a, &earlier, "old"), Commit::Killed);
    assert_eq!(served(&cache, &a), None);
    // One that began after it is newer.
    assert_eq!(fill(&cache, &a, "newer", &main), Commit::Kept);
    let beside = cache.ticket(&miss(&cache, &b), main.clone());
    assert_eq!(fill(&cache, &asked("hget", &["key", "c"]), "newer", &main), Commit::Kept);
    assert_eq!(commit(&cache, &b, &beside, "newer"), Commit::Kept, "in the order of its connection");
}

#[test]
fn equal_replies_of_two_workers_are_kept() {
    let shared = shared(LIMITS);
    let (one, other, key) = (worker(&shared), worker(&shared), get("key"));
    let (first, second) = two_fills(&one, &other, &key);
    commit(&one, &key, &first, "same");
    commit(&other, &key, &second, "same");
    assert_eq!(served(&one, &key).as_deref(), Some("same"));
    assert_eq!(served(&other, &key).as_deref(), Some("same"));
}

#[test]
fn what_is_kept_empty_lets_nothing_in_whatever_the_terms_and_is_filled_again() {
    let cache = one_worker();
    let terms = CacheTerms { admission: Some(AdmissionRule::Always), ..CacheTerms::default() };
    let key = get("key");
    assert!(cache.admits(&miss(&cache, &key), &terms));
    cache.shared().keep_empty(true);
    assert!(!cache.admits(&miss(&cache, &key), &terms));
    assert!(MissReason::NoMemory.to_string().starts_with("memory_max"));
    cache.shared().keep_empty(false);
    assert!(cache.admits(&miss(&cache, &key), &terms));
}
