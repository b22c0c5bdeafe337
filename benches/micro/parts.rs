//! The parts of a request's way that need nothing around them.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nearside::cache::policy::AdmissionRule;
use nearside::cache::{
    CacheLimits, CacheQuery, CommandId, Commit, Lifetime, Lookup, NearCache, SharedCache, VersionedReply,
};
use nearside::clock;
use nearside::invalidation::Invalidation;
use nearside::net::write_queue::WriteQueue;
use nearside::node::Epoch;
use nearside::protocol::command::{cached_number_of, recognise};
use nearside::protocol::db::DbIndex;
use nearside::protocol::key::Slot;
use nearside::protocol::resp::request::OwnedRequest;
use nearside::protocol::resp::resp2::{self, Form};
use nearside::protocol::resp::scan::{RequestLimits, RequestScanner, ScanOutcome};
use nearside::sandbox::client::encode;
use nearside::stats::WorkerStats;

/// One part.
pub(crate) struct Part {
    /// Operations of one call.
    pub(crate) operations: usize,
    pub(crate) call: Box<dyn FnMut()>,
}

/// Calls before anything is counted, and while something is.
pub(crate) const WARM_UP: usize = 1_000;
pub(crate) const COUNTED: usize = 4_096;

/// A near cache with keys in it, as one worker uses it.
pub(crate) struct Cache {
    pub(crate) near: NearCache<()>,
    keys: Vec<Asked>,
    reply: VersionedReply,
    stats: Arc<WorkerStats>,
    epoch: Epoch,
    /// Where replies are put.
    out: RefCell<WriteQueue>,
}

/// GET of a key.
pub(crate) struct Asked {
    pub(crate) key: Bytes,
    tail: Vec<u8>,
}

static GET_COMMAND: LazyLock<CommandId> =
    LazyLock::new(|| CommandId::in_database(cached_number_of("get"), DbIndex::default()).unwrap());

/// Bytes of values.
pub(crate) const SMALL: usize = 100;
pub(crate) const LARGE: usize = 16_384;

/// Each part there is, and how it is made.
pub(crate) const ALL: &[(&str, fn() -> Part)] = &[
    ("scan, 16 GETs", scan),
    ("command lookup", command_lookup),
    ("RESP2 form, HGETALL of 20", || resp2_form(Form::ByRule, &["HGETALL", "hash"], &hash_reply())),
    ("RESP2 form, ZRANGE of 20 with scores", || {
        resp2_form(Form::Flattened, &["ZRANGE", "z", "0", "-1", "WITHSCORES"], &scores_reply())
    }),
    ("RESP2 form, array of 50, the same", || {
        resp2_form(Form::ByRule, &["LRANGE", "l", "0", "-1"], &list_reply())
    }),
    ("near cache, hit", || lookups(16, SMALL)),
    ("near cache, hit of 16 KiB", || lookups(1_024, LARGE)),
    ("near cache, miss", near_cache_miss),
    ("near cache, fill, commit and invalidate", fill_and_invalidate),
    ("near cache, invalidate what is not kept", invalidate_absent),
];

fn scan() -> Part {
    let limits = RequestLimits {
        args_max: 1 << 20,
        bulk_bytes_max: 512 << 20,
        request_bytes_max: 1 << 30,
        inline_bytes_max: 64 << 10,
    };
    let mut scanner = RequestScanner::new(limits);
    let bytes = (0..16).flat_map(|number| encode(&["GET", &format!("key:{number}")])).collect::<Vec<_>>();
    let call = Box::new(move || {
        let mut rest = black_box(&bytes[..]);
        while !rest.is_empty() {
            let Ok(ScanOutcome::Request(length)) = scanner.scan(rest) else { panic!("these are requests") };
            black_box(scanner.args());
            rest = &rest[length..];
        }
    });
    Part { operations: 16, call }
}

fn command_lookup() -> Part {
    let requests = [
        "GET k",
        "set k v",
        "HGETALL k",
        "MGET a b",
        "EXPIRE k 1",
        "zrangebyscore k 0 1",
        "PING",
        "CONFIG GET a",
    ];
    let requests = requests.map(|request| OwnedRequest::from_args(request.split(' ')));
    let operations = requests.len();
    let call = Box::new(move || {
        for request in &requests {
            assert!(black_box(recognise(black_box(&request.as_request()))).is_ok());
        }
    });
    Part { operations, call }
}

fn resp2_form(form: Form, request: &[&str], reply: &str) -> Part {
    let request = OwnedRequest::from_args(request);
    let reply = reply.to_owned().into_bytes();
    let mut out = BytesMut::with_capacity(2 * reply.len());
    let call = Box::new(move || {
        out.clear();
        // As the proxy does: what is the same already is not written anew.
        if resp2::needs_conversion(black_box(&reply), form) {
            resp2::to_resp2(&reply, form, &request.as_request(), &mut out).unwrap();
        }
        black_box(&out);
    });
    Part { operations: 1, call }
}

fn hash_reply() -> String {
    (0..20)
        .map(|number| format!("$8\r\nfield:{number:02}\r\n$8\r\nvalue:{number:02}\r\n"))
        .fold("%20\r\n".to_owned(), join)
}

fn scores_reply() -> String {
    (0..20)
        .map(|number| format!("*2\r\n$9\r\nmember:{number:02}\r\n,{number}.5\r\n"))
        .fold("*20\r\n".to_owned(), join)
}

