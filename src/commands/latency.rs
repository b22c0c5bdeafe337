//! LATENCY: the daemon keeps no events of latency, as a Redis with `latency-monitor-threshold 0`; SLOWLOG and
//! INFO show what is slow.

use bytes::Bytes;

use crate::protocol::resp::Resp;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{printed, text};

const DISABLED: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n";

/// LATENCY DOCTOR.
pub(super) fn doctor(resp: Resp) -> Bytes {
    text(DISABLED, resp)
}

/// LATENCY GRAPH.
pub(super) fn graph(event: &[u8]) -> Bytes {
    encode::error_reply([b"ERR No samples available for event '", printed(event), b"'"].concat())
}

/// LATENCY HISTOGRAM: of no command.
pub(super) fn histogram(resp: Resp) -> Bytes {
    match resp {
        Resp::Two => Bytes::from_static(b"*0\r\n"),
        Resp::Three => Bytes::from_static(b"%0\r\n"),
    }
}
