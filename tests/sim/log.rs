//! What happened in a run: a fingerprint of all of it, and the lines themselves when somebody wants to read them.

use std::fmt::{self, Write};

use crate::history::Ms;

/// The log of one run.
#[derive(Debug)]
pub(crate) struct Log {
    /// Two runs of one seed have the same.
    pub(crate) fingerprint: u64,
    /// Kept only when the run is traced.
    pub(crate) lines: Vec<String>,
    traced: bool,
}

// === impl Log ===

impl Log {
    pub(crate) fn new(traced: bool) -> Log {
        Log { fingerprint: 0xcbf2_9ce4_8422_2325, lines: Vec::new(), traced }
    }

    pub(crate) fn note(&mut self, now: Ms, event: fmt::Arguments<'_>) {
        write!(self, "{now} {event}").expect("a fingerprint takes anything");
        if self.traced {
            self.lines.push(format!("{now:>6} {event}"));
        }
    }
}

impl Write for Log {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
