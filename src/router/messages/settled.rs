//! Waits until the nodes have answered what our clients subscribe to and unsubscribe from.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::pubsub::Hub;
use crate::upstream::Topic;

/// Lasts while a node has not answered what our clients began or ended: of what gets the messages of
/// `channel`, or of anything. Until then nobody knows what the node counts, and a client that has sent
/// SUBSCRIBE before would miss a message, which no client of a plain server would. `None` if there is nothing
/// to wait for.
pub(in crate::router) fn until_settled(
    hub: &Hub,
    timeout: Duration,
    channel: Option<&Topic>,
) -> Option<LocalBoxFuture<'static, ()>> {
    let feed = hub.feed();
    if !feed.is_changing(channel) {
        return None;
    }
    let (feed, channel, deadline) = (feed.clone(), channel.cloned(), Instant::now() + timeout);
    Some(Box::pin(async move {
        feed.settled(deadline, move |feed| !feed.is_changing(channel.as_ref())).await;
    }))
}
