//! The channels of a namespace, and notifications about its keys: their names on the servers, and back.
//!
//! A name that a client subscribes to leads to one channel of the servers, but for two kinds of names. The
//! channels of one event in all databases of a namespace lead to one channel, since the servers do not have
//! these databases. A pattern that matches notifications too leads to several patterns. So a notification is
//! compared with the names that a client has subscribed to when it is delivered.

use bytes::{Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use super::scope::{ChannelRule, Scope};
use crate::protocol::command::TopicKind;
use crate::protocol::glob;
use crate::protocol::resp::cursor::{Cursor, ReplyHead};
use crate::protocol::resp::encode;

/// How channels of notifications begin.
const KEYSPACE: &[u8] = b"__keyspace@";
const KEYEVENT: &[u8] = b"__keyevent@";

/// What separates the number of the database from the rest.
const END_OF_NUMBER: &[u8] = b"__:";

/// The name of a channel of notifications.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotificationName<'a> {
    /// What it begins with.
    pub(super) begin: &'static [u8],
    number: &'a [u8],
    /// The key, or the event.
    pub(super) rest: &'a [u8],
}

/// A message as a client of the namespace gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The head of the push up to its last name, and the message behind it.
    Message(Bytes, Bytes),
    /// A notification: what it came for, its channel and its message. The client may have subscribed to it by
    /// several names, or by none.
    Notification {
        /// Whether it came for a pattern.
        kind: TopicKind,
        /// The channel or pattern of the servers.
        topic: Bytes,
        /// The channel as the client knows it.
        channel: Vec<u8>,
        /// The event or, for a channel of events, the key.
        message: Bytes,
    },
}

// === impl NotificationName ===

impl<'a> NotificationName<'a> {
    /// Reads a name; `None` if it is another one.
    pub(super) fn read(name: &'a [u8]) -> Option<NotificationName<'a>> {
        let begin = [KEYSPACE, KEYEVENT].into_iter().find(|begin| name.starts_with(begin))?;
        let name = &name[begin.len()..];
        let end = memchr::memmem::find(name, END_OF_NUMBER)?;
        Some(NotificationName { begin, number: &name[..end], rest: &name[end + END_OF_NUMBER.len()..] })
    }

    /// The number of its database.
    pub(super) fn database(&self) -> Option<u32> {
        let number = std::str::from_utf8(self.number).ok()?.parse::<u32>().ok()?;
        // The servers write it in one way.
        (itoa::Buffer::new().format(number).as_bytes() == self.number).then_some(number)
    }

    /// Whether it names an event, and its messages are keys.
    pub(super) fn is_of_event(&self) -> bool {
        self.begin == KEYEVENT
    }
}

/// Whether a name begins as those of notifications do.
fn begins_as_notification(name: &[u8]) -> bool {
    name.starts_with(KEYSPACE) || name.starts_with(KEYEVENT)
}

// === impl Scope ===

impl Scope {
    /// What the servers call what a client subscribes to by `name`.
    pub fn topics(&self, kind: TopicKind, name: &[u8]) -> SmallVec<[Bytes; 1]> {
        match kind {
            TopicKind::Channel => smallvec![self.channel(name)],
            TopicKind::Shard => smallvec![[self.channel_prefix(), name].concat().into()],
            TopicKind::Pattern => {
                let mut topics = smallvec![[self.prefix_of_channel(name), name].concat().into()];
                topics.extend(self.keyspace_pattern(name).map(Bytes::from));
                topics.extend(self.keyevent_pattern(name).map(Bytes::from));
                topics
            }
        }
    }

    /// Whether names of several subscriptions of one client may lead to `topic`.
    pub fn is_for_several(topic: &[u8]) -> bool {
        begins_as_notification(topic)
    }

    /// What the servers call the channel `name`.
    fn channel(&self, name: &[u8]) -> Bytes {
        let notification = NotificationName::read(name).and_then(|name| self.notification(&name));
        notification.unwrap_or_else(|| [self.prefix_of_channel(name), name].concat()).into()
    }

    /// What the servers call a channel or pattern of notifications about one database of the namespace.
    pub(super) fn notification(&self, name: &NotificationName<'_>) -> Option<Vec<u8>> {
        let prefix = self.prefix_of_number(name.database()?)?;
        let prefix = if name.is_of_event() { "" } else { &prefix };
        Some([&self.begin_on_servers(name.begin)[..], prefix.as_bytes(), name.rest].concat())
    }

