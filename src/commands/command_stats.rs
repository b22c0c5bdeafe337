//! Counts how often each command was sent, refused and answered with an error, for commandstats and
//! errorstats of INFO.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::protocol::command;
use crate::stats::Counter;

/// Different codes of errors that are counted each for itself, as in Valkey; all further ones count as
/// [`OTHERS`].
const CODES_MAX: usize = 128;

/// Where those are counted.
const OTHERS: &str = "ERRORSTATS_OVERFLOW";

/// A code is looked for in so much of an error, as in Redis.
const CODE_BYTES_MAX: usize = 32;

/// What one worker counts, by the number of the command; number 0 is none.
#[derive(Debug)]
pub struct CommandStats {
    calls: Box<[Counter]>,
    errors: Box<[Errors]>,
}

/// How one command failed.
#[derive(Debug, Default)]
struct Errors {
    rejected: Counter,
    failed: Counter,
}

/// What all workers count.
#[derive(Debug)]
pub(crate) struct AllCommandStats {
    pub(super) workers: Vec<Arc<CommandStats>>,
    codes: Mutex<BTreeMap<String, u64>>,
    all_errors: AtomicU64,
    /// The sums when CONFIG RESETSTAT was sent last.
    baseline: Mutex<Vec<CommandTotals>>,
}

/// What all workers together counted of one command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CommandTotals {
    pub(super) calls: u64,
    pub(super) rejected: u64,
    pub(super) failed: u64,
}

// === impl CommandStats ===

impl Default for CommandStats {
    fn default() -> CommandStats {
        CommandStats {
            calls: (0..command::NUMBERS).map(|_| Counter::default()).collect(),
            errors: (0..command::NUMBERS).map(|_| Errors::default()).collect(),
        }
    }
}

impl CommandStats {
    /// A command is carried out.
    #[inline]
    pub(crate) fn call(&self, command: usize) {
        self.calls[command].bump();
    }
}

// === impl AllCommandStats ===

impl AllCommandStats {
    pub(super) fn new(workers: usize) -> AllCommandStats {
        AllCommandStats {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            codes: Mutex::default(),
            all_errors: AtomicU64::new(0),
            baseline: Mutex::new(vec![CommandTotals::default(); command::NUMBERS]),
        }
    }

    /// `command` was answered with the error `reply`: `rejected` before it was carried out, or not.
    #[cold]
    pub(crate) fn failed(&self, worker: &CommandStats, command: usize, rejected: bool, reply: &[u8]) {
        let errors = &worker.errors[command];
        if rejected {
            errors.rejected.bump()
        } else {
            errors.failed.bump()
        }
        self.all_errors.fetch_add(1, Relaxed);
        let code = code(reply);
        let mut codes = self.codes.lock();
        let code = if codes.len() < CODES_MAX || codes.contains_key(&*code) { &*code } else { OTHERS };
        *codes.entry(code.to_owned()).or_default() += 1;
    }

    /// The counts of each command since CONFIG RESETSTAT, by name, without commands that were not sent.
    pub(super) fn commands(&self) -> Vec<(&'static str, CommandTotals)> {
        let baseline = self.baseline.lock();
        let since = self.sums().into_iter().zip(&*baseline).map(|(sums, before)| sums.since(before));
        let named = since.enumerate().filter(|(_, sums)| *sums != CommandTotals::default());
        named.filter_map(|(number, sums)| Some((command::named(number)?, sums))).collect()
    }

    /// How often each code of an error was sent since CONFIG RESETSTAT.
    pub(super) fn codes(&self) -> BTreeMap<String, u64> {
        self.codes.lock().clone()
    }

    /// How many errors were sent since CONFIG RESETSTAT.
    pub(super) fn all_errors(&self) -> u64 {
        self.all_errors.load(Relaxed)
    }

    /// Sets all counts to zero.
    pub(super) fn reset(&self) {
        self.codes.lock().clear();
        self.all_errors.store(0, Relaxed);
        *self.baseline.lock() = self.sums();
    }

    fn sums(&self) -> Vec<CommandTotals> {
        let mut sums = vec![CommandTotals::default(); command::NUMBERS];
        for worker in &self.workers {
            for ((sums, calls), errors) in sums.iter_mut().zip(&worker.calls).zip(&worker.errors) {
                sums.calls += calls.get();
                sums.rejected += errors.rejected.get();
                sums.failed += errors.failed.get();
            }
        }
        sums
    }
}

// === impl CommandTotals ===

impl CommandTotals {
    fn since(self, before: &CommandTotals) -> CommandTotals {
        CommandTotals {
            calls: self.calls.saturating_sub(before.calls),
            rejected: self.rejected.saturating_sub(before.rejected),
            failed: self.failed.saturating_sub(before.failed),
        }
    }
}

/// The first word of an error; `ERR` where it has none, as in Redis.
fn code(reply: &[u8]) -> String {
    let text = &reply[1..reply.len().min(CODE_BYTES_MAX)];
    match text.iter().position(|byte| *byte == b' ') {
        Some(end) => String::from_utf8_lossy(&text[..end]).into_owned(),
        None => "ERR".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_codes_of_errors_are_told_apart() {
        let all = AllCommandStats::new(1);
        let worker = &all.workers[0];
        for number in 0..CODES_MAX + 10 {
            all.failed(worker, 1, false, format!("-CODE{number} text\r\n").as_bytes());
        }
        all.failed(worker, 1, true, b"-CODE0 again\r\n");
        let codes = all.codes();
        assert_eq!((codes.len(), codes["CODE0"], codes[OTHERS]), (CODES_MAX + 1, 2, 10));
        assert_eq!(all.all_errors(), CODES_MAX as u64 + 11);
        let [(_, sums)] = all.commands()[..] else { panic!("one command was sent") };
        assert_eq!(sums, CommandTotals { calls: 0, rejected: 1, failed: CODES_MAX as u64 + 10 });
        all.reset();
        assert!(all.commands().is_empty() && all.codes().is_empty());
    }

    #[test]
    fn an_error_without_a_code_is_an_err() {
        for (reply, expected) in [
            (&b"-WRONGTYPE Operation\r\n"[..], "WRONGTYPE"),
            (b"-SHORT\r\n", "ERR"),
            (b"-averyveryverylongwordwithoutanyspace at all\r\n", "ERR"),
        ] {
            assert_eq!(code(reply), expected);
        }
    }
}
