//! The store by itself: what was put in comes out, whatever moves meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::queues::Which;
use super::*;
use crate::cache::entry::{CacheQuery, CommandId, Resp2};
use crate::net::write_queue::WriteQueue;

const GET: CommandId = CommandId { name: "get", number: 7 };
const HGET: CommandId = CommandId { name: "hget", number: 8 };

/// What was evicted, by hash.
pub(super) type Evicted = Arc<AtomicU64>;

pub(super) fn store(bytes: u64) -> (Store, Evicted) {
    store_of(Sizes::of(bytes))
}

fn store_of(sizes: Sizes) -> (Store, Evicted) {
    let evicted = Evicted::default();
    let counting = evicted.clone();
    let count = move |_, event| {
        if event == Event::Gone(MissReason::Evicted) {
            counting.fetch_add(1, Ordering::Relaxed);
        }
    };
    (Store::of(sizes, count), evicted)
}

fn tail(args: &[&[u8]]) -> Vec<u8> {
    args.iter().flat_map(|arg| [format!("${}\r\n", arg.len()).as_bytes(), arg, b"\r\n"].concat()).collect()
}

fn ticket(store: &Store, key: &[u8]) -> (u64, u32, u32) {
    let (hash, slot) = (store.hash(key), Slot::of(key));
    (hash, store.generation(hash), store.slot_generation(slot))
}

fn put_on(
    store: &Store,
    ticket: (u64, u32, u32),
    command: CommandId,
    args: &[&[u8]],
    reply: &[u8],
    epoch: &Epoch,
) -> Result<(), Refused> {
    let deadline = tick(clock::now() + TIME_MAX);
    put_whole(store, ticket, command, args, reply, (epoch, deadline))
}

fn put_whole(
    store: &Store,
    (hash, generation, slot_generation): (u64, u32, u32),
    command: CommandId,
    args: &[&[u8]],
    reply: &[u8],
    (epoch, deadline): (&Epoch, u32),
) -> Result<(), Refused> {
    let tail = tail(args);
    let question = CacheQuery { command, key: args[0], args: &tail };
    store.insert(&NewEntry {
        hash,
        generation,
        slot_generation,
        slot: Slot::of(args[0]),
        epoch,
        deadline,
        question: &question,
        reply: &Bytes::copy_from_slice(reply),
        resp2: Resp2::Same,
    })
}

/// Keeps the value of a key until a tick.
pub(super) fn put_until(
    store: &Store,
    key: &[u8],
    reply: &[u8],
    epoch: &Epoch,
    deadline: u32,
) -> Result<(), Refused> {
    put_whole(store, ticket(store, key), GET, &[key], reply, (epoch, deadline))
}

pub(super) fn put(store: &Store, args: &[&[u8]], reply: &[u8], epoch: &Epoch) -> Result<(), Refused> {
    let command = if args.len() == 1 { GET } else { HGET };
    put_on(store, ticket(store, args[0]), command, args, reply, epoch)
}

pub(super) fn found(store: &Store, args: &[&[u8]]) -> Option<Vec<u8>> {
    let tail = tail(args);
    let command = if args.len() == 1 { GET } else { HGET };
    let question = CacheQuery { command, key: args[0], args: &tail };
    let mut out = WriteQueue::default();
    let found = store.find(store.hash(args[0]), &Sought::new(&question), &mut out)?;
    store.held(found).map(|held| held.to_bytes(&out).to_vec())
}

pub(super) fn live() -> Epoch {
    Epoch::begin(u64::MAX)
}

/// The reply that belongs to a key, of many lengths.
fn reply_of(number: usize) -> Vec<u8> {
    let len = match number % 50 {
        0 => 20_000,
        at => number % 300 + at,
    };
    format!("{number}:").into_bytes().repeat(len / 6 + 1)
}

pub(super) fn key_of(number: usize) -> Vec<u8> {
    format!("key:{}:{number}", "x".repeat(number % 19)).into_bytes()
}

