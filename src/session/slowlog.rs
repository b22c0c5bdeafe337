//! SLOWLOG: commands that took long, from when this daemon read them until it had their reply. What it answers on the
//! spot is not measured.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use super::desk::{Desk, lock};
use super::local::{number, ok, wrong_number};
use super::secrets::secrets;
use crate::clients::Client;
use crate::clock::Nanos;
use crate::command::Spec;
use crate::resp::encode;
use crate::resp::parse_integer;
use crate::resp::request::{OwnedRequest, Request};

/// Arguments of a command that an entry shows, and bytes of each; as in Redis.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;

/// A request of more bytes is not kept whole until its reply is there, but what an entry would show of it.
const WHOLE_BYTES_MAX: usize = 4 * 1024;

/// Entries that SLOWLOG GET gives when it is not told how many.
const SHOWN: usize = 10;

/// The slow log, the newest entry first.
#[derive(Debug)]
pub(super) struct Slowlog {
    pub(super) entries: VecDeque<Entry>,
    pub(super) next_id: i64,
}

/// A command that took long.
#[derive(Debug)]
pub(super) struct Entry {
    id: i64,
    /// Seconds since 1970.
    at: i64,
    micros: i64,
    /// An array of what is shown of the arguments.
    arguments: Bytes,
    address: String,
    name: Vec<u8>,
}

/// Measures one command.
#[derive(Debug)]
pub(super) struct Stopwatch {
    desk: Arc<Desk>,
    client: Arc<Client>,
    arguments: Arguments,
    begun: Nanos,
}

/// What an entry will show, if there is to be one: most commands are not slow.
#[derive(Debug)]
enum Arguments {
    /// These, once it is known that they are wanted.
    Of(OwnedRequest, Option<&'static Spec>),
    /// An array of what is shown.
    Shown(Bytes),
}

// === impl Stopwatch ===

impl Stopwatch {
    /// Starts for a command that was read at `now`; none when no command is to be kept.
    pub(super) fn start(
        spec: Option<&'static Spec>,
        request: &Request<'_>,
        client: &Arc<Client>,
        desk: &Arc<Desk>,
        now: Nanos,
    ) -> Option<Stopwatch> {
        if desk.settings.slowlog_log_slower_than.get() < 0 {
            return None;
        }
        let arguments = match request.raw().len() <= WHOLE_BYTES_MAX {
            true => Arguments::Of(request.to_owned(), spec),
            false => Arguments::Shown(shown(spec, request)),
        };
        Some(Stopwatch { desk: desk.clone(), client: client.clone(), arguments, begun: now })
    }

    /// The reply is there at `now`: keeps the command if it took long.
    pub(super) fn stop(self, now: Nanos) {
        let slower_than = self.desk.settings.slowlog_log_slower_than.get();
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
        let mut log = lock(&self.desk.slowlog);
        let entry = Entry {
            id: log.next_id,
            at: now.as_secs() as i64,
            micros,
            arguments,
            address: self.client.endpoints.address.clone(),
            name,
        };
        log.next_id += 1;
        log.entries.push_front(entry);
        log.entries.truncate(self.desk.settings.slowlog_max_len.size());
    }
}

/// SLOWLOG GET [count], the newest first; -1 is all.
pub(super) fn get(request: &Request<'_>, desk: &Desk) -> Bytes {
    let count = match request.len() {
        2 => Some(SHOWN),
        3 => match parse_integer(request.arg(2)) {
            Some(-1) => Some(usize::MAX),
            count => count.and_then(|count| usize::try_from(count).ok()),
        },
        _ => {
            return wrong_number(request, "SLOWLOG");
        }
    };
    let Some(count) = count else {
        return encode::error_reply("ERR count should be greater than or equal to -1");
    };
    let log = lock(&desk.slowlog);
    let mut out = BytesMut::new();
    encode::array(&mut out, count.min(log.entries.len()));
    for entry in log.entries.iter().take(count) {
        entry.write(&mut out);
    }
    out.freeze()
}

/// SLOWLOG LEN.
pub(super) fn len(desk: &Desk) -> Bytes {
    number(lock(&desk.slowlog).entries.len() as i64)
}

/// SLOWLOG RESET.
pub(super) fn reset(desk: &Desk) -> Bytes {
    lock(&desk.slowlog).entries.clear();
    ok()
}

// === impl Entry ===

impl Entry {
    fn write(&self, out: &mut BytesMut) {
        encode::array(out, 6);
        for field in [self.id, self.at, self.micros] {
            encode::integer(out, field);
        }
        out.extend_from_slice(&self.arguments);
        encode::bulk(out, self.address.as_bytes());
        encode::bulk(out, &self.name);
    }
}

/// What an entry shows of the arguments, in the words of Redis where it shows less than all.
fn shown(spec: Option<&Spec>, request: &Request<'_>) -> Bytes {
    let secrets = secrets(spec, request);
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
