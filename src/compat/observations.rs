//! What was seen of an application: which commands it sends, how often, and which keys meet in one request.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::line::{SCRIPT, SeenCommand};
use super::verdict::{runs_script, transaction};
use crate::protocol::command::{Flags, Spec, TransactionCommand, number_of, numbered, recognise};
use crate::protocol::key::Slot;
use crate::protocol::resp::request::Request;

/// Names of commands that are told apart.
const NAMES_MAX: usize = 1_000;

/// Clients whose open transactions are followed, and the bytes of the name of one.
const TRANSACTIONS_MAX: usize = 10_000;
const CLIENT_BYTES_MAX: usize = 256;

/// Databases that are told apart.
const DATABASES_MAX: usize = 1_000;

/// Prefixes of keys that are told apart.
const PREFIXES_MAX: usize = 1_000;

/// Examples that are kept of one kind.
const EXAMPLES_MAX: usize = 3;

/// Bytes that are shown of a key.
const SHOWN_BYTES_MAX: usize = 64;

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Observations {
    /// By the names of the command table.
    pub(super) commands: BTreeMap<String, Usage>,
    /// Transactions whose keys lie in several slots.
    pub(super) wide_transactions: Examples,
    /// The databases that commands were sent to, or that have keys.
    pub(super) databases: BTreeSet<u32>,
    /// Reads and writes by the beginning of the key, up to its first colon.
    pub(super) prefixes: HashMap<String, PrefixUsage>,
    /// Commands that were read one by one.
    pub(super) lines: u64,
    /// Lines that were no commands, or too long, and what went over a bound.
    pub(super) unreadable: u64,
    transactions: HashMap<Vec<u8>, Option<(Slot, String)>>,
    /// The script that MONITOR showed last: its name, and the keys that it declares.
    script: Option<(String, Vec<Vec<u8>>)>,
}

/// What was seen of one command.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Calls that the server counted.
    pub(super) counted: u64,
    /// Requests that were read.
    pub(super) seen: u64,
    /// Requests with keys of several slots.
    pub(super) wide: Examples,
    /// Keys that a script used without declaring them.
    pub(super) undeclared: Examples,
}

/// How often keys with one prefix were read and written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PrefixUsage {
    pub(super) reads: u64,
    pub(super) writes: u64,
}

/// How often something happened, with the first few cases.
#[derive(Debug, Default)]
pub(super) struct Examples {
    pub(super) count: u64,
    pub(super) shown: Vec<String>,
}

// === impl Examples ===

impl Examples {
    fn note(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.shown.len() < EXAMPLES_MAX {
            let example = example();
            if !self.shown.contains(&example) {
                self.shown.push(example);
            }
        }
    }
}

// === impl Observations ===