#[test]
fn what_is_kept_is_what_was_put_in_whatever_went_and_moved_meanwhile() {
    let (store, evicted) = store(1 << 20);
    let epoch = live();
    for number in 0..30_000 {
        let key = key_of(number);
        assert_eq!(put(&store, &[&key], &reply_of(number), &epoch), Ok(()));
        assert_eq!(found(&store, &[&key]), Some(reply_of(number)));
        if number % 3 == 0 {
            let before = ticket(&store, &key);
            assert!(store.invalidate(store.hash(&key)).is_some());
            assert_eq!(found(&store, &[&key]), None, "I2");
            assert_eq!(put_on(&store, before, GET, &[&key], b"old", &epoch), Err(Refused::Changed), "I2");
            assert_eq!(found(&store, &[&key]), None, "I2");
        }
        assert!(store.bytes() <= 1 << 20, "{} at {number}", store.bytes());
    }
    let kept = (0..30_000).filter(|number| {
        let found = found(&store, &[&key_of(*number)]);
        found.is_some_and(|found| {
            assert!(number % 3 != 0);
            assert_eq!(found, reply_of(*number));
            true
        })
    });
    let kept = kept.count() as u64;
    assert_eq!(kept, store.size().0, "what is counted is what is there");
    assert!(kept > 1_000, "{kept}");
    // An invalidation takes a key with it whose home and tag are the same: one in some 30,000.
    let known = evicted.load(Ordering::Relaxed) + kept;
    assert!((19_990..=20_000).contains(&known), "{known}");
    store.remove_all();
    assert_eq!(store.size().0, 0);
    assert!(store.bytes() < 20 << 10, "{}", store.bytes());
    assert!((0..30_000).all(|number| found(&store, &[&key_of(number)]).is_none()));
}

#[test]
fn what_is_read_stays_and_what_is_read_once_goes() {
    let (store, _) = store(256 << 10);
    let epoch = live();
    let hot: Vec<Vec<u8>> = (0..200).map(key_of).collect();
    for key in &hot {
        put(&store, &[key], b"hot", &epoch).unwrap();
    }
    for number in 1_000..50_000 {
        put(&store, &[&key_of(number)], b"a value that nobody reads", &epoch).unwrap();
        let key = &hot[number % hot.len()];
        let _ = found(&store, &[key]);
    }
    let stayed = hot.iter().filter(|key| found(&store, &[key]).is_some()).count();
    assert!(stayed > 190, "{stayed} of {}", hot.len());
}

#[test]
fn a_key_has_many_replies_which_an_invalidation_drops_together() {
    let (store, _) = store(4 << 20);
    let epoch = live();
    let field = |number: usize| format!("field:{number}").into_bytes();
    let hashes: Vec<Vec<u8>> = (0..50).map(key_of).collect();
    for round in 0..3 {
        for number in 0..REPLIES_MAX + 20 {
            for key in &hashes {
                let reply = format!("{round}:{number}");
                put(&store, &[key, &field(number)], reply.as_bytes(), &epoch).unwrap();
                put(&store, &[key], b"whole", &epoch).unwrap();
            }
        }
        for key in &hashes {
            let there: Vec<usize> = (0..REPLIES_MAX + 20)
                .filter(|number| found(&store, &[key, &field(*number)]).is_some())
                .collect();
            assert_eq!(there.len(), REPLIES_MAX - 1, "with the one about all of the key");
            assert_eq!(there.last(), Some(&(REPLIES_MAX + 19)), "the oldest went");
            assert!(there.iter().all(|number| {
                found(&store, &[key, &field(*number)]) == Some(format!("{round}:{number}").into_bytes())
            }));
        }
    }
    assert_eq!(store.size().0, hashes.len() as u64);
    store.invalidate(store.hash(&hashes[7]));
    assert!((0..REPLIES_MAX + 20).all(|number| found(&store, &[&hashes[7], &field(number)]).is_none()));
    assert!(found(&store, &[&hashes[8]]).is_some());
}

#[test]
fn replies_of_one_key_move_and_go_one_by_one() {
    let (store, _) = store(128 << 10);
    let epoch = live();
    let mut last: HashMap<(usize, usize), usize> = HashMap::new();
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..60_000 {
        let (key, field) = (random.usize(..40), random.usize(..60));
        let name = format!("{field}").into_bytes();
        let args: [&[u8]; 2] = [&key_of(key), &name];
        match random.u8(..10) {
            0 => {
                store.invalidate(store.hash(args[0]));
                last.retain(|(other, _), _| *other != key);
            }
            1..4 => {
                let reply = format!("{round}").repeat(if random.u8(..100) == 0 { 700 } else { 3 });
                put(&store, &args, reply.as_bytes(), &epoch).unwrap();
                last.insert((key, field), round);
            }
            _ => {
                if let Some(found) = found(&store, &args) {
                    let round = last.get(&(key, field)).expect("it was invalidated (I2)");
                    assert!(found.starts_with(format!("{round}").as_bytes()), "an older one");
                }
            }
        }
    }
}

