//! Waits until the nodes have answered what our clients subscribe to and unsubscribe from.

use std::time::Duration;

use tokio::time::Instant;

use crate::pubsub::Hub;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::upstream::Topic;

/// Has the request wait, once, for a node that has not answered what our clients began or ended to subscribe
/// to: of what gets the messages of `channel`, or of anything. Until the node has answered, nobody knows what
/// it counts, and a client that has sent SUBSCRIBE before would miss a message, which no client of a plain
/// server would.
pub(in crate::router) fn wait_until_settled(
    hub: &Hub,
    patience: Duration,
    channel: Option<&Topic>,
    caller: Caller<'_>,
) -> Option<Answer> {
    let feed = hub.feed();
    if caller.own_writes.take_waited() || !feed.is_changing(channel) {
        return None;
    }
    let (feed, channel, own_writes) = (feed.clone(), channel.cloned(), caller.own_writes.clone());
    let deadline = Instant::now() + patience;
    Some(Answer::NotYet(Box::pin(async move {
        feed.settled(deadline, move |feed| !feed.is_changing(channel.as_ref())).await;
        own_writes.note_waited();
    })))
}
