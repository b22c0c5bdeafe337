//! Reads files while the daemon serves: on a thread of its own, one at a time, and not for ever.

use std::time::Duration;

use tokio::task::{self, JoinHandle};
use tokio::time;

/// How long the files may take to be read: one may be a pipe, or on a disk that hangs.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads that may be late at the same time. They may never end: a pipe that was removed has no writer any
/// more.
const LATE_MAX: usize = 4;

/// Files that are read now and then.
#[derive(Debug)]
pub(super) struct SecretFiles<T> {
    /// What they are, for the log.
    what: &'static str,
    /// How long they may take.
    timeout: Duration,
    /// Readings that came too late: nothing waits for them, but each holds a thread until it ends.
    late: Vec<JoinHandle<T>>,
}

// === impl SecretFiles ===

impl<T: Send + 'static> SecretFiles<T> {
    pub(super) fn new(what: &'static str) -> SecretFiles<T> {
        SecretFiles { what, timeout: READ_TIMEOUT, late: Vec::new() }
    }

    /// What `read` returns.
    ///
    /// # Errors
    /// This or too many earlier readings take too long; the text says so.
    pub(super) async fn again(&mut self, read: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        self.late.retain(|late| !late.is_finished());
        if self.late.len() >= LATE_MAX {
            // Each takes a thread.
            return Err(format!("{} is still being read, since {LATE_MAX} earlier times", self.what));
        }
        let mut reading = task::spawn_blocking(read);
        match time::timeout(self.timeout, &mut reading).await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_) => {
                self.late.push(reading);
                Err(format!(
                    "{} could not be read within {:?}: is one of its files a pipe that nobody writes to, or on \
                     a disk that does not answer?",
                    self.what, self.timeout
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn so_many_may_be_late_and_each_of_them_counts_until_it_ends() {
        let mut reading = SecretFiles::new("a file");
        reading.timeout = Duration::from_millis(20);
        let (mut ends, stuck) = (Vec::new(), async |reading: &mut SecretFiles<bool>| {
            let (end, ended) = mpsc::channel::<()>();
            (end, reading.again(move || ended.recv().is_ok()).await)
        });
        for _ in 0..LATE_MAX {
            let (end, late) = stuck(&mut reading).await;
            assert!(late.unwrap_err().contains("could not be read within 20ms"));
            ends.push(end);
        }
        let (_, refused) = stuck(&mut reading).await;
        assert!(refused.unwrap_err().contains("is still being read, since 4 earlier times"));
        ends.pop();
        while reading.again(|| true).await.is_err() {
            time::sleep(Duration::from_millis(1)).await;
        }
    }
}