#[test]
fn large_replies_are_shared_count_and_go() {
    let (store, evicted) = store(4 << 20);
    let epoch = live();
    let value = vec![b'v'; 300_000];
    for number in 0..100 {
        put(&store, &[&key_of(number)], &value, &epoch).unwrap();
        assert_eq!(found(&store, &[&key_of(number)]).map(|found| found.len()), Some(300_000));
        assert!(store.bytes() <= 4 << 20);
    }
    let (entries, bytes) = store.size();
    assert!((8..14).contains(&entries) && bytes > 2 << 20, "{entries} of {bytes}");
    assert_eq!(evicted.load(Ordering::Relaxed), 100 - entries);
    // One that is invalidated gives its memory back at once.
    store.invalidate(store.hash(&key_of(99)));
    assert!(store.bytes() < bytes - 300_000);
    // One that is larger than all that may be kept takes nothing else with it.
    let before = store.size();
    assert_eq!(put(&store, &[&key_of(1)], &vec![b'v'; 5 << 20], &epoch), Err(Refused::TooLarge));
    assert_eq!(store.size(), before);
    // The same question has one answer, whatever size it has.
    put(&store, &[&key_of(2)], &value, &epoch).unwrap();
    put(&store, &[&key_of(2)], b"small", &epoch).unwrap();
    assert_eq!(found(&store, &[&key_of(2)]), Some(b"small".to_vec()));
    put(&store, &[&key_of(2)], &value, &epoch).unwrap();
    assert_eq!(found(&store, &[&key_of(2)]).map(|found| found.len()), Some(300_000));
}

#[test]
fn a_budget_for_nothing_keeps_nothing() {
    for bytes in [0, 1, 1_000, 2_000] {
        let (store, _) = store(bytes);
        assert_eq!(put(&store, &[b"key"], b"value", &live()), Err(Refused::NoRoom), "{bytes}");
        assert_eq!(found(&store, &[b"key"]), None);
        assert_eq!(store.invalidate(store.hash(b"key")), None);
    }
    let (store, _) = store(1 << 20);
    let long = vec![b'k'; 300_000];
    assert_eq!(put(&store, &[&long], b"value", &live()), Ok(()));
    assert_eq!(
        found(&store, &[&long]),
        Some(b"value".to_vec()),
        "a key that is longer than the log has room for"
    );
}

#[test]
fn i4_a_slot_that_moved_very_often_brings_nothing_back() {
    let (store, _) = store(1 << 20);
    let (key, epoch) = (b"key", live());
    put(&store, &[key], b"old", &epoch).unwrap();
    let before = ticket(&store, key);
    for _ in 0..1 << 16 {
        store.raise_slot(Slot::of(key));
    }
    assert_eq!(found(&store, &[key]), None, "its number is the same as then");
    assert_eq!(put_on(&store, before, GET, &[key], b"old", &epoch), Err(Refused::Changed));
    put(&store, &[key], b"new", &epoch).unwrap();
    let before = ticket(&store, key);
    store.remove_all();
    assert_eq!(found(&store, &[key]), None);
    assert_eq!(put_on(&store, before, GET, &[key], b"old", &epoch), Err(Refused::Changed));
}

#[test]
fn i4_entries_of_very_many_epochs_are_told_apart() {
    let (store, _) = store(64 << 20);
    let (mut view, mut refused) = (EpochView::default(), 0);
    for round in 0..70_000_u64 {
        let (key, epoch) = (format!("key:{}", round % 80_000), live());
        // When all numbers are in use everything goes, the fill that found that out among it.
        let is_kept = put(&store, &[key.as_bytes()], b"value", &epoch).is_ok();
        refused += u32::from(!is_kept);
        if is_kept && round % 1_000 == 0 {
            let tail = tail(&[key.as_bytes()]);
            let question = CacheQuery { command: GET, key: key.as_bytes(), args: &tail };
            let sought = Sought::new(&question);
            let found = store.find(store.hash(key.as_bytes()), &sought, &mut WriteQueue::default()).unwrap();
            store.copy_epoch(&mut view, found.head.epoch_index());
            assert_eq!(view.epoch(found.head.epoch_index()).map(Epoch::number), Some(epoch.number()));
        }
        epoch.end();
    }
    assert_eq!(refused, 1);
    assert!(store.size().0 < 10_000, "all numbers were in use once, and everything went");
}

