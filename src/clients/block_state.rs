//! The blocking command of a client, and what may end it early: CLIENT UNBLOCK, a drain, or the client's
//! leaving.
//!
//! Any thread may order the end. The task of the blocking command executes the order, because only the node
//! knows whether the wait was over already.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// Why a wait is to end.
#[derive(Debug)]
pub enum CancelReason {
    /// CLIENT UNBLOCK.
    Unblock {
        /// Whether the client gets an error, or the reply of a timeout.
        error: bool,
        /// Receives whether the order ended the wait.
        done: oneshot::Sender<bool>,
    },
    /// The daemon ends.
    Stop,
    /// The client has left, and will not read the reply.
    Abandon,
}

/// The blocking command of a client, if it has one. Each client has one `Wait`.
#[derive(Debug, Default)]
pub struct Wait {
    state: Mutex<BlockState>,
    ordered: Notify,
}

#[derive(Debug, Default)]
struct BlockState {
    waiting: bool,
    order: Option<CancelReason>,
    /// The daemon ends: a later blocking command is ended at once.
    stopping: bool,
    /// The client has left, and begins no other blocking command.
    gone: bool,
    /// Senders for tasks that wait until the client has left and its command has ended; they are dropped
    /// then.
    watchers: Vec<oneshot::Sender<()>>,
}

/// A wait that lasts until this is dropped.
#[derive(Debug)]
pub struct BlockGuard(Arc<Wait>);

// === impl Wait ===

impl Wait {
    /// Begins a wait. A client has one at a time.
    pub fn begin(self: &Arc<Wait>) -> BlockGuard {
        let mut state = self.state.lock();
        state.waiting = true;
        state.order = state.stopping.then_some(CancelReason::Stop);
        drop(state);
        BlockGuard(self.clone())
    }

    /// Whether the client waits.
    pub fn is_waiting(&self) -> bool {
        self.state.lock().waiting
    }

    /// Orders the end of the wait, if there is one without an order. The receiver gets whether this order
    /// ended it.
    pub fn unblock(&self, error: bool) -> Option<oneshot::Receiver<bool>> {
        let mut state = self.state.lock();
        if !state.waiting || state.order.is_some() {
            return None;
        }
        let (done, receiver) = oneshot::channel();
        state.order = Some(CancelReason::Unblock { error, done });
        self.ordered.notify_one();
        Some(receiver)
    }

    /// Ends the wait, and each later one, because the daemon ends.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.order(CancelReason::Stop);
    }

    /// Ends the wait because the client has left.
    pub fn abandon(&self) {
        self.order(CancelReason::Abandon);
        let mut state = self.state.lock();
        state.gone = true;
        state.notify();
    }

    /// Ends when the client has left and no blocking command of it waits upstream: then no node gives it an
    /// element any more.
    pub fn over(&self) -> impl Future<Output = ()> + use<> {
        let (sender, over) = oneshot::channel();
        let mut state = self.state.lock();
        state.watchers.push(sender);
        state.notify();
        async move { drop(over.await) }
    }

    fn order(&self, order: CancelReason) {
        let mut state = self.state.lock();
        if state.waiting {
            state.order = Some(order);
            self.ordered.notify_one();
        }
    }
}

// === impl BlockState ===

impl BlockState {
    /// Wakes the tasks that wait for the end, if it has come.
    fn notify(&mut self) {
        if self.gone && !self.waiting {
            self.watchers.clear();
        }
    }
}

// === impl BlockGuard ===

impl BlockGuard {
    /// The next order. None is lost when the wait for it is given up and begun again.
    pub async fn order(&self) -> CancelReason {
        loop {
            let order = self.0.state.lock().order.take();
            match order {
                Some(order) => return order,
                None => self.0.ordered.notified().await,
            }
        }
    }
}

impl Drop for BlockGuard {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        (state.waiting, state.order) = (false, None);
        state.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_wait_can_be_ended_and_only_once() {
        let wait = Arc::new(Wait::default());
        assert!(wait.unblock(false).is_none());
        let waiting = wait.begin();
        let ended = wait.unblock(true).unwrap();
        assert!(wait.unblock(false).is_none(), "it is ended already");
        let CancelReason::Unblock { error: true, done } = waiting.order().await else {
            panic!("another order")
        };
        done.send(true).unwrap();
        assert!(ended.await.unwrap());
        drop(waiting);
        assert!(!wait.is_waiting());
    }

    #[tokio::test]
    async fn it_is_over_when_the_client_is_gone_and_waits_no_more() {
        let wait = Arc::new(Wait::default());
        let waiting = wait.begin();
        let mut over = Box::pin(wait.over());
        assert!(futures_util::poll!(&mut over).is_pending());
        wait.abandon();
        assert!(futures_util::poll!(&mut over).is_pending(), "something may still be given to it");
        drop(waiting);
        over.await;
        wait.over().await;
        let idle = Wait::default();
        let over = idle.over();
        idle.abandon();
        over.await;
    }

    #[tokio::test]
    async fn who_is_gone_needs_no_other_order() {
        let wait = Arc::new(Wait::default());
        let waiting = wait.begin();
        let ended = wait.unblock(false).unwrap();
        wait.abandon();
        assert!(matches!(waiting.order().await, CancelReason::Abandon));
        assert!(ended.await.is_err(), "it was not ended by CLIENT UNBLOCK");
    }
}
