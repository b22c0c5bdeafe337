//! Waiting for something that a server does in its own time, under a deadline.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::error::DevError;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `look` says `Ok(Ok(value))`. `Ok(Err(seen))` is "not yet", with what was seen, for the error
/// that comes when `limit` is over; `Err` ends the wait at once.
pub(super) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Result<T, String>, DevError>,
) -> Result<T, DevError> {
    let deadline = Instant::now() + limit;
    loop {
        match look()? {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => {
                return Err(DevError::Timeout {
                    what: format!("{what} (last seen: {seen})"),
                    seconds: limit.as_secs(),
                });
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
