//! Drawn traces, the same in each run: popularity by Zipf's law, and what makes a cache's life hard.

use crate::request::{Key, Request};
use crate::sizes::{self, Sizes};
use crate::trace::{Size, Trace};

/// Requests of each, and keys that are popular, unless a trace says otherwise.
const REQUESTS: usize = 2_000_000;
const KEYS: usize = 300_000;

const SEED: u64 = 42;

/// How a trace is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generated {
    pub(crate) name: &'static str,
    requests: usize,
    keys: usize,
    /// The exponent of Zipf's law.
    exponent: f64,
    /// Part of the requests that are for keys which are never asked for again.
    once: f64,
    /// Part of the requests that write, a key drawn as for a read.
    writes: f64,
    /// Each time that so many requests have come, a key is replaced by a new one of the same popularity.
    churn_every: Option<usize>,
    /// Each time that so many requests have come, so many keys are read in a row. They are apart from the
    /// popular ones, and four scans read all of them.
    scan: Option<(usize, usize)>,
    sizes: Drawn,
}

#[derive(Clone, Copy, Debug)]
enum Drawn {
    ByKey(Sizes),
    /// All are alike.
    Fixed(Size),
}

const ZIPF: Generated = Generated {
    name: "zipf 0.99",
    requests: REQUESTS,
    keys: KEYS,
    exponent: 0.99,
    once: 0.0,
    writes: 0.0,
    churn_every: None,
    scan: None,
    sizes: Drawn::ByKey(sizes::SMALL),
};

/// All but the loop. Those that are like a cluster of Twitter's have its bytes of keys and values, its
/// exponent and its part of keys that are read once, as its published table says; how fast keys are replaced
/// is a guess.
const ALL: [Generated; 11] = [
    Generated { name: "zipf 0.8", exponent: 0.8, ..ZIPF },
    ZIPF,
    Generated { name: "zipf 1.2", exponent: 1.2, ..ZIPF },
    Generated { name: "zipf 0.99, 5 % writes", writes: 0.05, ..ZIPF },
    Generated { name: "zipf 0.99, churn", churn_every: Some(10), ..ZIPF },
    Generated { name: "zipf 0.99, scans", scan: Some((60_000, 30_000)), ..ZIPF },
    Generated { name: "zipf 0.99, 1/4 read once", once: 0.25, ..ZIPF },
    Generated {
        name: "mixed sizes",
        requests: REQUESTS / 4,
        keys: KEYS / 6,
        sizes: Drawn::ByKey(sizes::MIXED),
        ..ZIPF
    },
    twitter("like Twitter 52", 1.21, 0.006, 60, Size { key: 20, value: 273 }),
    twitter("like Twitter 54", 1.0, 0.055, 30, Size { key: 19, value: 246 }),
    twitter("like Twitter 45", 0.64, 0.17, 20, Size { key: 10, value: 120 }),
];

const fn twitter(name: &'static str, exponent: f64, once: f64, churn_every: usize, size: Size) -> Generated {
    Generated { name, exponent, once, churn_every: Some(churn_every), sizes: Drawn::Fixed(size), ..ZIPF }
}

/// The name of the trace that [`draw_loop`] draws.
pub(crate) const LOOP: &str = "loop, like P6";
/// One in so many keys of the loop is in the part that comes round more often.
const LOOP_HOT_ONE_IN: usize = 14;
/// Part of the requests that go on with the hot part, and with the rest.
const LOOP_HOT: f64 = 0.35;
const LOOP_REST: f64 = 0.55;
/// Other requests repeat one of so many before.
const LOOP_RECENT: usize = 1_000;

/// Numbers drawn by Zipf's law.
#[derive(Debug)]
pub(crate) struct Zipf {
    /// Of each number the probability that it, or one before it, is drawn.
    cumulated: Vec<f64>,
}

/// Draws each trace, in turn, with a part of its requests and keys: `divisor` 1 is all.
pub(crate) fn all(divisor: usize) -> impl Iterator<Item = Trace> {
    let by_popularity = ALL.into_iter().map(move |generated| generated.draw(divisor));
    by_popularity.chain(std::iter::once_with(move || draw_loop(REQUESTS / divisor, KEYS / divisor)))
}