impl Observations {
    /// Counts a line that cannot be judged.
    pub(super) fn note_unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// Takes one line: of INFO commandstats or keyspace, of MONITOR, or a command.
    pub(super) fn take_line(&mut self, line: &[u8]) {
        let text = line.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            return;
        }
        if let Some(counted) = text.strip_prefix(b"cmdstat_") {
            return self.take_counted(&String::from_utf8_lossy(counted));
        }
        match SeenCommand::read(text) {
            Some(seen) => self.take(&seen),
            None => self.note_unreadable(),
        }
    }

    /// Takes the databases that a section `keyspace` of INFO has.
    pub(super) fn take_keyspace(&mut self, section: &str) {
        let number = |line: &str| line.strip_prefix("db")?.split(':').next()?.parse::<u32>().ok();
        let room = DATABASES_MAX.saturating_sub(self.databases.len());
        self.databases.extend(section.lines().filter_map(number).take(room));
    }

    /// Takes `get:calls=21,usec=175,...`.
    fn take_counted(&mut self, line: &str) {
        let calls = line.split_once(":calls=").and_then(|(name, rest)| {
            let calls: u64 = rest.split(',').next()?.parse().ok()?;
            Some((name, calls))
        });
        match calls {
            Some((name, calls)) => match self.usage(&name.to_ascii_lowercase()) {
                Some(usage) => usage.counted += calls,
                None => self.note_unreadable(),
            },
            None => self.note_unreadable(),
        }
    }

    fn take(&mut self, seen: &SeenCommand<'_>) {
        let request = seen.request.as_request();
        self.lines += 1;
        if self.databases.len() < DATABASES_MAX {
            self.databases.insert(seen.database);
        }
        let recognised = recognise(&request).ok();
        let keys = recognised.map(|spec| keys_of(spec, &request)).unwrap_or_default();
        let wide = two_slots(&keys);
        if seen.client == SCRIPT {
            self.take_of_script(&keys);
        } else {
            let name = recognised
                .map_or_else(|| shown(request.arg(0)).to_ascii_lowercase(), |spec| spec.name.to_owned());
            match self.usage(&name) {
                Some(usage) => {
                    usage.seen += 1;
                    if let Some((one, other)) = wide {
                        usage.wide.note(|| format!("{} and {}", shown(one), shown(other)));
                    }
                }
                None => self.note_unreadable(),
            }
            if let Some(spec) = recognised {
                self.script =
                    runs_script(spec).then(|| (name, keys.iter().map(|key| key.to_vec()).collect()));
                self.follow_transaction(spec, seen.client, &keys);
            }
        }
        if let Some(spec) = recognised {
            keys.iter().for_each(|key| self.note_prefix(spec, key));
        }
    }

    /// What a script calls is shown right behind the script.
    fn take_of_script(&mut self, keys: &[&[u8]]) {
        let Some((name, declared)) = self.script.take() else { return };
        for key in keys.iter().filter(|key| !declared.iter().any(|declared| declared == *key)) {
            if let Some(usage) = self.usage(&name) {
                usage.undeclared.note(|| shown(key));
            }
        }
        self.script = Some((name, declared));
    }

    /// Between MULTI and EXEC all keys of one client have to lie in one slot of a cluster.
    fn follow_transaction(&mut self, spec: &Spec, client: &[u8], keys: &[&[u8]]) {
        match transaction(spec) {
            Some(TransactionCommand::Multi) => {
                if self.transactions.len() < TRANSACTIONS_MAX && client.len() <= CLIENT_BYTES_MAX {
                    self.transactions.insert(client.to_vec(), None);
                } else {
                    self.note_unreadable();
                }
            }
            Some(TransactionCommand::Exec | TransactionCommand::Discard) => {
                self.transactions.remove(client);
            }
            _ => {
                let Some(first) = self.transactions.get_mut(client) else { return };
                for key in keys {
                    match first {
                        None => *first = Some((Slot::of(key), shown(key))),
                        Some((slot, _)) if *slot == Slot::of(key) => {}
                        Some((_, one)) => {
                            let example = format!("{one} and {}", shown(key));
                            self.wide_transactions.note(|| example);
                            self.transactions.remove(client);
                            return;
                        }
                    }
                }
            }
        }
    }

    fn note_prefix(&mut self, spec: &Spec, key: &[u8]) {
        let Some(colon) = key.iter().position(|byte| *byte == b':') else { return };
        let Ok(prefix) = std::str::from_utf8(&key[..=colon]) else { return };
        if prefix.len() > SHOWN_BYTES_MAX
            || self.prefixes.len() >= PREFIXES_MAX && !self.prefixes.contains_key(prefix)
        {
            return;
        }
        let usage = self.prefixes.entry(prefix.to_owned()).or_default();
        usage.reads += u64::from(spec.flags.has(Flags::READ));
        usage.writes += u64::from(spec.flags.has(Flags::WRITE));
    }

    /// The entry of a command; `None` when there are too many.
    fn usage(&mut self, name: &str) -> Option<&mut Usage> {
        // INFO names what the table names; anything else stands for itself.
        let name = numbered(number_of(name)).map_or(name, |spec| spec.name);
        if self.commands.len() >= NAMES_MAX && !self.commands.contains_key(name) {
            return None;
        }
        Some(self.commands.entry(name.to_owned()).or_default())
    }
}

fn keys_of<'a>(spec: &Spec, request: &Request<'a>) -> Vec<&'a [u8]> {
    let positions = spec.keys.positions(request).into_iter().flatten();
    positions.map(|position| request.arg(position)).collect()
}

/// Two of these keys that lie in different slots.
fn two_slots<'a>(keys: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8])> {
    let (first, rest) = keys.split_first()?;
    let slot = Slot::of(first);
    rest.iter().find(|key| Slot::of(key) != slot).map(|other| (*first, *other))
}

