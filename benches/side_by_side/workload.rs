//! What is asked and what must come back: sets of keys, and endless GETs over one of them with the exact
//! replies.
//!
//! All keys have one length and all values have one length, so only digits differ between one request and
//! another.

use std::fmt;

pub(crate) const VALUE_BYTES: usize = 100;

/// GETs in a script before it starts again; a multiple of every depth.
const SCRIPT_REQUESTS: usize = 1 << 20;
/// How steeply the draws of [`Keys::Zipf`] fall off: the figure of YCSB.
const ZIPF_EXPONENT: f64 = 0.99;
const SEED: u64 = 0x6e65_6172_7369_6465;

/// Which keys are asked for, and how often each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// A thousand, evenly: everything that a server touches stays in the caches of the CPU.
    Few,
    /// A hundred thousand, some far more often than others, as in a cache that is used.
    Zipf,
    /// A million, evenly: hardly anything is in the caches of the CPU.
    Uniform,
}

/// How the replies of a server depend on the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replies {
    /// The value of the key.
    OfTheKey,
    /// The value of key 0, whatever was asked.
    Fixed,
}

/// GETs in a row, cut into batches of one pipeline each.
pub(crate) struct Script {
    keys: Vec<u32>,
    replies: Replies,
}

/// One pipeline: its requests, and the replies to expect.
pub(crate) struct Batch {
    pub(crate) requests: Vec<u8>,
    pub(crate) replies: Vec<u8>,
    depth: usize,
}

/// The reply to a GET of key number `key`.
pub(crate) fn reply(key: usize) -> Vec<u8> {
    format!("${VALUE_BYTES}\r\n{}\r\n", value(key)).into_bytes()
}

/// The request that stores key number `key`.
pub(crate) fn set_request(key: usize) -> Vec<u8> {
    let (name, value) = (name(key), value(key));
    format!("*3\r\n$3\r\nSET\r\n${}\r\n{name}\r\n${VALUE_BYTES}\r\n{value}\r\n", name.len()).into_bytes()
}

fn get_request(key: usize) -> Vec<u8> {
    let name = name(key);
    format!("*2\r\n$3\r\nGET\r\n${}\r\n{name}\r\n", name.len()).into_bytes()
}

fn name(key: usize) -> String {
    format!("session:user:{key:08}")
}

/// Different for each key in every eight bytes, so that a reply that belongs to another key is seen.
fn value(key: usize) -> String {
    let mut value = format!("{key:08}").repeat(VALUE_BYTES.div_ceil(8));
    value.truncate(VALUE_BYTES);
    value
}

// === impl Keys ===

impl Keys {
    pub(crate) fn count(self) -> usize {
        match self {
            Keys::Few => 1_000,
            Keys::Zipf => 100_000,
            Keys::Uniform => 1_000_000,
        }
    }

    /// Keys as they are asked for, the same ones in every run.
    fn draws(self) -> Vec<u32> {
        let mut state = SEED;
        let mut draw = || split_mix(&mut state);
        match self {
            Keys::Few | Keys::Uniform => {
                (0..SCRIPT_REQUESTS).map(|_| (draw() % self.count() as u64) as u32).collect()
            }
            Keys::Zipf => {
                let mut sum = 0.0;
                let weights = (1..=self.count()).map(|rank| (rank as f64).powf(-ZIPF_EXPONENT));
                let sums: Vec<f64> = weights.map(|weight| (sum += weight, sum).1).collect();
                let mut point = || (draw() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
                (0..SCRIPT_REQUESTS)
                    .map(|_| {
                        let point = point();
                        sums.partition_point(|sum| *sum < point).min(self.count() - 1) as u32
                    })
                    .collect()
            }
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Keys::Few => "few keys",
            Keys::Zipf => "zipf keys",
            Keys::Uniform => "uniform keys",
        })
    }
}

// === impl Script ===

impl Script {
    /// GETs of keys drawn from `keys`.
    pub(crate) fn drawn(keys: Keys, replies: Replies) -> Script {
        Script { keys: keys.draws(), replies }
    }

    /// A GET of every one of so many keys, in order.
    pub(crate) fn every_key(count: usize, replies: Replies) -> Script {
        Script { keys: (0..count as u32).collect(), replies }
    }

    /// How many batches of this depth there are before the script starts again.
    pub(crate) fn batches(&self, depth: usize) -> usize {
        self.keys.len() / depth
    }

    /// Makes `batch` number `number` of this script.
    pub(crate) fn write(&self, number: usize, batch: &mut Batch) {
        let depth = batch.depth;
        let begin = number % self.batches(depth) * depth;
        let (request_bytes, reply_bytes) = (batch.requests.len() / depth, batch.replies.len() / depth);
        let requests = batch.requests.chunks_exact_mut(request_bytes);
        let replies = batch.replies.chunks_exact_mut(reply_bytes);
        for ((key, request), reply) in self.keys[begin..begin + depth].iter().zip(requests).zip(replies) {
            let digits = digits(*key);
            request[request_bytes - 10..request_bytes - 2].copy_from_slice(&digits);
            if self.replies == Replies::OfTheKey {
                let body = &mut reply[reply_bytes - 2 - VALUE_BYTES..reply_bytes - 2];
                body.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&digits[..chunk.len()]));
            }
        }
    }
}

// === impl Batch ===

impl Batch {
    /// `depth` GETs of key 0.
    pub(crate) fn new(depth: usize) -> Batch {
        Batch { requests: get_request(0).repeat(depth), replies: reply(0).repeat(depth), depth }
    }
}

fn digits(mut number: u32) -> [u8; 8] {
    let mut digits = [b'0'; 8];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// SplitMix64: even enough to draw keys with, and no dependency.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
