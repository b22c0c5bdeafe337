//! The stages of the daemon's end, for one session: each stage is reported once, without a lock on the path
//! of a request.

use std::pin::Pin;
use std::task::Context;

use crate::drain::Drain;

/// What begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The drain: requests that were received are answered, and no more are taken.
    Draining,
    /// The drain timeout is over: outstanding replies are not waited for any more.
    Over,
}

/// A watch over the stages, for one session.
pub(super) struct ShutdownStages<'a> {
    drain: &'a Drain,
    /// The stage that was reported last.
    reached: Option<Stage>,
    /// The future that wakes the task when the next stage begins. A session stays in one task, so one
    /// registration is enough.
    wakes: Option<Pin<Box<dyn Future<Output = ()> + 'a>>>,
}

// === impl ShutdownStages ===

impl<'a> ShutdownStages<'a> {
    pub(super) fn of(drain: &'a Drain) -> ShutdownStages<'a> {
        ShutdownStages { drain, reached: None, wakes: None }
    }

    /// The stage that has begun since the last look, if one has.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Stage> {
        if self.wakes.is_none() {
            self.wake_at(Box::pin(self.drain.begun()), cx);
        }
        if !self.drain.has_begun() { None } else { self.look_closer(cx) }
    }

    #[cold]
    fn look_closer(&mut self, cx: &mut Context<'_>) -> Option<Stage> {
        let stage = if self.drain.is_over() { Stage::Over } else { Stage::Draining };
        if self.reached == Some(stage) {
            return None;
        }
        if stage == Stage::Draining {
            self.wake_at(Box::pin(self.drain.over()), cx);
        }
        self.reached = Some(stage);
        Some(stage)
    }

    fn wake_at(&mut self, mut wakes: Pin<Box<dyn Future<Output = ()> + 'a>>, cx: &mut Context<'_>) {
        // It has a look at once: a stage that begins now is not missed.
        if wakes.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.wakes = Some(wakes);
    }
}