#[test]
fn i2_readers_beside_a_writer_see_what_was_written_whole_and_nothing_that_was_invalidated() {
    const KEYS: usize = 3_000;
    let (store, _) = store(512 << 10);
    let epoch = live();
    // The round that a key was invalidated in last.
    let dropped: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..2 {
            let (store, dropped, stop) = (&store, &dropped, &stop);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut hits = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let number = random.usize(..KEYS);
                    let before = dropped[number].load(Ordering::Acquire);
                    let Some(found) = found(store, &[&key_of(number)]) else { continue };
                    hits += 1;
                    let text = std::str::from_utf8(&found).expect("torn");
                    let mut parts = text.trim_end_matches('#').split(':');
                    let (whose, round) = (parts.next().unwrap(), parts.next().unwrap());
                    assert_eq!(whose.parse(), Ok(number), "torn: {text}");
                    let round: u64 = round.parse().expect("torn");
                    assert!(round >= before, "I2: {round} after {before}");
                    assert_eq!(found.len(), 100 + number % 200, "torn: {text}");
                }
                assert!(hits > 100, "{hits}");
            });
        }
        let mut random = fastrand::Rng::with_seed(9);
        for round in 1..150_000_u64 {
            let number = random.usize(..KEYS);
            let key = key_of(number);
            if round % 5 == 0 {
                store.invalidate(store.hash(&key));
                dropped[number].store(round, Ordering::Release);
            }
            if round % 40_000 == 0 {
                store.remove_all();
            }
            let mut reply = format!("{number}:{round}:").into_bytes();
            reply.resize(100 + number % 200, b'#');
            put(&store, &[&key], &reply, &epoch).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn while_there_is_room_nothing_goes_for_want_of_a_place() {
    let (store, evicted) = store(64 << 20);
    let epoch = live();
    for number in 0..60_000 {
        put(&store, &[&key_of(number)], b"value", &epoch).unwrap();
    }
    // By chance one may be at home where all is full of what can go nowhere else.
    assert!(evicted.load(Ordering::Relaxed) <= 3, "{evicted:?}");
    assert!(store.index.places() < 60_000 * 10 / 6, "{}", store.index.places());
}

#[test]
fn nothing_is_locked_while_somebody_looks_through_the_replies() {
    let (store, _) = store(1 << 20);
    let epoch = live();
    (0..20).for_each(|number| put(&store, &[&key_of(number)], b"value", &epoch).unwrap());
    let mut looks = 0;
    thread::scope(|scope| {
        store.look_through(0, usize::MAX, |replies, _| {
            looks += 1;
            // Whoever writes has the lock of all writers, and waits for lines. Whoever looks asks for an
            // epoch, which takes that lock.
            let (done, is_done) = mpsc::channel();
            let (store, key) = (&store, replies[0].key.clone());
            scope.spawn(move || {
                store.invalidate(store.hash(&key));
                let _ = done.send(());
            });
            assert!(is_done.recv_timeout(Duration::from_secs(20)).is_ok(), "its line is locked");
        });
    });
    assert_eq!(looks, 20);
}

#[test]
fn large_replies_that_are_invalidated_all_the_time_leave_nothing_behind() {
    let (store, _) = store(4 << 20);
    let (epoch, value) = (live(), vec![b'v'; 140_000]);
    put(&store, &[b"stays"], &value, &epoch).unwrap();
    for _ in 0..2_000 {
        put(&store, &[b"key"], &value, &epoch).unwrap();
        store.invalidate(store.hash(b"key"));
    }
    let large = store.writer.lock().queues.of(Which::Small).large();
    assert!(large <= 130, "{large}");
    assert!(found(&store, &[b"stays"]).is_some());
}

#[test]
fn the_index_becomes_smaller_while_it_runs_when_fewer_and_larger_replies_are_kept() {
    let (store, evicted) = store(2 << 20);
    let epoch = live();
    let mut latest = 0;
    let mut fill = |count: usize, value: &[u8]| {
        for _ in 0..count {
            latest += 1;
            put(&store, &[&key_of(latest)], value, &epoch).unwrap();
            // As often as it is counted, so that what is large stays too.
            for _ in 0..3 {
                assert_eq!(found(&store, &[&key_of(latest)]).as_deref(), Some(value));
            }
            assert!(store.bytes() <= 2 << 20);
        }
        let kept = (1..=latest).filter(|number| found(&store, &[&key_of(*number)]).is_some()).count();
        assert_eq!(kept as u64, store.size().0);
        assert_eq!(kept as u64 + evicted.load(Ordering::Relaxed), latest as u64);
        store.index.bytes()
    };
    let small = fill(40_000, b"small");
    assert!(small > 200 << 10, "{small}");
    let large = fill(20_000, &[b'v'; 1_000]);
    assert!(large < 40 << 10, "{large}");
    let small_again = fill(40_000, b"small");
    assert!(small_again > 200 << 10, "{small_again}");
}

#[test]
fn an_index_that_cannot_grow_keeps_what_it_has_places_for() {
    let (store, evicted) = store_of(Sizes::of(8 << 20).without_growth());
    let (epoch, places) = (live(), store.index.places());
    let mut kept = 0;
    for number in 0..4 * places {
        let key = key_of(number);
        if put(&store, &[&key], b"value", &epoch).is_ok() {
            kept += 1;
            assert_eq!(found(&store, &[&key]).as_deref(), Some(b"value".as_slice()), "{number}");
        }
    }
    let entries = store.size().0;
    assert_eq!(store.index.places(), places, "it has grown");
    assert!(kept > 4 * places as u64 * 99 / 100, "{kept}");
    let all = (places + index::LINES_BEHIND * line::PLACES) as u64;
    assert!((all * 9 / 10..=all).contains(&entries), "{entries} of {all}");
    assert_eq!(evicted.load(Ordering::Relaxed), kept - entries, "each that went says why");
}
