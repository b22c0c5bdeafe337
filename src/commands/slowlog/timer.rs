//! How long a command takes, and what the slow log would show of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use super::log::SlowlogEntry;
use crate::clients::Client;
use crate::clock::Nanos;
use crate::commands::server_state::ServerState;
use crate::protocol::command::Spec;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};

/// Arguments of a command that an entry shows, and bytes of each; as in Redis.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;

/// A request of more bytes is not kept whole until its reply is there, but what an entry would show of it.
const WHOLE_BYTES_MAX: usize = 4 * 1024;

/// Measures one command.
#[derive(Debug)]
pub(crate) struct LatencyTimer {
    server: Arc<ServerState>,
    client: Arc<Client>,
    arguments: Arguments,
    begun: Nanos,
    /// Whether the command may block: one whose time ran out is not kept, as in Redis.
    blocks: bool,
}

/// What an entry will show, if there is to be one: most commands are not slow.
#[derive(Debug)]
enum Arguments {
    /// These, once it is known that they are wanted.
    Of(OwnedRequest, Option<&'static Spec>),
    /// The shown part of the arguments, as an array.
    Shown(Bytes),
}

// === impl LatencyTimer ===

impl LatencyTimer {
    /// Starts for a command that was read at `now`; none when no command is to be kept.
    pub(crate) fn start(
        spec: Option<&'static Spec>,
        request: &Request<'_>,
        client: &Arc<Client>,
        server: &Arc<ServerState>,
        now: Nanos,
    ) -> Option<LatencyTimer> {
        if server.settings.slowlog_log_slower_than.get() < 0 {
            return None;
        }
        let arguments = match request.raw().len() <= WHOLE_BYTES_MAX {
            true => Arguments::Of(request.to_owned(), spec),
            false => Arguments::Shown(shown(spec, request)),
        };
        Some(LatencyTimer {
            server: server.clone(),
            client: client.clone(),
            arguments,
            begun: now,
            blocks: false,
        })
    }

    /// The timer, of a command that may block.
    pub(crate) fn blocking(self) -> LatencyTimer {
        LatencyTimer { blocks: true, ..self }
    }

    /// The `reply` is there at `now`: keeps the command if it took long.
    pub(crate) fn stop(self, now: Nanos, reply: &[u8]) {
        if self.blocks && [&b"*-1\r\n"[..], b"$-1\r\n", b"_\r\n"].contains(&reply) {
            return;
        }
        let slower_than = self.server.settings.slowlog_log_slower_than.get();
        let micros = (now.saturating_sub(self.begun) / 1_000) as i64;
        if slower_than < 0 || micros < slower_than {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = self.client.names().client.clone();
        let arguments = match self.arguments {
            Arguments::Of(request, spec) => shown(spec, &request.as_request()),
            Arguments::Shown(shown) => shown,
        };
        let entry = SlowlogEntry {
            id: 0,
            at: now.as_secs() as i64,
            micros,
            // No larger than it is: it was written with room to spare.
            arguments: Bytes::copy_from_slice(&arguments),
            address: self.client.endpoints.address.clone(),
            name,
            namespace: self.client.endpoints.namespace.clone(),
        };
        self.server.slowlog.lock().push(entry, self.server.settings.slowlog_max_len.size());
    }
}

/// What an entry shows of the arguments, in the words of Redis where it shows less than all.
fn shown(spec: Option<&Spec>, request: &Request<'_>) -> Bytes {
    let secrets = spec.map_or_else(Vec::new, |spec| spec.secrets(request));
    let whole = if request.len() > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { request.len() };
    let mut out = BytesMut::new();
    encode::array(&mut out, request.len().min(ARGUMENTS_MAX));
    for (index, argument) in request.args().take(whole).enumerate() {
        if secrets.contains(&index) {
            encode::bulk(&mut out, b"(redacted)");
        } else if argument.len() > ARGUMENT_BYTES_MAX {
            let more = format!("... ({} more bytes)", argument.len() - ARGUMENT_BYTES_MAX);
            encode::bulk(&mut out, &[&argument[..ARGUMENT_BYTES_MAX], more.as_bytes()].concat());
        } else {
            encode::bulk(&mut out, argument);
        }
    }
    if whole < request.len() {
        encode::bulk(&mut out, format!("... ({} more arguments)", request.len() - whole).as_bytes());
    }
    out.freeze()
}
