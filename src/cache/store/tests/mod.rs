//! The store by itself: what was put in comes out, whatever moves meanwhile.

mod contents;
mod size;
mod stale;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::queues::QueueKind;
use super::*;
use crate::cache::entry::{CacheQuery, CommandId, Resp2};
use crate::net::write_queue::WriteQueue;

/// As if they were these: the store takes any numbers.
const GET: CommandId = CommandId::of_number(7);
const HGET: CommandId = CommandId::of_number(8);

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
    let query = CacheQuery { command, key: args[0], args: &tail };
    store.insert(&NewEntry {
        hash,
        generation,
        slot_generation,
        slot: Slot::of(args[0]),
        epoch,
        deadline,
        query: &query,
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
    let query = CacheQuery { command, key: args[0], args: &tail };
    let mut out = WriteQueue::default();
    let found = store.find(store.hash(args[0]), &LookupKey::new(&query), &mut out)?;
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
