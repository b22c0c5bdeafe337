//! The slow log itself, which is bounded in entries and in bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::clients::Client;
use crate::namespace::Namespace;
use crate::protocol::resp::encode;

/// All entries together take this part of `memory_max` at most, and without a ceiling `BYTES_MAX` bytes.
const MEMORY_PART: usize = 64;
const BYTES_MAX: usize = 64 << 20;

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 256;

/// The slow log, the newest entry first.
#[derive(Debug)]
pub(in crate::commands) struct Slowlog {
    pub(super) entries: VecDeque<SlowlogEntry>,
    next_id: i64,
    /// What the entries take, and may take.
    bytes: usize,
    bytes_max: usize,
}

/// A command that took long.
#[derive(Debug)]
pub(super) struct SlowlogEntry {
    pub(super) id: i64,
    /// Seconds since 1970.
    pub(super) at: i64,
    pub(super) micros: i64,
    /// The shown part of the arguments, as an array.
    pub(super) arguments: Bytes,
    pub(super) address: String,
    pub(super) name: Vec<u8>,
    /// The namespace of the client.
    pub(super) namespace: Option<Arc<Namespace>>,
}

// === impl Slowlog ===

impl Slowlog {
    /// An empty one in a daemon of this `memory_max`.
    pub(in crate::commands) fn new(memory_max: Option<usize>) -> Slowlog {
        let bytes_max = memory_max.map_or(BYTES_MAX, |max| max / MEMORY_PART);
        Slowlog { entries: VecDeque::new(), next_id: 0, bytes: 0, bytes_max }
    }

    /// Adds an entry, which gets its number; the oldest go where there are more than `count_max`, or they
    /// take too much.
    pub(super) fn push(&mut self, mut entry: SlowlogEntry, count_max: usize) {
        entry.id = self.next_id;
        self.next_id += 1;
        self.bytes += entry.bytes();
        self.entries.push_front(entry);
        while self.entries.len() > count_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// The entries that `client` may see.
    pub(super) fn seen_by<'a>(&'a self, client: &'a Client) -> impl Iterator<Item = &'a SlowlogEntry> {
        self.entries.iter().filter(|entry| client.sees(entry.namespace.as_ref()))
    }

    /// Drops the entries that `client` may see.
    pub(super) fn clear(&mut self, client: &Client) {
        self.entries.retain(|entry| !client.sees(entry.namespace.as_ref()));
        self.entries.shrink_to_fit();
        self.bytes = self.entries.iter().map(SlowlogEntry::bytes).sum();
    }
}

// === impl SlowlogEntry ===

impl SlowlogEntry {
    /// What it takes.
    fn bytes(&self) -> usize {
        let parts = self.arguments.len() + self.address.len() + self.name.len();
        ENTRY_BYTES + parts
    }

    /// Appends the entry as SLOWLOG GET shows it.
    pub(super) fn write(&self, out: &mut BytesMut) {
        encode::array(out, 6);
        for field in [self.id, self.at, self.micros] {
            encode::integer(out, field);
        }
        out.extend_from_slice(&self.arguments);
        encode::bulk(out, self.address.as_bytes());
        encode::bulk(out, &self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{Clients, Endpoints};

    #[test]
    fn the_oldest_entries_go_where_there_are_too_many_or_they_take_too_much() {
        let entry = |size: usize| SlowlogEntry {
            id: 0,
            at: 0,
            micros: 0,
            arguments: vec![b'a'; size].into(),
            address: String::new(),
            name: Vec::new(),
            namespace: None,
        };
        let bytes_max = 10 * (1_000 + ENTRY_BYTES);
        let mut log = Slowlog::new(Some(bytes_max * MEMORY_PART));
        (0..100).for_each(|_| log.push(entry(1_000), 1_000_000));
        let ids = |log: &Slowlog| log.entries.iter().map(|entry| entry.id).collect::<Vec<i64>>();
        assert_eq!((ids(&log), log.bytes), ((90..100).rev().collect(), bytes_max));
        log.push(entry(1_000), 3);
        assert_eq!((ids(&log), log.bytes), ((98..101).rev().collect(), bytes_max / 10 * 3));
        // One that is larger than all may be takes the others with it and is not kept.
        log.push(entry(bytes_max), 3);
        assert_eq!((ids(&log), log.bytes), (Vec::new(), 0));
        log.push(entry(1), 0);
        log.push(entry(1), 1);
        assert_eq!(ids(&log), [103]);
        let clients = Arc::<Clients>::default();
        let namespace = |name: &str| {
            let (name, pinned, channels) = (name.into(), false, Default::default());
            Some(Arc::new(Namespace { name, pinned, channels }))
        };
        let client = |namespace| clients.enter(Endpoints { namespace, ..Endpoints::default() }, 0);
        for name in ["one", "two"] {
            log.push(SlowlogEntry { namespace: namespace(name), ..entry(1) }, 10);
        }
        let one = client(namespace("one"));
        assert_eq!(log.seen_by(&one).map(|entry| entry.id).collect::<Vec<_>>(), [104]);
        log.clear(&one);
        assert_eq!((ids(&log), log.seen_by(&one).count()), (vec![105, 103], 0));
        log.clear(&client(None));
        assert_eq!((ids(&log), log.bytes), (Vec::new(), 0));
    }
}
