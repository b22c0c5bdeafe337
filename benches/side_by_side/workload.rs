//! What is asked and what must come back: a hot set of keys, and a script of GETs over it with the exact replies.
//!
//! All keys have one length and all values have one length, so a batch of any depth is a slice of the script.

/// The hot set. Small enough that every key is a hit, large enough that no server answers from one cache line.
pub(crate) const KEYS: usize = 1_000;
pub(crate) const VALUE_BYTES: usize = 100;

/// Requests in a script before it starts again; a multiple of every depth.
const SCRIPT_REQUESTS: usize = 16_384;
const SEED: u64 = 0x6e65_6172_7369_6465;

/// How the replies of a server depend on the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replies {
    /// The value of the key.
    OfTheKey,
    /// The value of key 0, whatever was asked.
    Fixed,
}

/// GETs in a row and the bytes that answer them, cut into batches of one pipeline each.
pub(crate) struct Script {
    requests: Vec<u8>,
    replies: Vec<u8>,
    requests_in_batch: usize,
    requests_total: usize,
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
    format!("session:user:{key:06}")
}

/// Different for each key in every eight bytes, so that a reply that belongs to another key is seen.
fn value(key: usize) -> String {
    let mut value = format!("{key:07}.").repeat(VALUE_BYTES.div_ceil(8));
    value.truncate(VALUE_BYTES);
    value
}

// === impl Script ===

impl Script {
    /// GETs of keys drawn evenly from the hot set, the same ones in every run.
    pub(crate) fn random(depth: usize, replies: Replies) -> Script {
        let mut state = SEED;
        let keys = (0..SCRIPT_REQUESTS).map(|_| (split_mix(&mut state) % KEYS as u64) as usize);
        Script::of(keys, depth, replies)
    }

    /// A GET of every key, in order, one at a time.
    pub(crate) fn every_key(replies: Replies) -> Script {
        Script::of(0..KEYS, 1, replies)
    }

    fn of(keys: impl Iterator<Item = usize>, depth: usize, replies: Replies) -> Script {
        let mut script =
            Script { requests: Vec::new(), replies: Vec::new(), requests_in_batch: depth, requests_total: 0 };
        for key in keys {
            script.requests.extend(get_request(key));
            script.replies.extend(reply(if replies == Replies::Fixed { 0 } else { key }));
            script.requests_total += 1;
        }
        script
    }

    pub(crate) fn requests_in_batch(&self) -> usize {
        self.requests_in_batch
    }

    pub(crate) fn batches(&self) -> usize {
        self.requests_total / self.requests_in_batch
    }

    /// Batch number `batch`: the requests to send and the replies to expect. The script starts again at its end.
    pub(crate) fn batch(&self, batch: usize) -> (&[u8], &[u8]) {
        let batch = batch % self.batches();
        (self.cut(&self.requests, batch), self.cut(&self.replies, batch))
    }

    fn cut<'a>(&self, bytes: &'a [u8], batch: usize) -> &'a [u8] {
        let length = bytes.len() / self.requests_total * self.requests_in_batch;
        &bytes[batch * length..(batch + 1) * length]
    }
}

/// SplitMix64: even enough to draw keys with, and no dependency.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
