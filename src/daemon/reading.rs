//! Reads files while the daemon serves: on a thread of its own, one at a time, and not for ever.

use std::time::Duration;

use tokio::task::{self, JoinHandle};
use tokio::time;

/// How long the files may take to be read: one may be a pipe, or on a disk that hangs.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Files that are read now and then.
#[derive(Debug)]
pub(super) struct Reading<T> {
    /// What they are, for the log.
    what: &'static str,
    /// What came too late. It is waited for no more, but holds a thread until it ends.
    late: Option<JoinHandle<T>>,
}

// === impl Reading ===

impl<T: Send + 'static> Reading<T> {
    pub(super) fn new(what: &'static str) -> Reading<T> {
        Reading { what, late: None }
    }

    /// What `read` returns.
    ///
    /// # Errors
    /// It took too long, or an earlier one still does; the text says so.
    pub(super) async fn again(&mut self, read: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        if self.late.take_if(|late| late.is_finished()).is_none() && self.late.is_some() {
            // Otherwise each would take one more thread.
            return Err(format!("{} is still being read, since an earlier time", self.what));
        }
        let mut reading = task::spawn_blocking(read);
        match time::timeout(READ_TIMEOUT, &mut reading).await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_) => {
                self.late = Some(reading);
                Err(format!(
                    "{} could not be read within {READ_TIMEOUT:?}: is one of its files a pipe that nobody writes to, or on \
                     a disk that does not answer?",
                    self.what
                ))
            }
        }
    }
}
