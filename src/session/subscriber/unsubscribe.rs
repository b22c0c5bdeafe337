//! A request to unsubscribe.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::yield_now;

use super::confirmation::write;
use super::state::{NAMES_AT_ONCE, Subscriber};
use super::subscribed::Subscribed;
use crate::clients::Client;
use crate::clients::mailbox::Mail;
use crate::protocol::command::TopicKind;
use crate::protocol::resp::Resp;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::pubsub::Hub;
use crate::router::Answer;

/// A request to unsubscribe.
struct UnsubscribeRequest {
    hub: Arc<Hub>,
    client: Arc<Client>,
    subscribed: Rc<RefCell<Subscribed>>,
    kind: TopicKind,
    resp: Resp,
}

/// What is unsubscribed from.
enum UnsubscribeNames {
    /// All there was.
    All(Vec<Bytes>),
    /// What the request names.
    Asked(OwnedRequest),
}

/// Ends what the request names. The confirmation goes to the mailbox: what came before the end is in it
/// already.
pub(super) fn begin_unsubscribe(
    subscriber: &Subscriber,
    kind: TopicKind,
    request: &Request<'_>,
    resp: Resp,
) -> Answer {
    let names = match request.len() {
        1 => UnsubscribeNames::All(subscriber.subscribed.borrow().names(kind)),
        _ => UnsubscribeNames::Asked(request.to_owned()),
    };
    let ending = UnsubscribeRequest {
        hub: subscriber.hub.clone(),
        client: subscriber.client.clone(),
        subscribed: subscriber.subscribed.clone(),
        kind,
        resp,
    };
    let count = names.len();
    if count <= NAMES_AT_ONCE {
        ending.end(&names, 0);
        return Answer::Mailed;
    }
    Answer::Later(Box::pin(async move {
        for first in (0..count).step_by(NAMES_AT_ONCE) {
            ending.end(&names, first);
            yield_now().await;
        }
        // What there is to say went to the mailbox.
        Bytes::new()
    }))
}

// === impl UnsubscribeNames ===

impl UnsubscribeNames {
    fn len(&self) -> usize {
        match self {
            UnsubscribeNames::All(names) => names.len(),
            UnsubscribeNames::Asked(request) => request.as_request().len() - 1,
        }
    }

    /// Those from number `first` on that are looked at in one turn.
    fn from(&self, first: usize) -> Vec<Bytes> {
        match self {
            UnsubscribeNames::All(names) => names.iter().skip(first).take(NAMES_AT_ONCE).cloned().collect(),
            UnsubscribeNames::Asked(request) => {
                let request = request.as_request();
                let names = request.args().skip(1 + first).take(NAMES_AT_ONCE);
                names.map(Bytes::copy_from_slice).collect()
            }
        }
    }
}

// === impl UnsubscribeRequest ===

impl UnsubscribeRequest {
    /// Ends the subscriptions to those names from number `first` on that are looked at in one turn.
    fn end(&self, names: &UnsubscribeNames, first: usize) {
        let UnsubscribeRequest { kind, resp, .. } = *self;
        let mut subscribed = self.subscribed.borrow_mut();
        let mut ended = Vec::new();
        let mut confirmation = BytesMut::new();
        for name in names.from(first) {
            ended.extend(subscribed.remove(kind, &name).into_iter().flatten());
            write(&mut confirmation, &subscribed, kind, "unsubscribe", Some(&name), resp);
        }
        if names.len() == 0 {
            write(&mut confirmation, &subscribed, kind, "unsubscribe", None, resp);
        }
        subscribed.show(&self.client);
        drop(subscribed);
        self.hub.unsubscribe(&self.client, &ended);
        self.client.mailbox.put(Mail::Behind(confirmation.freeze()));
    }
}
