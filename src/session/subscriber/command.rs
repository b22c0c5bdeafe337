//! SUBSCRIBE, UNSUBSCRIBE and their like, and what a subscribed client may do.

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use tokio::task::yield_now;

use super::state::{NAMES_AT_ONCE, Subscriber};
use super::subscribe::begin_subscribe;
use super::unsubscribe::begin_unsubscribe;
use crate::commands::SessionContext;
use crate::protocol::command::{Class, Local, Spec, TopicKind};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::Answer;
use crate::session::state::SessionState;

/// Answers SUBSCRIBE and similar commands. The session continues with the next request meanwhile: a client
/// that sends many of them does not wait for each.
pub(in crate::session) fn subscribe(
    kind: TopicKind,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Answer {
    let SessionState { modes, client, .. } = state;
    let subscriber = &mut modes.get_or_insert_default().subscriber;
    let subscriber = subscriber.get_or_insert_with(|| Subscriber::new(context, client));
    begin_subscribe(subscriber, kind, request, client.resp(), context)
}

/// Answers UNSUBSCRIBE and its like.
pub(in crate::session) fn unsubscribe(
    kind: TopicKind,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Answer {
    let SessionState { modes, client, .. } = state;
    let modes = modes.get_or_insert_default();
    let subscriber = modes.subscriber.get_or_insert_with(|| Subscriber::new(context, client));
    let answer = begin_unsubscribe(subscriber, kind, request, client.resp());
    if !subscriber.is_subscribed() {
        modes.subscriber = None;
    }
    answer
}

/// The error for a command of a subscribed client of RESP2, which can distinguish replies from messages only
/// if few commands are allowed.
pub(in crate::session) fn refusal(name: &str, is_exec: bool) -> Bytes {
    let code = if is_exec { "EXECABORT Transaction discarded because of:" } else { "ERR" };
    encode::error_reply(format!(
        "{code} Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
         allowed in this context"
    ))
}

/// Whether this is a PING with the right number of arguments.
pub(in crate::session) fn is_plain_ping(spec: &Spec, request: &Request<'_>) -> bool {
    spec.class == Class::Local(Local::Ping) && request.len() <= 2
}

/// The reply to PING in the form of a message.
pub(in crate::session) fn pong(request: &Request<'_>) -> Bytes {
    let mut out = BytesMut::from(&b"*2\r\n$4\r\npong\r\n"[..]);
    encode::bulk(&mut out, request.arg(1));
    out.freeze()
}

/// Whether a request about subscriptions is so large that others have to get their turn while it is worked
/// on: nothing else of its session is, then.
pub(in crate::session) fn is_large(unsubscribes: bool, request: &Request<'_>, state: &SessionState) -> bool {
    let all = || {
        let subscriber = state.modes.as_ref().and_then(|modes| modes.subscriber.as_ref());
        subscriber.map_or(0, |subscriber| subscriber.len())
    };
    let names = if request.len() == 1 && unsubscribes { all() } else { request.len() - 1 };
    names > NAMES_AT_ONCE
}

/// Ends very many subscriptions of a session that is to have none, without a word to its client. Others get
/// their turn meanwhile; `None` if there are few enough to end at once.
pub(in crate::session) fn leave(state: &SessionState) -> Option<LocalBoxFuture<'static, ()>> {
    let subscriber = state.modes.as_ref()?.subscriber.as_ref()?;
    if subscriber.len() <= NAMES_AT_ONCE {
        return None;
    }
    let Subscriber { hub, client, subscribed } = subscriber;
    let (hub, client, subscribed) = (hub.clone(), client.clone(), subscribed.clone());
    client.holds_nothing();
    Some(Box::pin(async move {
        loop {
            let Some(topics) = subscribed.borrow_mut().take(NAMES_AT_ONCE) else { return };
            hub.unsubscribe(&client, &topics);
            yield_now().await;
        }
    }))
}