/// A key as it is shown to a human.
fn shown(key: &[u8]) -> String {
    let part = &key[..key.len().min(SHOWN_BYTES_MAX)];
    let dots = if part.len() < key.len() { "..." } else { "" };
    format!("{}{dots}", part.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[&str]) -> Observations {
        let mut seen = Observations::default();
        lines.iter().for_each(|line| seen.take_line(line.as_bytes()));
        seen
    }

    #[test]
    fn keys_of_several_slots_in_one_request_are_found() {
        let seen = seen(&["RENAME a b", "RENAME {t}a {t}b", "MGET a b c", "# a comment", "", "SET \"a"]);
        let rename = &seen.commands["rename"];
        assert_eq!((rename.seen, rename.wide.count), (2, 1));
        assert_eq!(rename.wide.shown, ["a and b"]);
        assert_eq!(seen.commands["mget"].wide.count, 1);
        assert_eq!((seen.lines, seen.unreadable), (3, 1));
    }

    #[test]
    fn a_transaction_is_followed_by_its_client() {
        let line = |client: &str, command: &str| format!("1.0 [2 {client}] {command}");
        let lines = [
            line("a:1", "\"MULTI\""),
            line("a:1", "\"SET\" \"a\" \"1\""),
            line("b:1", "\"SET\" \"b\" \"1\""),
            line("a:1", "\"EXEC\""),
            line("b:1", "\"MULTI\""),
            line("b:1", "\"SET\" \"a\" \"1\""),
            line("b:1", "\"SET\" \"b\" \"1\""),
            line("b:1", "\"EXEC\""),
        ];
        let seen = seen(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(seen.wide_transactions.shown, ["a and b"]);
        assert_eq!(seen.wide_transactions.count, 1);
        assert_eq!(seen.databases, BTreeSet::from([2]));
    }

    #[test]
    fn keys_that_a_script_does_not_declare_are_found() {
        let seen = seen(&[
            "1.0 [0 a:1] \"EVAL\" \"return 1\" \"1\" \"k\" \"arg\"",
            "1.0 [0 lua] \"get\" \"k\"",
            "1.0 [0 lua] \"get\" \"other\"",
            "1.0 [0 a:1] \"GET\" \"k\"",
            "1.0 [0 lua] \"get\" \"of no script that was seen\"",
        ]);
        let eval = &seen.commands["eval"];
        assert_eq!((eval.undeclared.count, &eval.undeclared.shown[..]), (1, &["other".to_owned()][..]));
        assert!(!seen.commands.contains_key("of no script that was seen"));
    }

    #[test]
    fn counts_of_the_server_are_taken() {
        let mut seen =
            seen(&["cmdstat_config|get:calls=7,usec=1", "cmdstat_GET:calls=3,usec=1", "cmdstat_broken"]);
        assert_eq!((seen.commands["config|get"].counted, seen.commands["get"].counted), (7, 3));
        assert_eq!(seen.unreadable, 1);
        seen.take_keyspace("# Keyspace\r\ndb0:keys=1,expires=0\r\ndb11:keys=2\r\n");
        assert_eq!(seen.databases, BTreeSet::from([0, 11]));
    }

    #[test]
    fn names_and_prefixes_have_a_bound() {
        let mut seen = Observations::default();
        for number in 0..2 * NAMES_MAX {
            seen.take_line(format!("unknown{number} k").as_bytes());
            seen.take_line(format!("get p{number}:x").as_bytes());
        }
        assert!(seen.commands.len() <= NAMES_MAX && seen.prefixes.len() <= PREFIXES_MAX);
        assert!(seen.unreadable > 0);
    }

    #[test]
    fn databases_and_open_transactions_have_a_bound() {
        let mut seen = Observations::default();
        for number in 0..DATABASES_MAX + 10 {
            seen.take_line(format!("1700000000.000001 [{number} 127.0.0.1:1] \"GET\" \"k\"").as_bytes());
        }
        assert_eq!((seen.databases.len(), seen.unreadable), (DATABASES_MAX, 0));
        seen.take_keyspace(&format!("db{}:keys=1\r\n", 2 * DATABASES_MAX));
        assert_eq!(seen.databases.len(), DATABASES_MAX);
        let multi = |client: &str| format!("1700000000.000001 [0 {client}] \"MULTI\"").into_bytes();
        seen.take_line(&multi(&"c".repeat(CLIENT_BYTES_MAX + 1)));
        assert_eq!((seen.transactions.len(), seen.unreadable), (0, 1));
        for number in 0..TRANSACTIONS_MAX + 3 {
            seen.take_line(&multi(&format!("client-{number}")));
        }
        assert_eq!((seen.transactions.len(), seen.unreadable), (TRANSACTIONS_MAX, 4));
    }
}
