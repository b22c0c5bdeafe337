//! What happened in a run: a fingerprint of all of it, and the lines themselves when somebody wants to read
//! them.

use std::fmt;

use crate::history::Ms;

/// The log of one run.
#[derive(Debug)]
pub(crate) struct Log {
    /// Two runs of one seed have the same.
    pub(crate) fingerprint: u64,
    /// Kept only when the run is traced.
    pub(crate) lines: Vec<String>,
    traced: bool,
    /// Where the nodes listen, which is another place in each run: errors name it, and the log leaves it
    /// out.
    directory: String,
}

// === impl Log ===

impl Log {
    pub(crate) fn new(traced: bool, directory: String) -> Log {
        Log { fingerprint: 0xcbf2_9ce4_8422_2325, lines: Vec::new(), traced, directory }
    }

    pub(crate) fn note(&mut self, now: Ms, event: fmt::Arguments<'_>) {
        let mut line = format!("{now:>6} {event}");
        if line.contains(&self.directory) {
            line = line.replace(&self.directory, "");
        }
        for byte in line.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.traced {
            self.lines.push(line);
        }
    }
}