    fn begin_on_servers(&self, begin: &[u8]) -> Vec<u8> {
        [begin, self.server_database().to_string().as_bytes(), END_OF_NUMBER].concat()
    }

    /// What stands in front of `name`, which is no notification about a database of the namespace.
    /// Notifications are never shared: their names are names of keys.
    pub(super) fn prefix_of_channel(&self, name: &[u8]) -> &[u8] {
        match begins_as_notification(name) {
            true => self.first_prefix(),
            false => self.channel_prefix(),
        }
    }

    /// The pattern for what happens to keys, if `pattern` matches notifications about them. The result may
    /// match more.
    fn keyspace_pattern(&self, pattern: &[u8]) -> Option<Vec<u8>> {
        match NotificationName::read(pattern) {
            Some(name) if name.database().is_some() => {
                (!name.is_of_event()).then(|| self.notification(&name))?
            }
            _ if !glob::may_begin_with(pattern, KEYSPACE) => None,
            _ => Some([&self.begin_on_servers(KEYSPACE)[..], self.stem(), b"[:@]*"].concat()),
        }
    }

    /// The pattern for events, if `pattern` matches them. It matches those of all keys.
    fn keyevent_pattern(&self, pattern: &[u8]) -> Option<Vec<u8>> {
        let events = |rest: &[u8]| [&self.begin_on_servers(KEYEVENT)[..], rest].concat();
        match NotificationName::read(pattern) {
            Some(name) if name.database().is_some() => {
                name.is_of_event().then(|| self.notification(&name))?
            }
            Some(name) if name.is_of_event() && name.number == b"*" => Some(events(name.rest)),
            _ if !glob::may_begin_with(pattern, KEYEVENT) => None,
            _ => Some(events(b"*")),
        }
    }

    /// The name of a channel, or of a pattern, as a client knows it; `None` for names of others, and for
    /// notifications.
    pub fn bare_channel<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        let bare = name.strip_prefix(self.first_prefix());
        match self.namespace().channels {
            ChannelRule::Own => bare,
            ChannelRule::Shared if begins_as_notification(name) => None,
            ChannelRule::Shared => bare.filter(|bare| begins_as_notification(bare)).or(Some(name)),
        }
    }

    /// The push of a message as a client gets it; `None` if it is not for the namespace.
    pub fn message(&self, push: &Bytes) -> Option<Delivered> {
        let mut cursor = Cursor::new(push);
        let ReplyHead::Aggregate { kind: b'>', count } = cursor.head()? else { return None };
        let word = blob(&mut cursor)?;
        let kind = match (word, count) {
            (b"message", 3) => TopicKind::Channel,
            (b"smessage", 3) => TopicKind::Shard,
            (b"pmessage", 4) => TopicKind::Pattern,
            _ => return None,
        };
        let topic = blob(&mut cursor)?;
        let channel = if kind == TopicKind::Pattern { blob(&mut cursor)? } else { topic };
        let rest = cursor.rest();
        if kind != TopicKind::Shard && begins_as_notification(topic) {
            let (channel, message) = self.bare_notification(channel, blob(&mut cursor)?)?;
            let (topic, message) = (push.slice_ref(topic), push.slice_ref(message));
            return Some(Delivered::Notification { kind, topic, channel, message });
        }
        let mut head = BytesMut::with_capacity(push.len() - rest.len());
        head.extend_from_slice(if count == 3 { b">3\r\n" } else { b">4\r\n" });
        encode::bulk(&mut head, word);
        if kind == TopicKind::Pattern {
            encode::bulk(&mut head, self.bare_channel(topic)?);
        }
        encode::bulk(&mut head, self.bare_channel(channel)?);
        Some(Delivered::Message(head.freeze(), push.slice_ref(rest)))
    }

    /// The channel and the message of a notification, if it is about a key of the namespace.
    fn bare_notification<'a>(&self, channel: &[u8], message: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
        let name = NotificationName::read(channel)?;
        if name.database() != Some(self.server_database().number()) {
            return None;
        }
        let channel =
            |number: u32, rest| [name.begin, number.to_string().as_bytes(), END_OF_NUMBER, rest].concat();
        if name.is_of_event() {
            let (number, key) = self.number_and_key(message)?;
            return Some((channel(number, name.rest), key));
        }
        let (number, key) = self.number_and_key(name.rest)?;
        Some((channel(number, key), message))
    }
}

fn blob<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    match cursor.head()? {
        ReplyHead::Blob { kind: b'$', body } => Some(body),
        _ => None,
    }
}
