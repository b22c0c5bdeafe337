//! Waits until the nodes have answered what our clients subscribe to and unsubscribe from.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::pubsub::Hub;
use crate::upstream::Topic;

/// Waits until the nodes have answered all changes of subscriptions that match `channel`, or of all. Until
/// then the counts of the nodes are uncertain, and a client that has sent SUBSCRIBE before would miss a
/// message, as with no plain server. `None` if there is nothing to wait for.
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