/// A loop over far more than the cache holds, of which a fourteenth comes round eight times as often as the
/// rest, and yet not soon enough for LRU: from one of its turns to the next 18 % of all keys are read. A
/// tenth of the requests repeat what was read just before. P6, a trace of a workstation's disk, is such a
/// loop.
fn draw_loop(requests: usize, keys: usize) -> Trace {
    let mut random = fastrand::Rng::with_seed(SEED);
    let hot = keys / LOOP_HOT_ONE_IN;
    let (mut in_hot, mut in_rest) = (0, 0);
    let mut drawn: Vec<Key> = Vec::with_capacity(requests);
    while drawn.len() < requests {
        let chance = random.f64();
        let next = if drawn.is_empty() || chance < LOOP_HOT {
            in_hot = (in_hot + 1) % hot;
            in_hot as Key
        } else if chance < LOOP_HOT + LOOP_REST {
            in_rest = (in_rest + 1) % (keys - hot);
            (hot + in_rest) as Key
        } else {
            drawn[drawn.len() - 1 - random.usize(..LOOP_RECENT.min(drawn.len()))]
        };
        drawn.push(next);
    }
    numbered(LOOP, drawn.into_iter().map(Request::Read).collect(), Drawn::ByKey(sizes::SMALL))
}

// === impl Generated ===

impl Generated {
    fn draw(&self, divisor: usize) -> Trace {
        let mut random = fastrand::Rng::with_seed(SEED);
        let keys = self.keys / divisor;
        let zipf = Zipf::new(keys, self.exponent);
        // Which key has which popularity.
        let mut popular: Vec<Key> = (0..keys as Key).collect();
        random.shuffle(&mut popular);
        let (scan_every, scan_keys) =
            self.scan.map_or((usize::MAX, 0), |(every, keys)| (every, keys / divisor));
        let scanned = keys as Key;
        let mut new = (keys + 4 * scan_keys) as Key;
        let mut take_new = || {
            new += 1;
            new - 1
        };
        let mut scan_at = 0;
        let mut requests = Vec::with_capacity(self.requests / divisor);
        for turn in 1..=self.requests / divisor {
            if self.churn_every.is_some_and(|every| turn % every == 0) {
                popular[zipf.draw(&mut random)] = take_new();
            }
            if turn % scan_every == 0 {
                for _ in 0..scan_keys {
                    requests.push(Request::Read(scanned + scan_at as Key));
                    scan_at = (scan_at + 1) % (4 * scan_keys);
                }
            }
            requests.push(if random.f64() < self.once {
                Request::Read(take_new())
            } else if random.f64() < self.writes {
                Request::Write(popular[zipf.draw(&mut random)])
            } else {
                Request::Read(popular[zipf.draw(&mut random)])
            });
        }
        numbered(self.name, requests, self.sizes)
    }
}

/// Gives the keys of `requests` numbers in the order in which they come, and sizes.
fn numbered(name: &str, mut requests: Vec<Request>, drawn: Drawn) -> Trace {
    const NONE: Key = Key::MAX;
    let largest = requests.iter().map(|request| request.key()).max().unwrap();
    let mut numbers = vec![NONE; largest as usize + 1];
    let mut count = 0;
    for request in &mut requests {
        let (Request::Read(key) | Request::Write(key)) = request;
        let number = &mut numbers[*key as usize];
        if *number == NONE {
            *number = count;
            count += 1;
        }
        *key = *number;
    }
    let size = |key| match drawn {
        Drawn::ByKey(sizes) => sizes.of(key),
        Drawn::Fixed(size) => size,
    };
    Trace { name: name.to_owned(), is_recorded: false, requests, sizes: (0..count).map(size).collect() }
}

// === impl Zipf ===

impl Zipf {
    pub(crate) fn new(count: usize, exponent: f64) -> Zipf {
        let mut sum = 0.0;
        let weights = (1..=count).map(|rank| (rank as f64).powf(-exponent));
        let mut cumulated: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        cumulated.iter_mut().for_each(|place| *place /= sum);
        Zipf { cumulated }
    }

    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> usize {
        let at = random.f64();
        self.cumulated.partition_point(|place| *place < at).min(self.cumulated.len() - 1)
    }
}
