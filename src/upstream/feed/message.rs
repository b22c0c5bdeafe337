//! What a node pushes on a connection that subscribes.

use bytes::Bytes;

use super::{Kind, Topic};
use crate::resp::cursor::{Cursor, Head};

/// A push, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// A message: what was subscribed to, and the channel that it was published on.
    Message(Topic, Bytes),
    /// A subscription has ended: its slot is not the node's any more, or we said so.
    Ended(Topic),
    /// Something else: above all confirmations, which what is sent behind each command makes needless.
    Other,
}

/// What begins the name of a channel on which a node tells of its own keys, and of nobody else's.
const NOTIFICATIONS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// Reads a push frame.
pub(super) fn parse(frame: &Bytes) -> Push {
    read(frame).unwrap_or(Push::Other)
}

fn read(frame: &Bytes) -> Option<Push> {
    let mut cursor = Cursor::new(frame);
    let Head::Aggregate { kind: b'>', count } = cursor.head()? else { return None };
    let mut text = || match cursor.head()? {
        Head::Blob { kind: b'$', body } => Some(body),
        _ => None,
    };
    let word = text()?;
    let name = frame.slice_ref(text()?);
    Some(match (word, count) {
        (b"message", 3) => Push::Message(Topic::new(Kind::Channel, name.clone()), name),
        (b"smessage", 3) => Push::Message(Topic::new(Kind::Shard, name.clone()), name),
        (b"pmessage", 4) => Push::Message(Topic::new(Kind::Pattern, name), frame.slice_ref(text()?)),
        (b"sunsubscribe", 3) => Push::Ended(Topic::new(Kind::Shard, name)),
        _ => return None,
    })
}

/// Whether what is published on `channel` is a node's word on its own keys.
pub(super) fn is_notification(channel: &[u8]) -> bool {
    NOTIFICATIONS.iter().any(|prefix| channel.starts_with(prefix))
}

/// Whether messages for `topic` may come from every primary for itself.
pub(super) fn may_notify(topic: &Topic) -> bool {
    match topic.kind {
        Kind::Channel => is_notification(&topic.name),
        Kind::Pattern => NOTIFICATIONS.iter().any(|prefix| crate::glob::may_begin_with(&topic.name, prefix)),
        Kind::Shard => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_read_and_everything_else_is_let_be() {
        let name = |text: &'static str| Bytes::from_static(text.as_bytes());
        let topic = |kind, text| Topic::new(kind, name(text));
        let cases: [(&'static str, Push); 8] = [
            (
                ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n\r\n\r\n",
                Push::Message(topic(Kind::Channel, "a"), name("a")),
            ),
            (
                ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nb\r\n$1\r\nc\r\n",
                Push::Message(topic(Kind::Pattern, "*"), name("b")),
            ),
            (
                ">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
                Push::Message(topic(Kind::Shard, "a"), name("a")),
            ),
            (">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n", Push::Ended(topic(Kind::Shard, "a"))),
            (">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", Push::Other),
            (">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", Push::Other),
            (">2\r\n$10\r\ninvalidate\r\n_\r\n", Push::Other),
            ("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", Push::Other),
        ];
        for (frame, expected) in cases {
            assert_eq!(parse(&name(frame)), expected, "{}", frame.escape_debug());
        }
    }

    #[test]
    fn notifications_come_from_every_primary() {
        let notify =
            |kind, text: &'static str| may_notify(&Topic::new(kind, Bytes::from_static(text.as_bytes())));
        assert!(notify(Kind::Channel, "__keyspace@0__:key"));
        assert!(notify(Kind::Channel, "__keyevent@0__:set"));
        assert!(!notify(Kind::Channel, "news"));
        assert!(notify(Kind::Pattern, "*"));
        assert!(notify(Kind::Pattern, "__key*@0__:*"));
        assert!(!notify(Kind::Pattern, "news.*"));
        assert!(!notify(Kind::Shard, "__keyspace@0__:key"));
    }
}
