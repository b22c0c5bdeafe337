//! Opens a connection for every node on which a subscription is wanted.

use std::sync::Arc;

use super::link::{self, OnMessage};
use super::subscriptions::Subscriptions;
use crate::upstream::topology::slots::Discovery;

impl Subscriptions {
    /// Keeps what is wanted subscribed to, for as long as it is polled.
    pub async fn run(self: Arc<Subscriptions>, on_message: OnMessage) {
        let on_message = Arc::new(on_message);
        let mut discovery = self.upstream.table.follow();
        let mut news = true;
        loop {
            if news {
                if matches!(discovery.latest(), Discovery::Done(_)) {
                    self.plan.lock().follow(&self.upstream.table);
                }
                self.settled.notify_waiters();
            }
            let new = self.plan.lock().take_new();
            for (index, wake) in new {
                let Some(node) = self.upstream.table.node(index) else { continue };
                tokio::spawn(link::run(self.clone(), index, node, wake, on_message.clone()));
            }
            news = tokio::select! {
                () = discovery.changed() => true,
                () = self.needed.notified() => false,
            };
        }
    }
}
