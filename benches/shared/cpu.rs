//! The CPU time that a process has used, user and system together, in nanoseconds from the scheduler's own
//! books.

use std::fs;
use std::io;
use std::time::Duration;

/// The time used so far by the threads of `pid`. The measured servers keep their threads for life, so a
/// difference of two readings misses none.
pub(crate) fn used_by(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        nanos += nanos_of_thread(&fs::read_to_string(thread?.path().join("schedstat"))?)?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The first field of a `schedstat` file is the time on a CPU.
fn nanos_of_thread(schedstat: &str) -> io::Result<u64> {
    let field = schedstat.split_ascii_whitespace().next().and_then(|field| field.parse().ok());
    field.ok_or_else(|| io::Error::other(format!("schedstat reads {schedstat:?}")))
}
