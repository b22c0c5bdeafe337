//! The end of a connection whose requests are all answered. It is half-closed, and later bytes of the client
//! are read and thrown away until the client closes its side: if it were closed with unread bytes, the kernel
//! would reset the connection, and a client that sends before it reads would lose replies.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{self, Instant};

use crate::drain::Drain;
use crate::net::connection::Connection;

/// A client that sends nothing for this long is not waited for: an idle connection in a pool would delay the
/// end of the daemon for nothing.
const QUIET: Duration = Duration::from_secs(1);

/// How long a client that leaves while the daemon continues is read at most, whatever it sends.
const LONGEST: Duration = Duration::from_secs(2);

/// Ends `connection`, whose client sent its last bytes at `heard`. Returns when the client has closed its
/// side too, or has been quiet. At the end of the daemon `drain_timeout` bounds it.
pub(super) async fn say(mut connection: Connection, heard: Instant, drain: &Drain) {
    if connection.half_close().is_err() {
        // The client has gone already.
        return;
    }
    let mut longest = pin!(time::sleep(LONGEST));
    let mut quiet = pin!(time::sleep_until(heard + QUIET));
    loop {
        tokio::select! {
            biased;
            heard = poll_fn(|cx| connection.poll_discard(cx)) => match heard {
                Ok(true) => quiet.as_mut().reset(Instant::now() + QUIET),
                Ok(false) | Err(_) => return,
            },
            () = &mut quiet => return,
            () = &mut longest, if !drain.has_begun() => return,
        }
    }
}
