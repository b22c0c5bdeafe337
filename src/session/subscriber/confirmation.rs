//! What a client is sent for one name that it subscribed to, or unsubscribed from.

use bytes::{Bytes, BytesMut};

use super::subscribed::Subscribed;
use crate::protocol::command::TopicKind;
use crate::protocol::resp::{Resp, encode};

/// Appends the confirmation of one subscription, with the number of those that are left of its sort.
pub(super) fn write(
    out: &mut BytesMut,
    subscribed: &Subscribed,
    kind: TopicKind,
    what: &str,
    name: Option<&Bytes>,
    resp: Resp,
) {
    let initial = match kind {
        TopicKind::Channel => "",
        TopicKind::Pattern => "p",
        TopicKind::Shard => "s",
    };
    out.extend_from_slice(if resp == Resp::Three { b">3\r\n" } else { b"*3\r\n" });
    encode::bulk(out, format!("{initial}{what}").as_bytes());
    match name {
        Some(name) => encode::bulk(out, name),
        None => encode::null(out, resp),
    }
    encode::integer(out, subscribed.count(kind) as i64);
}
