//! What EXEC has carried out: its commands in SLOWLOG, which does not show EXEC itself, and in the
//! statistics.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::clients::Client;
use crate::clock::{self, Nanos};
use crate::commands::{CommandStats, LatencyTimer, ServerState, SessionContext};
use crate::protocol::command::numbered;
use crate::protocol::resp::cursor;
use crate::protocol::resp::request::Request;
use crate::router::Answer;

/// The commands of a transaction, in their order.
#[derive(Debug, Default)]
pub(super) struct CarriedOut {
    /// Their numbers.
    numbers: Vec<usize>,
    /// The last of them, as many as the slow log keeps.
    timers: VecDeque<LatencyTimer>,
}

// === impl CarriedOut ===

impl CarriedOut {
    /// Takes the next command; all of them begin at `now`.
    pub(super) fn add(
        &mut self,
        number: usize,
        request: &Request<'_>,
        client: &Arc<Client>,
        server: &Arc<ServerState>,
        now: Nanos,
    ) {
        self.numbers.push(number);
        if let Some(timer) = LatencyTimer::start(numbered(number), request, client, server, now) {
            self.timers.push_back(timer);
            if self.timers.len() > server.settings.slowlog_max_len.size() {
                self.timers.pop_front();
            }
        }
    }

    /// The answer to EXEC, with which the commands end.
    pub(super) fn ends_with(self, answer: Answer, context: &SessionContext) -> Answer {
        let (server, stats) = (context.server.clone(), context.command_stats.clone());
        match answer {
            Answer::Now(reply) => {
                self.end(&reply, &server, &stats);
                Answer::Now(reply)
            }
            Answer::Later(reply) => Answer::Later(Box::pin(async move {
                let reply = reply.await;
                self.end(&reply, &server, &stats);
                reply
            })),
            answer => answer,
        }
    }

    fn end(self, reply: &Bytes, server: &ServerState, stats: &CommandStats) {
        // An error, or nil because of what was watched: nothing was carried out.
        if !reply.starts_with(b"*") || reply.starts_with(b"*-") {
            return;
        }
        let now = clock::now();
        self.timers.into_iter().for_each(|timer| timer.stop(now, &[]));
        self.numbers.iter().for_each(|number| stats.call(*number));
        if memchr::memmem::find(reply, b"\r\n-").is_none() {
            return;
        }
        let elements = cursor::elements(reply).into_iter().flatten().flatten();
        for (number, element) in self.numbers.iter().zip(elements) {
            if element.starts_with(b"-") && *number > 0 {
                server.command_stats.failed(stats, *number, false, element);
            }
        }
    }
}
