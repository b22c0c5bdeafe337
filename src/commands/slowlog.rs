//! SLOWLOG: commands that took long, from when this daemon read them until it had their reply. What it
//! answers on the spot is not measured.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use super::redaction::secrets;
use super::server_state::ServerState;
use crate::clients::Client;
use crate::clock::Nanos;
use crate::protocol::command::Spec;
use crate::protocol::resp::encode;
use crate::protocol::resp::parse_integer;
use crate::protocol::resp::reply::{number, ok, wrong_number};
use crate::protocol::resp::request::{OwnedRequest, Request};

/// Arguments of a command that an entry shows, and bytes of each; as in Redis.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;

/// A request of more bytes is not kept whole until its reply is there, but what an entry would show of it.
const WHOLE_BYTES_MAX: usize = 4 * 1024;

/// Entries that SLOWLOG GET gives when it is not told how many.
const SHOWN: usize = 10;

/// All entries together take this part of `memory_max` at most, and without a ceiling so many bytes.
const MEMORY_PART: usize = 64;
const BYTES_MAX: usize = 64 << 20;

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 256;

/// The slow log, the newest entry first.
#[derive(Debug)]
pub(super) struct Slowlog {
    entries: VecDeque<SlowlogEntry>,
    next_id: i64,
    /// What the entries take, and may take.
    bytes: usize,
    bytes_max: usize,
}

/// A command that took long.
#[derive(Debug)]
pub(super) struct SlowlogEntry {
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
pub(crate) struct LatencyTimer {
    desk: Arc<ServerState>,
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

// === impl Slowlog ===

impl Slowlog {
    /// An empty one in a daemon of this `memory_max`.
    pub(super) fn new(memory_max: Option<usize>) -> Slowlog {
        let bytes_max = memory_max.map_or(BYTES_MAX, |max| max / MEMORY_PART);
        Slowlog { entries: VecDeque::new(), next_id: 0, bytes: 0, bytes_max }
    }

    /// Adds an entry, which gets its number; the oldest go where there are more than so many, or they take
    /// too much.
    fn push(&mut self, mut entry: SlowlogEntry, count_max: usize) {
        entry.id = self.next_id;
        self.next_id += 1;
        self.bytes += entry.bytes();
        self.entries.push_front(entry);
        while self.entries.len() > count_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
    }
}

// === impl LatencyTimer ===

impl LatencyTimer {
    /// Starts for a command that was read at `now`; none when no command is to be kept.
    pub(crate) fn start(
        spec: Option<&'static Spec>,
        request: &Request<'_>,
        client: &Arc<Client>,
        desk: &Arc<ServerState>,
        now: Nanos,
    ) -> Option<LatencyTimer> {
        if desk.settings.slowlog_log_slower_than.get() < 0 {
            return None;
        }
        let arguments = match request.raw().len() <= WHOLE_BYTES_MAX {
            true => Arguments::Of(request.to_owned(), spec),
            false => Arguments::Shown(shown(spec, request)),
        };
        Some(LatencyTimer { desk: desk.clone(), client: client.clone(), arguments, begun: now })
    }

    /// The reply is there at `now`: keeps the command if it took long.
    pub(crate) fn stop(self, now: Nanos) {
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
        let entry = SlowlogEntry {
            id: 0,
            at: now.as_secs() as i64,
            micros,
            // No larger than it is: it was written with room to spare.
            arguments: Bytes::copy_from_slice(&arguments),
            address: self.client.endpoints.address.clone(),
            name,
        };
        self.desk.slowlog.lock().push(entry, self.desk.settings.slowlog_max_len.size());
    }
}

/// SLOWLOG GET [count], the newest first; -1 is all.
pub(super) fn get(request: &Request<'_>, desk: &ServerState) -> Bytes {
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
    let log = desk.slowlog.lock();
    let mut out = BytesMut::new();
    encode::array(&mut out, count.min(log.entries.len()));
    for entry in log.entries.iter().take(count) {
        entry.write(&mut out);
    }
    out.freeze()
}

/// SLOWLOG LEN.
pub(super) fn len(desk: &ServerState) -> Bytes {
    number(desk.slowlog.lock().entries.len() as i64)
}

/// SLOWLOG RESET.
pub(super) fn reset(desk: &ServerState) -> Bytes {
    desk.slowlog.lock().clear();
    ok()
}

// === impl Entry ===

impl SlowlogEntry {
    /// What it takes.
    fn bytes(&self) -> usize {
        let parts = self.arguments.len() + self.address.len() + self.name.len();
        ENTRY_BYTES + parts
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_go_where_there_are_too_many_or_they_take_too_much() {
        let entry = |size: usize| SlowlogEntry {
            id: 0,
            at: 0,
            micros: 0,
            arguments: vec![b'a'; size].into(),
            address: String::new(),
            name: Vec::new(),
        };
        let bytes_max = 10 * (1_000 + ENTRY_BYTES);
        let mut log = Slowlog::new(Some(bytes_max * MEMORY_PART));
        (0..100).for_each(|_| log.push(entry(1_000), 1_000_000));
        let ids = |log: &Slowlog| log.entries.iter().map(|entry| entry.id).collect::<Vec<i64>>();
        assert_eq!((ids(&log), log.bytes), ((90..100).rev().collect(), bytes_max));
        log.push(entry(1_000), 3);
        assert_eq!((ids(&log), log.bytes), ((98..101).rev().collect(), bytes_max / 10 * 3));
        // One that is larger than all may be takes the others with it and is not kept.
        log.push(entry(bytes_max), 3);
        assert_eq!((ids(&log), log.bytes), (Vec::new(), 0));
        log.push(entry(1), 0);
        log.push(entry(1), 1);
        assert_eq!(ids(&log), [103]);
        log.clear();
        assert_eq!((ids(&log), log.bytes), (Vec::new(), 0));
    }
}
