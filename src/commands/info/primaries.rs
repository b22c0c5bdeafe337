//! The facts that the primaries report about their data, added up.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::router::{QueryReply, Router};

/// A primary that has not answered by then is left out.
const PATIENCE: Duration = Duration::from_millis(500);

/// All primaries as one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Primaries {
    /// What they have in each database.
    pub(super) databases: BTreeMap<u32, DatabaseKeys>,
    /// Bytes that the data may take; 0 when any primary has no bound.
    pub(super) maxmemory: u64,
    pub(super) maxmemory_policy: Option<String>,
    /// The section `keyspace` of one server, or of a namespace.
    pub(super) keyspace: Option<String>,
    /// How many answered.
    pub(super) answered: usize,
    /// How many did not.
    pub(super) missing: usize,
}

/// The keys of one database on all primaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DatabaseKeys {
    pub(super) keys: u64,
    /// Keys with a time to live.
    pub(super) expires: u64,
    /// The sum of those times, in milliseconds.
    ttl_sum: u128,
}

/// Asks all primaries at once.
pub(super) fn ask(router: &Rc<Router>) -> impl Future<Output = Primaries> + 'static + use<> {
    let is_cluster = router.upstream().is_cluster();
    let asked: Vec<QueryReply> = router.queries.send_to_primaries(&["INFO"], true);
    async move {
        let replies = asked.into_iter().map(|asked| tokio::time::timeout(PATIENCE, asked));
        let mut primaries = Primaries::default();
        for reply in join_all(replies).await {
            match reply {
                Ok(Ok(frame)) => {
                    let info = text(&frame);
                    primaries.add(&info);
                    primaries.keyspace = (!is_cluster).then(|| databases(&info).collect());
                }
                _ => primaries.missing += 1,
            }
        }
        primaries
    }
}

/// The lines about databases.
fn databases(info: &str) -> impl Iterator<Item = &str> {
    let section = info.split("# Keyspace\r\n").nth(1).unwrap_or_default();
    section.split_inclusive("\r\n").take_while(|line| line.starts_with("db"))
}

/// The lines about the databases of a namespace, by how many keys each has. How many of them have a time to
/// live is not counted.
pub(super) fn lines(databases: impl Iterator<Item = (u32, u64)>) -> String {
    let mut lines = String::new();
    for (number, keys) in databases.filter(|(_, keys)| *keys > 0) {
        // Writing to a String cannot fail.
        let _ = write!(lines, "db{number}:keys={keys},expires=0,avg_ttl=0\r\n");
    }
    lines
}

fn text(frame: &Bytes) -> String {
    match cursor::head(frame) {
        Some(ReplyHead::Blob { body, .. }) => String::from_utf8_lossy(body).into_owned(),
        _ => String::new(),
    }
}

// === impl Primaries ===

impl Primaries {
    /// Adds what one primary said with INFO.
    fn add(&mut self, info: &str) {
        self.answered += 1;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let maxmemory = field("maxmemory:").and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or_default();
        let unbounded = maxmemory == 0 || (self.answered > 1 && self.maxmemory == 0);
        self.maxmemory = if unbounded { 0 } else { self.maxmemory + maxmemory };
        self.maxmemory_policy =
            self.maxmemory_policy.take().or_else(|| field("maxmemory_policy:").map(str::to_owned));
        for line in databases(info) {
            let Some((name, values)) = line.trim_end().split_once(':') else { continue };
            if let Some(Ok(number)) = name.strip_prefix("db").map(str::parse) {
                self.databases.entry(number).or_default().add(values);
            }
        }
    }
}

// === impl DatabaseKeys ===

impl DatabaseKeys {
    /// Adds what one primary said of its part, behind the name of the database.
    fn add(&mut self, values: &str) {
        let number = |name: &str| {
            let value = values.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<u64>().ok()).unwrap_or_default()
        };
        self.keys += number("keys");
        self.expires += number("expires");
        self.ttl_sum += u128::from(number("avg_ttl")) * u128::from(number("expires"));
    }

    /// The mean time to live, in milliseconds.
    pub(super) fn average_ttl(self) -> u64 {
        self.ttl_sum.checked_div(u128::from(self.expires)).unwrap_or_default() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_without_keys_has_no_line() {
        assert_eq!(
            lines([(0, 2), (1, 0), (2, 7)].into_iter()),
            "db0:keys=2,expires=0,avg_ttl=0\r\ndb2:keys=7,expires=0,avg_ttl=0\r\n"
        );
    }

    #[test]
    fn primaries_are_added_up() {
        let mut all = Primaries::default();
        for info in [
            "maxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n\r\n# Keyspace\r\n\
             db0:keys=3,expires=1,avg_ttl=1000,subexpiry=0\r\ndb2:keys=1,expires=0,avg_ttl=0\r\n",
            "maxmemory:50\r\nmaxmemory_policy:noeviction\r\n",
            "maxmemory:50\r\n# Keyspace\r\ndb0:keys=4,expires=3,avg_ttl=2000\r\n",
        ] {
            all.add(info);
        }
        let first = all.databases[&0];
        assert_eq!((first.keys, first.expires, first.average_ttl(), all.maxmemory), (7, 4, 1_750, 200));
        assert_eq!(all.databases[&2].keys, 1);
        assert_eq!(all.maxmemory_policy.as_deref(), Some("allkeys-lru"));
        all.add("maxmemory:0\r\n");
        all.add("maxmemory:10\r\n");
        assert_eq!((all.maxmemory, all.answered), (0, 5), "one without a bound is no bound");
    }
}
