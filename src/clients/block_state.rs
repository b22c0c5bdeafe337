//! A client that waits for something upstream, and who may end that: CLIENT UNBLOCK, a drain, the client
//! itself by leaving.
//!
//! Any thread may order the end. Whoever waits carries the order out, because only the node knows whether the
//! wait was over already.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// Why a wait is to end.
#[derive(Debug)]
pub enum CancelReason {
    /// CLIENT UNBLOCK.
    Unblock {
        /// Whether the client is to get an error, not what it gets when its time is over.
        error: bool,
        /// Is told whether the order ended the wait.
        done: oneshot::Sender<bool>,
    },
    /// The daemon ends.
    Stop,
    /// The client is gone: nobody will read the reply.
    Abandon,
}

/// Whether a client waits. There is one for each client.
#[derive(Debug, Default)]
pub struct Wait {
    state: Mutex<BlockState>,
    ordered: Notify,
}

#[derive(Debug, Default)]
struct BlockState {
    waiting: bool,
    order: Option<CancelReason>,
    /// The daemon ends: whoever begins to wait is told so at once.
    stopping: bool,
    /// The client is gone, and begins no other wait.
    gone: bool,
    /// Those who want to know when it is gone and waits no more: they hear of it when these are dropped.
    told: Vec<oneshot::Sender<()>>,
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

    /// Orders the end of the wait, if there is one that nobody has ended; tells later whether this ended it.
    pub fn unblock(&self, error: bool) -> Option<oneshot::Receiver<bool>> {
        let mut state = self.state.lock();
        if !state.waiting || state.order.is_some() {
            return None;
        }
        let (done, told) = oneshot::channel();
        state.order = Some(CancelReason::Unblock { error, done });
        self.ordered.notify_one();
        Some(told)
    }

    /// The daemon ends: so does the wait, and each that begins later.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.order(CancelReason::Stop);
    }

    /// The client is gone.
    pub fn abandon(&self) {
        self.order(CancelReason::Abandon);
        let mut state = self.state.lock();
        state.gone = true;
        state.notify();
    }

    /// Comes to its end when the client is gone and nothing waits for it upstream any more: then nothing is
    /// given to it.
    pub fn over(&self) -> impl Future<Output = ()> + use<> {
        let (told, over) = oneshot::channel();
        let mut state = self.state.lock();
        state.told.push(told);
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
    /// Tells those who want to know, if it has come to that.
    fn notify(&mut self) {
        if self.gone && !self.waiting {
            self.told.clear();
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
        let told = wait.unblock(true).unwrap();
        assert!(wait.unblock(false).is_none(), "it is ended already");
        let CancelReason::Unblock { error: true, done } = waiting.order().await else {
            panic!("another order")
        };
        done.send(true).unwrap();
        assert!(told.await.unwrap());
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
        let told = wait.unblock(false).unwrap();
        wait.abandon();
        assert!(matches!(waiting.order().await, CancelReason::Abandon));
        assert!(told.await.is_err(), "it was not ended by CLIENT UNBLOCK");
    }
}
