//! The limits of a node on one client, as far as its settings may be read: beyond them it closes the
//! connection.
//!
//! A shared connection is one client to the node. A command that goes beyond such a limit would end it, and
//! fail what all others have on it; so it is refused before it is sent, with the name of the setting.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::protocol::resp::cursor::{self, Cursor, ReplyHead};
use crate::protocol::resp::encode;
use crate::upstream::rights::Right;

/// The setting for which Redis has an error text of its own.
const BULK: &str = "proto-max-bulk-len";

/// Bytes that a node reads ahead into the buffer that `client-query-buffer-limit` limits.
const READ_AHEAD_BYTES: u64 = 32 * 1024;

/// Exempts a connection from `maxmemory-clients`; it is refused where there is no such thing.
pub(in crate::upstream) const EXEMPT: [&str; 3] = ["CLIENT", "NO-EVICT", "ON"];

/// The settings that a node is asked for: patterns, because Redis before 7 takes one name at a time.
const QUESTIONS: [&[&str]; 4] = [
    &EXEMPT,
    &["CONFIG", "GET", "proto-max-bulk-len"],
    &["CONFIG", "GET", "client-*-limit"],
    &["CONFIG", "GET", "maxmemory*"],
];

/// The limits of one node; `None` where there is none, or it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) struct NodeLimits {
    /// Bytes of one argument: `proto-max-bulk-len`.
    bulk: Option<u64>,
    /// Bytes that wait to be executed, including those of a transaction: `client-query-buffer-limit`.
    query: Option<u64>,
    /// Bytes of replies that wait to be read, at once or for long: `client-output-buffer-limit normal`.
    output: Option<u64>,
    /// Bytes of all clients together, if the connection may be ended for that: `maxmemory-clients`.
    memory: Option<u64>,
    /// It may not be.
    exempted: bool,
    /// A request of at most this size exceeds no limit on requests; `None` if there are no such limits.
    harmless: Option<u64>,
}

/// A limit of a node that a request exceeds. `Display` is the text of the error reply after the name of the
/// node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// What is too large.
    what: LimitKind,
    /// How large it is, in bytes.
    bytes: u64,
    /// How large it may be, in bytes.
    limit: u64,
    /// The setting of the node.
    setting: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitKind {
    Argument,
    Request,
    Transaction,
}

/// The requests that ask for the limits once more, on a connection on which [`questions`] were asked.
pub(in crate::upstream) fn questions_again() -> impl Iterator<Item = Bytes> {
    QUESTIONS[1..].iter().map(|question| encode::request(question))
}

/// The requests that ask for the limits, to be sent in one go.
pub(in crate::upstream) fn questions() -> Bytes {
    let mut out = BytesMut::new();
    QUESTIONS.iter().for_each(|question| out.extend_from_slice(&encode::request(question)));
    out.freeze()
}

/// The answers to those of [`questions`] that need a right.
pub(in crate::upstream) fn rights(answers: &[Bytes]) -> impl Iterator<Item = (Right, Bytes)> {
    [Right::NoEvict, Right::ConfigGet].into_iter().zip(answers.iter().cloned())
}

/// How many replies come to [`questions`].
pub(in crate::upstream) const ANSWERS: usize = QUESTIONS.len();

// === impl NodeLimits ===

impl NodeLimits {
    /// Reads the answers to [`questions`]. What the node refused to say is not known.
    pub(in crate::upstream) fn read(answers: &[Bytes]) -> NodeLimits {
        let Some((exempted, settings)) = answers.split_first() else { return NodeLimits::default() };
        NodeLimits { exempted: exempted.starts_with(b"+"), ..NodeLimits::default() }.renewed(settings)
    }

