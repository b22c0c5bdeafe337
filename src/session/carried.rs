//! A request while it is carried out, and what has to be known of it at its end.

use super::naming::Naming;
use super::tracked_read::TrackedRead;
use crate::clock::{self, Nanos};
use crate::commands::GlobalFlags;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{CommandError, Spec};
use crate::protocol::resp::request::Request;

/// A request while it is carried out.
pub(super) struct Carried<'a> {
    /// The request as its client sent it.
    pub(super) request: Request<'a>,
    pub(super) recognised: Result<&'static Spec, CommandError>,
    /// The request with the names that the servers have.
    pub(super) sent: Request<'a>,
    /// The row of that, which in a namespace may be one of another command.
    pub(super) sent_as: Result<&'static Spec, CommandError>,
    /// How its reply gets the names that the client has; `None` outside of namespaces.
    pub(super) naming: Option<Naming>,
    /// What must follow the reply to a client with tracking on.
    pub(super) watch: Option<TrackedRead>,
    pub(super) flags: GlobalFlags,
    /// Whether MONITOR shows it: it is executed.
    pub(super) shown: bool,
    /// Whether it is measured for SLOWLOG if it has to be waited for.
    pub(super) measured: bool,
    /// Whether it may block at a server.
    pub(super) blocks: bool,
    /// The number under which it is counted; 0 if it is not executed, or not now.
    pub(super) called: usize,
    /// Bytes of the output before it.
    pub(super) waited: usize,
    /// When it was looked at: the whole request had arrived by then.
    pub(super) now: Nanos,
    /// When it began. `now` may be from before the requests that came with this one.
    pub(super) begun: Nanos,
}

// === impl Carried ===

impl<'a> Carried<'a> {
    /// A request that is carried out as it came.
    #[inline(always)]
    pub(super) fn begin(
        request: Request<'a>,
        recognised: Result<&'static Spec, CommandError>,
        out: &WriteQueue,
        flags: GlobalFlags,
        now: Nanos,
    ) -> Carried<'a> {
        Carried {
            request,
            recognised,
            sent: request,
            sent_as: recognised,
            naming: None,
            watch: None,
            flags,
            shown: true,
            measured: true,
            blocks: false,
            called: recognised.map_or(0, Spec::number),
            waited: out.len(),
            now,
            begun: if flags.has(GlobalFlags::MEASURED) { clock::now() } else { now },
        }
    }

    /// The number of its command; 0 if it is none that is known.
    pub(super) fn command(&self) -> usize {
        self.recognised.map_or(0, Spec::number)
    }

    /// Whether an answer of the daemon itself is measured.
    pub(super) fn is_measured(&self) -> bool {
        self.flags.has(GlobalFlags::MEASURED)
    }
}
