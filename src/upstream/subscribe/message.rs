//! What a node pushes on a connection that subscribes.

use bytes::Bytes;

use super::topic::Topic;
use crate::protocol::command::TopicKind;
use crate::protocol::resp::cursor::{Cursor, ReplyHead};

/// A push, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SubscribePush {
    /// A message: what was subscribed to, and the channel that it was published on.
    Message(Topic, Bytes),
    /// The end of a subscription: its slot left the node, or we unsubscribed.
    Ended(Topic),
    /// Anything else: mostly confirmations, which the question behind each command makes needless.
    Other,
}

/// Prefixes of the channels on which a node reports changes of its own keys only.
const NOTIFICATIONS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// Reads a push frame.
pub(super) fn parse(frame: &Bytes) -> SubscribePush {
    read(frame).unwrap_or(SubscribePush::Other)
}

fn read(frame: &Bytes) -> Option<SubscribePush> {
    let mut cursor = Cursor::new(frame);
    let ReplyHead::Aggregate { kind: b'>', count } = cursor.head()? else { return None };
    let mut text = || match cursor.head()? {
        ReplyHead::Blob { kind: b'$', body } => Some(body),
        _ => None,
    };
    let word = text()?;
    let name = frame.slice_ref(text()?);
    Some(match (word, count) {
        (b"message", 3) => SubscribePush::Message(Topic::new(TopicKind::Channel, name.clone()), name),
        (b"smessage", 3) => SubscribePush::Message(Topic::new(TopicKind::Shard, name.clone()), name),
        (b"pmessage", 4) => {
            SubscribePush::Message(Topic::new(TopicKind::Pattern, name), frame.slice_ref(text()?))
        }
        (b"sunsubscribe", 3) => SubscribePush::Ended(Topic::new(TopicKind::Shard, name)),
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
        TopicKind::Channel => is_notification(&topic.name),
        TopicKind::Pattern => {
            NOTIFICATIONS.iter().any(|prefix| crate::protocol::glob::may_begin_with(&topic.name, prefix))
        }
        TopicKind::Shard => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_read_and_everything_else_is_let_be() {
        let name = |text: &'static str| Bytes::from_static(text.as_bytes());
        let topic = |kind, text| Topic::new(kind, name(text));
        let cases: [(&'static str, SubscribePush); 8] = [
            (
                ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n\r\n\r\n",
                SubscribePush::Message(topic(TopicKind::Channel, "a"), name("a")),
            ),
            (
                ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nb\r\n$1\r\nc\r\n",
                SubscribePush::Message(topic(TopicKind::Pattern, "*"), name("b")),
            ),
            (
                ">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
                SubscribePush::Message(topic(TopicKind::Shard, "a"), name("a")),
            ),
            (
                ">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n",
                SubscribePush::Ended(topic(TopicKind::Shard, "a")),
            ),
            (">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", SubscribePush::Other),
            (">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", SubscribePush::Other),
            (">2\r\n$10\r\ninvalidate\r\n_\r\n", SubscribePush::Other),
            ("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", SubscribePush::Other),
        ];
        for (frame, expected) in cases {
            assert_eq!(parse(&name(frame)), expected, "{}", frame.escape_debug());
        }
    }

    #[test]
    fn notifications_come_from_every_primary() {
        let notify =
            |kind, text: &'static str| may_notify(&Topic::new(kind, Bytes::from_static(text.as_bytes())));
        assert!(notify(TopicKind::Channel, "__keyspace@0__:key"));
        assert!(notify(TopicKind::Channel, "__keyevent@0__:set"));
        assert!(!notify(TopicKind::Channel, "news"));
        assert!(notify(TopicKind::Pattern, "*"));
        assert!(notify(TopicKind::Pattern, "__key*@0__:*"));
        assert!(!notify(TopicKind::Pattern, "news.*"));
        assert!(!notify(TopicKind::Shard, "__keyspace@0__:key"));
    }
}
