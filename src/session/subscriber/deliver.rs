//! A message on its way to a client in a namespace: it gets the names that the client has.

use bytes::{Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use super::state::Subscriber;
use crate::namespace::Delivered;
use crate::protocol::command::TopicKind;
use crate::protocol::glob;
use crate::protocol::resp::encode;
use crate::upstream::Topic;

/// A push in its RESP3 form, in two parts: the message itself is not copied.
pub(in crate::session) type PushParts = [Bytes; 2];

// === impl Subscriber ===

impl Subscriber {
    /// Whether messages go to the client as they come.
    pub(in crate::session) fn is_in_namespace(&self) -> bool {
        self.subscribed.borrow().scope().is_some()
    }

    /// What the client is sent for `push`, which came for a topic that it subscribed to. A notification is
    /// sent for each name that matches it, and for none if it is about a key of others.
    pub(in crate::session) fn delivered(&self, push: &Bytes) -> SmallVec<[PushParts; 1]> {
        let subscribed = self.subscribed.borrow();
        match subscribed.scope().and_then(|scope| scope.message(push)) {
            None => SmallVec::new(),
            Some(Delivered::Message(head, message)) => smallvec![[head, message]],
            Some(Delivered::Notification { kind: TopicKind::Pattern, topic, channel, message }) => {
                let topic = Topic::new(TopicKind::Pattern, topic);
                let names = subscribed.names_of(&topic).filter(|name| glob::matches(name, &channel));
                names.map(|name| notification(&[b"pmessage", name, &channel], &message)).collect()
            }
            Some(Delivered::Notification { kind, channel, message, .. }) => {
                match subscribed.contains(kind, &channel) {
                    true => smallvec![notification(&[b"message", &channel], &message)],
                    false => SmallVec::new(),
                }
            }
        }
    }
}

fn notification(head: &[&[u8]], message: &Bytes) -> PushParts {
    let mut out = BytesMut::new();
    out.extend_from_slice(if head.len() == 2 { b">3\r\n" } else { b">4\r\n" });
    head.iter().for_each(|part| encode::bulk(&mut out, part));
    encode::bulk(&mut out, message);
    [out.freeze(), Bytes::new()]
}
