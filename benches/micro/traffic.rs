//! What a client of the rig asks, and what it has to be answered.

use nearside::sandbox::client::encode;

/// Keys of `key:<number>`, each with a value of [`VALUE`].
const KEYS: usize = 100_000;

/// Keys that are missed, one after the other: half of them while nothing is counted yet.
const MISSED_KEYS: usize = 4_096;

/// Keys of one MSET while the server is prepared.
const KEYS_PER_MSET: usize = 1_000;

/// What counts misses that bring something in: such keys cannot be asked for again before they are dropped.
pub(crate) const FILLS: &str = "l1_fills";

const NAMESPACE: &str = "app";

const VALUE: &str =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

/// One kind of traffic.
pub(crate) struct Traffic {
    /// The namespace of all clients, if there is one.
    pub(crate) namespace: Option<&'static str>,
    /// Operations of one round.
    pub(crate) operations: usize,
    /// What the server must have first.
    pub(crate) prepare: Vec<Vec<u8>>,
    /// Asked in turn, each when the one before is answered.
    pub(crate) rounds: Vec<Round>,
    /// Rounds until every buffer has its size and L1 has what it is to have.
    pub(crate) warm_up: usize,
    /// Rounds that are counted.
    pub(crate) counted: usize,
    /// What the daemon counts, and how much of it for each operation: the proof that this is what was
    /// measured.
    pub(crate) proof: (&'static str, usize),
}

/// What is written in one piece, and all that comes back.
pub(crate) struct Round {
    pub(crate) request: Vec<u8>,
    pub(crate) reply: Vec<u8>,
}

/// Each kind there is, and how it is made.
pub(crate) const ALL: &[(&str, fn() -> Traffic)] = &[
    ("hit, depth 1", || hits(1, 1)),
    ("hit, depth 16", || hits(16, 1)),
    ("hit, depth 64", || hits(64, 1)),
    ("hit, depth 16, 100,000 keys", || hits(16, KEYS / 16)),
    ("hit in a namespace, depth 1", || hits_in_namespace(1, 1)),
    ("hit in a namespace, depth 16", || hits_in_namespace(16, 1)),
    ("hit in a namespace, depth 16, 100,000 keys", || hits_in_namespace(16, KEYS / 16)),
    ("hit in a namespace, depth 64", || hits_in_namespace(64, 1)),
    ("hit, depth 1, 4 KiB", large_hit),
    ("MGET of 50 hits", mget),
    ("HGETALL of 20 fields, RESP2", hgetall),
    ("miss, depth 1", || misses(1)),
    ("miss, depth 16", || misses(16)),
    ("write, depth 1", || writes(1)),
    ("write, depth 16", || writes(16)),
];

/// GETs of so many keys each, in so many rounds.
fn hits(depth: usize, rounds: usize) -> Traffic {
    Traffic {
        namespace: None,
        operations: depth,
        prepare: msets("key", depth * rounds),
        rounds: gets("key", depth, rounds),
        warm_up: rounds.max(500),
        counted: (8_192 / depth).max(rounds),
        proof: ("l1_hits", 1),
    }
}

/// What [`hits`] asks, in a namespace.
fn hits_in_namespace(depth: usize, rounds: usize) -> Traffic {
    let prepare = msets(&format!("{NAMESPACE}:key"), depth * rounds);
    Traffic { namespace: Some(NAMESPACE), prepare, ..hits(depth, rounds) }
}

/// GET of 4 KiB.
fn large_hit() -> Traffic {
    let value = "v".repeat(4096);
    Traffic {
        prepare: vec![encode(&["SET", "large", &value])],
        rounds: vec![Round { request: encode(&["GET", "large"]), reply: bulk(&value) }],
        ..hits(1, 1)
    }
}

fn mget() -> Traffic {
    let keys: Vec<String> = (0..50).map(|number| format!("key:{number}")).collect();
    let request: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    let reply = [b"*50\r\n".to_vec(), bulk(VALUE).repeat(50)].concat();
    let rounds = vec![Round { request: encode(&request), reply }];
    let proof = ("l1_hits", 50);
    Traffic { rounds, proof, counted: 2_000, prepare: msets("key", 50), ..hits(1, 1) }
}

/// A map for RESP3, and so a reply that L1 keeps in both versions.
fn hgetall() -> Traffic {
    let pairs: Vec<String> =
        (0..20).flat_map(|number| [format!("field:{number}"), format!("value:{number}")]).collect();
    let hset: Vec<&str> = ["HSET", "hash"].into_iter().chain(pairs.iter().map(String::as_str)).collect();
    let reply = std::iter::once(b"*40\r\n".to_vec()).chain(pairs.iter().map(|text| bulk(text)));
    let reply = reply.collect::<Vec<_>>().concat();
    let rounds = vec![Round { request: encode(&["HGETALL", "hash"]), reply }];
    Traffic { rounds, prepare: vec![encode(&hset)], ..hits(1, 1) }
}

fn misses(depth: usize) -> Traffic {
    let rounds = MISSED_KEYS / depth;
    Traffic {
        namespace: None,
        operations: depth,
        prepare: msets("missed", MISSED_KEYS),
        rounds: gets("missed", depth, rounds),
        warm_up: rounds / 2,
        counted: rounds / 2,
        proof: (FILLS, 1),
    }
}

fn writes(depth: usize) -> Traffic {
    let rounds = 1_024 / depth;
    let round = |round: usize| {
        let numbers = round * depth..(round + 1) * depth;
        let sets = numbers.map(|number| encode(&["SET", &format!("written:{number}"), VALUE]));
        Round { request: sets.collect::<Vec<_>>().concat(), reply: b"+OK\r\n".repeat(depth) }
    };
    Traffic {
        namespace: None,
        operations: depth,
        prepare: Vec::new(),
        rounds: (0..rounds).map(round).collect(),
        warm_up: rounds,
        counted: 4 * rounds,
        proof: ("upstream_commands", 1),
    }
}

fn gets(prefix: &str, depth: usize, rounds: usize) -> Vec<Round> {
    let round = |round: usize| {
        let numbers = round * depth..(round + 1) * depth;
        let gets = numbers.map(|number| encode(&["GET", &format!("{prefix}:{number}")]));
        Round { request: gets.collect::<Vec<_>>().concat(), reply: bulk(VALUE).repeat(depth) }
    };
    (0..rounds).map(round).collect()
}

fn msets(prefix: &str, keys: usize) -> Vec<Vec<u8>> {
    let numbers: Vec<usize> = (0..keys).collect();
    let mset = |numbers: &[usize]| {
        let pairs = numbers.iter().flat_map(|number| [format!("{prefix}:{number}"), VALUE.to_owned()]);
        encode(&std::iter::once("MSET".to_owned()).chain(pairs).collect::<Vec<_>>())
    };
    numbers.chunks(KEYS_PER_MSET).map(mset).collect()
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}