    /// The limits of this connection, updated by the answers to [`questions_again`].
    pub(in crate::upstream) fn renewed(self, settings: &[Bytes]) -> NodeLimits {
        let mut limits = NodeLimits { exempted: self.exempted, ..NodeLimits::default() };
        let (mut maxmemory, mut of_clients) = (0, None);
        for settings in settings {
            let facts: Vec<&[u8]> = cursor::elements(settings).into_iter().flatten().flatten().collect();
            for fact in facts.chunks_exact(2) {
                let (Some(name), Some(value)) = (text(fact[0]), text(fact[1])) else { continue };
                match name {
                    "proto-max-bulk-len" => limits.bulk = above_zero(value),
                    "client-query-buffer-limit" => limits.query = above_zero(value),
                    "client-output-buffer-limit" => limits.output = output_limit(value),
                    "maxmemory" => maxmemory = value.parse().unwrap_or_default(),
                    "maxmemory-clients" => of_clients = Some(value),
                    _ => {}
                }
            }
        }
        if !limits.exempted {
            limits.memory = of_clients.and_then(|value| share(value, maxmemory));
        }
        let least = [limits.bulk, limits.query, limits.memory].into_iter().flatten().min();
        limits.harmless = least.map(|bytes| bytes.saturating_sub(READ_AHEAD_BYTES));
        limits
    }

    /// Bytes of replies that the node lets wait for one client.
    pub(in crate::upstream) fn replies(&self) -> Option<u64> {
        [self.output, self.memory].into_iter().flatten().min()
    }

    /// The limit that `bytes`, which may be a transaction, would exceed, if any.
    #[inline]
    pub(in crate::upstream) fn excess(&self, bytes: &[u8], transaction: bool) -> Option<Excess> {
        if bytes.len() as u64 <= self.harmless? { None } else { self.excess_in(bytes, transaction) }
    }

    #[cold]
    fn excess_in(&self, bytes: &[u8], transaction: bool) -> Option<Excess> {
        let (whole, longest) = (bytes.len() as u64, longest_argument(bytes) as u64);
        let (request, waits) =
            if transaction { (LimitKind::Transaction, whole) } else { (LimitKind::Argument, longest) };
        let whole_is = if transaction { LimitKind::Transaction } else { LimitKind::Request };
        let beyond = |what, bytes, ahead, limit: Option<u64>, setting| {
            let limit = limit.filter(|limit| bytes + ahead > *limit)?;
            Some(Excess { what, bytes, limit, setting })
        };
        beyond(LimitKind::Argument, longest, 0, self.bulk, BULK)
            .or_else(|| beyond(request, waits, READ_AHEAD_BYTES, self.query, "client-query-buffer-limit"))
            .or_else(|| beyond(whole_is, whole, READ_AHEAD_BYTES, self.memory, "maxmemory-clients"))
    }
}

/// The limits that replies can reach, for the log.
impl fmt::Display for NodeLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.output, self.memory) {
            (Some(bytes), _) => write!(f, "client-output-buffer-limit normal is {bytes} bytes"),
            (None, Some(bytes)) => {
                write!(f, "maxmemory-clients is {bytes} bytes, and CLIENT NO-EVICT ON was refused")
            }
            (None, None) => f.write_str("no limit on replies is known"),
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excess { what, bytes, limit, setting } = self;
        let what = match what {
            LimitKind::Argument => "an argument",
            LimitKind::Request => "the request",
            LimitKind::Transaction => "the transaction",
        };
        write!(f, "takes {limit} bytes ({setting}) and {what} has {bytes}")
    }
}

impl Excess {
    /// Whether an argument is longer than the node takes, for which Redis has an error of its own.
    pub(in crate::upstream) fn is_of_argument(&self) -> bool {
        self.setting == BULK
    }

    /// An example for the documents.
    pub fn example() -> Excess {
        Excess { what: LimitKind::Argument, bytes: 2_097_152, limit: 1_048_576, setting: BULK }
    }

    /// Another one.
    pub fn example_of_a_transaction() -> Excess {
        let (bytes, limit) = (2_200_000, 1_048_576);
        Excess { what: LimitKind::Transaction, bytes, limit, setting: "client-query-buffer-limit" }
    }
}

fn longest_argument(bytes: &[u8]) -> usize {
    let mut cursor = Cursor::new(bytes);
    let mut longest = 0;
    while let Some(head) = cursor.head() {
        if let ReplyHead::Blob { body, .. } = head {
            longest = longest.max(body.len());
        }
    }
    longest
}

fn text(element: &[u8]) -> Option<&str> {
    match cursor::head(element)? {
        ReplyHead::Blob { body, .. } => std::str::from_utf8(body).ok(),
        _ => None,
    }
}

