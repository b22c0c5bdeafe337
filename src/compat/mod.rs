//! `nearside compat`: tells from what an application sends today whether it can use nearside unchanged.
//!
//! Reads INFO commandstats of a Redis and, for as long as asked, MONITOR, or a list in a file. Judges each
//! command by the command table. Must never know the daemon: nothing is served here, and the Redis that is
//! read is only read.
//!
//! Begin with `verdict.rs`, which judges one command, and `observations.rs`, which gathers what was seen.

mod line;
mod observations;
mod report;
mod source;
mod verdict;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use tokio::runtime;

use self::observations::Observations;
use self::report::Report;
use self::source::ObservedRedis;
use crate::config::{CompatFrom, CompatOptions};

/// Bytes of one line of a file. A longer line is counted and not judged.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CompatError {
    /// The Redis cannot be read.
    #[error("cannot read {place}: {error}")]
    Source {
        /// Where it is.
        place: String,
        /// What failed.
        error: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    File(String, io::Error),
    /// The report cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// Reads what `options` name, and writes the report to `out`.
///
/// # Errors
/// Nothing could be read, or nothing written.
pub fn compat(options: &CompatOptions, mut out: impl Write) -> Result<(), CompatError> {
    let mut seen = Observations::default();
    match &options.from {
        CompatFrom::Redis(url) => {
            let failed = |error| CompatError::Source { place: url.to_string(), error };
            let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            runtime.block_on(ObservedRedis::new(url).read(options.duration, &mut seen)).map_err(failed)?;
        }
        CompatFrom::File(path) => {
            read_file(path, &mut seen)
                .map_err(|error| CompatError::File(path.display().to_string(), error))?;
        }
    }
    let report = Report::of(&seen, options.upstream);
    if options.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}

/// Reads a list: lines of MONITOR, lines of INFO commandstats, or commands as they are typed into redis-cli.
fn read_file(path: &Path, seen: &mut Observations) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if read == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            seen.note_unreadable();
            file.skip_until(b'\n')?;
        } else {
            seen.take_line(&line);
        }
    }
}