fn list_reply() -> String {
    (0..50).map(|number| format!("$10\r\nelement:{number:02}\r\n")).fold("*50\r\n".to_owned(), join)
}

fn join(all: String, one: String) -> String {
    all + &one
}

fn lookups(keys: usize, value_bytes: usize) -> Part {
    let cache = Cache::new(&shared(), "key", keys, value_bytes);
    cache.fill();
    let mut turn = 0;
    let call = Box::new(move || {
        assert!(cache.lookup(turn));
        turn += 1;
    });
    Part { operations: 1, call }
}

fn near_cache_miss() -> Part {
    let cache = Cache::new(&shared(), "key", 1_024, SMALL);
    let mut turn = 0;
    let call = Box::new(move || {
        assert!(!cache.lookup(turn));
        turn += 1;
    });
    Part { operations: 1, call }
}

fn fill_and_invalidate() -> Part {
    let cache = Cache::new(&shared(), "key", 1_024, SMALL);
    let mut turn = 0;
    let call = Box::new(move || {
        cache.fill_one(turn);
        cache.invalidate(turn);
        turn += 1;
    });
    Part { operations: 1, call }
}

fn invalidate_absent() -> Part {
    let cache = Cache::new(&shared(), "key", 1_024, SMALL);
    let mut turn = 0;
    let call = Box::new(move || {
        cache.invalidate(turn);
        turn += 1;
    });
    Part { operations: 1, call }
}

/// A near cache that has room for all that is put into it here.
pub(crate) fn shared() -> Arc<SharedCache> {
    shared_of(256 << 20)
}

/// One with so much room.
pub(crate) fn shared_of(bytes_max: u64) -> Arc<SharedCache> {
    // Hashes are drawn from here: they are the same in each run.
    fastrand::seed(1);
    let limits = CacheLimits {
        bytes_max,
        entry_bytes_max: 1 << 20,
        ttl: Duration::from_secs(3_600),
        negative_ttl: Duration::from_secs(5),
        // As the daemon does, but for keys that are never read between two invalidations.
        admission: AdmissionRule::Always,
        sampled: None,
        several_workers: false,
    };
    Arc::new(SharedCache::new(limits, Arc::default()))
}

// === impl Cache ===

impl Cache {
    /// The view of another worker of `shared`, which will ask for so many keys with values of so many bytes.
    pub(crate) fn new(shared: &Arc<SharedCache>, prefix: &str, keys: usize, value_bytes: usize) -> Cache {
        let stats = Arc::<WorkerStats>::default();
        let near = NearCache::new(shared.clone(), stats.clone());
        let keys = (0..keys).map(|number| {
            let key = format!("{prefix}:{number}");
            Asked { tail: format!("${}\r\n{key}\r\n", key.len()).into_bytes(), key: key.into() }
        });
        let value = "v".repeat(value_bytes);
        let reply = VersionedReply { resp3: format!("${value_bytes}\r\n{value}\r\n").into(), resp2: None };
        Cache {
            near,
            keys: keys.collect(),
            reply,
            stats,
            epoch: Epoch::begin(u64::MAX),
            out: RefCell::default(),
        }
    }

    /// Brings all keys in.
    pub(crate) fn fill(&self) {
        for turn in 0..self.keys.len() {
            self.fill_one(turn);
            assert!(self.lookup(turn));
        }
    }

    /// Looks for the key whose turn it is; whether it was found.
    #[inline]
    pub(crate) fn lookup(&self, turn: usize) -> bool {
        let asked = self.asked(turn);
        // The clock is read once for a batch of requests, and here not at all.
        let out = &mut *self.out.borrow_mut();
        matches!(black_box(&self.near.lookup(&asked.query(), 1, || asked.slot(), out)), Lookup::Hit(_))
    }

    /// Brings in the key whose turn it is.
    pub(crate) fn fill_one(&self, turn: usize) {
        let asked = self.asked(turn);
        let now = clock::now();
        let query = asked.query();
        let out = &mut *self.out.borrow_mut();
        let Lookup::Miss(missed) = self.near.lookup(&query, now, || asked.slot(), out) else {
            panic!("it was not to be there")
        };
        let ticket = self.near.ticket(&missed, self.epoch.clone());
        let lead = self.near.begin_fill(&query, Bytes::copy_from_slice(query.args), ticket.clone());
        let commit = self.near.commit(&ticket, &query, &self.reply, Lifetime::Unbounded, now);
        assert_eq!(commit, Commit::Kept);
        self.near.finish_fill(lead, &());
    }

    /// What a node's push does.
    pub(crate) fn invalidate(&self, turn: usize) {
        let keys = Invalidation::Keys(vec![self.asked(turn).key.clone()]);
        self.near.shared().invalidate(&keys, &self.stats);
    }

    /// The key whose turn it is.
    pub(crate) fn asked(&self, turn: usize) -> &Asked {
        &self.keys[turn % self.keys.len()]
    }
}

// === impl Asked ===

impl Asked {
    fn query(&self) -> CacheQuery<'_> {
        CacheQuery { command: *GET_COMMAND, key: &self.key, args: &self.tail }
    }

    fn slot(&self) -> Slot {
        Slot::of(&self.key)
    }
}