fn above_zero(value: &str) -> Option<u64> {
    value.parse().ok().filter(|bytes| *bytes > 0)
}

/// `normal HARD SOFT SECONDS slave ...`: the lower of the two that are set.
fn output_limit(value: &str) -> Option<u64> {
    let mut words = value.split_ascii_whitespace().skip_while(|word| *word != "normal").skip(1);
    let (hard, soft) = (words.next().and_then(above_zero), words.next().and_then(above_zero));
    [hard, soft].into_iter().flatten().min()
}

/// Bytes, or `5%` of `maxmemory`.
fn share(value: &str, maxmemory: u64) -> Option<u64> {
    let bytes = match value.strip_suffix('%') {
        Some(percent) => maxmemory.checked_mul(percent.parse().ok()?)? / 100,
        None => value.parse().ok()?,
    };
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(exempted: &'static str, settings: &[(&str, &str)]) -> Vec<Bytes> {
        let mut map = format!("%{}\r\n", settings.len());
        for (name, value) in settings {
            map += &format!("${}\r\n{name}\r\n${}\r\n{value}\r\n", name.len(), value.len());
        }
        vec![Bytes::from_static(exempted.as_bytes()), Bytes::from(map)]
    }

    fn limits(exempted: &'static str, settings: &[(&str, &str)]) -> NodeLimits {
        NodeLimits::read(&answers(exempted, settings))
    }

    const OUTPUT: &str = "normal 33554432 16777216 5 slave 268435456 67108864 60 pubsub 33554432 8388608 60";

    #[test]
    fn limits_are_read_as_each_version_writes_them() {
        let settings = [("maxmemory", "1000"), ("maxmemory-clients", "5%")];
        assert_eq!(limits("-ERR unknown\r\n", &settings).replies(), Some(50));
        assert_eq!(limits("+OK\r\n", &settings).replies(), None, "it is exempt");
        assert_eq!(limits("-ERR\r\n", &[("maxmemory-clients", "0")]).replies(), None);
        assert_eq!(limits("+OK\r\n", &[("client-output-buffer-limit", OUTPUT)]).replies(), Some(16_777_216));
        let none = [("client-output-buffer-limit", "normal 0 0 0 slave 1 1 1 pubsub 1 1 1")];
        assert_eq!(limits("+OK\r\n", &none).replies(), None);
    }

    #[test]
    fn what_a_node_does_not_say_or_says_brokenly_is_not_known() {
        for answer in ["-NOPERM\r\n", "*0\r\n", "%1\r\n$3\r\na\r\n", "+OK\r\n", "*1\r\n$1\r\na\r\n", ""] {
            let answer = Bytes::from(answer);
            let exempted = answer.starts_with(b"+");
            let unknown = NodeLimits { exempted, ..NodeLimits::default() };
            assert_eq!(NodeLimits::read(&[answer.clone(), answer]), unknown);
        }
        assert_eq!(NodeLimits::read(&[]), NodeLimits::default());
    }

    #[test]
    fn what_goes_beyond_a_limit_is_named_with_its_setting() {
        let settings = [("proto-max-bulk-len", "1048576"), ("client-query-buffer-limit", "2097152")];
        let limits = limits("+OK\r\n", &settings);
        let value = |bytes: usize| encode::request(&[&b"SET"[..], b"key", &vec![b'v'; bytes]]);
        let said =
            |bytes: &[u8], transaction| limits.excess(bytes, transaction).map(|excess| excess.to_string());
        assert_eq!(said(&value(1_048_576), false), None);
        let bulk = said(&value(1_048_577), false).unwrap();
        assert!(bulk.contains("proto-max-bulk-len") && bulk.contains("1048577"), "{bulk}");
        // Many arguments are taken one after the other, but for those of a transaction.
        let many = [value(1_000_000), value(1_000_000), value(1_000_000)].concat();
        assert_eq!(said(&many, false), None);
        let sum = said(&many, true).unwrap();
        assert!(sum.contains("client-query-buffer-limit") && sum.contains("the transaction"), "{sum}");
        assert_eq!(NodeLimits::default().excess(&many, true), None);
    }
}
