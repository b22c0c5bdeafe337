//! The pipeline: it puts answers into the order of their requests, whenever they come.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::clock;
use crate::commands::LatencyTimer;

/// The answers of one session that have not left yet. All futures of outstanding answers are polled together,
/// so a slow one delays only the replies behind it, and no other session.
#[derive(Default)]
pub(super) struct Pipeline {
    /// A place for each answer; empty while it is outstanding.
    places: VecDeque<AnswerPlace>,
    /// The number of the first place.
    first: u64,
    /// An answer that began to wait when no other was outstanding. A client that waits for each reply has no
    /// other, and polling one is cheaper than polling a set. A session without outstanding answers takes no
    /// memory for it.
    lone: Option<Box<PendingAnswer>>,
    coming: FuturesUnordered<PendingAnswer>,
    /// Bytes of the answers that wait for an earlier one.
    bytes: usize,
    /// Bytes of the requests whose answers are outstanding.
    in_flight_bytes: usize,
    /// Confirmations that have not left yet.
    confirmations: usize,
}

/// Answers for which room is kept when none is outstanding.
const KEPT_PLACES_MAX: usize = 64;

/// An answer that will come, and the number of its place.
struct PendingAnswer {
    number: u64,
    reply: LocalBoxFuture<'static, Bytes>,
    measure: Option<LatencyTimer>,
    /// Bytes of the request.
    bytes: usize,
}

/// An answer that has come.
struct ArrivedAnswer {
    number: u64,
    reply: Bytes,
    measure: Option<LatencyTimer>,
    bytes: usize,
}

/// The place of one answer.
struct AnswerPlace {
    reply: Option<Bytes>,
    /// The number of the command whose reply was still to come; 0 for one that was there already.
    command: usize,
    /// Whether pushes to the client have to come behind it.
    confirms: bool,
}

// === impl Pipeline ===

impl Pipeline {
    /// Whether no answer is outstanding.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Answers outstanding, and those that wait for an earlier one.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of the answers that wait for an earlier one.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the requests whose answers are outstanding.
    #[inline]
    pub(super) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Whether a confirmation has not left yet.
    #[inline]
    pub(super) fn is_confirming(&self) -> bool {
        self.confirmations > 0
    }

    /// Adds an answer that is known already, behind the outstanding ones.
    pub(super) fn push_now(&mut self, reply: Bytes) {
        self.bytes += reply.len();
        self.places.push_back(AnswerPlace { reply: Some(reply), command: 0, confirms: false });
    }

    /// Adds an answer to `command` that will come, to a request of `bytes` bytes; `measure` is stopped when
    /// it comes.
    pub(super) fn push_later(
        &mut self,
        command: usize,
        reply: LocalBoxFuture<'static, Bytes>,
        measure: Option<LatencyTimer>,
        bytes: usize,
    ) {
        let number = self.place(command, false);
        self.in_flight_bytes += bytes;
        self.drive(PendingAnswer { number, reply, measure, bytes });
    }

    /// Adds an answer that the client does not want: its command still runs to its end.
    pub(super) fn push_unwanted(&mut self, reply: LocalBoxFuture<'static, Bytes>, bytes: usize) {
        let nothing = async move {
            drop(reply.await);
            Bytes::new()
        };
        self.push_later(0, Box::pin(nothing), None, bytes);
    }

    /// A confirmation of `command` that will come.
    pub(super) fn push_confirmation(&mut self, command: usize, reply: LocalBoxFuture<'static, Bytes>) {
        let number = self.place(command, true);
        self.confirmations += 1;
        self.drive(PendingAnswer { number, reply, measure: None, bytes: 0 });
    }

    fn drive(&mut self, coming: PendingAnswer) {
        if self.lone.is_none() && self.coming.is_empty() {
            self.lone = Some(Box::new(coming));
        } else {
            self.coming.push(coming);
        }
    }

    /// Polls the outstanding answers; returns one that has come.
    fn poll_coming(&mut self, cx: &mut Context<'_>) -> Option<ArrivedAnswer> {
        if let Some(lone) = &mut self.lone
            && let Poll::Ready(came) = Pin::new(lone).poll(cx)
        {
            self.lone = None;
            return Some(came);
        }
        match self.coming.is_empty() {
            true => None,
            false => match self.coming.poll_next_unpin(cx) {
                Poll::Ready(came) => came,
                Poll::Pending => None,
            },
        }
    }

    /// Makes a place for an outstanding answer; returns its number.
    fn place(&mut self, command: usize, confirms: bool) -> u64 {
        self.places.push_back(AnswerPlace { reply: None, command, confirms });
        self.first + self.places.len() as u64 - 1
    }

    /// The next answer in order, if it has come, and the number of its command if it was outstanding.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Bytes)> {
        let mut now = None;
        while let Some(ArrivedAnswer { number, reply, measure, bytes }) = self.poll_coming(cx) {
            self.in_flight_bytes -= bytes;
            if let Some(measure) = measure {
                measure.stop(*now.get_or_insert_with(clock::now), &reply);
            }
            // A place is removed only when its answer has come, so its number is at least `first`.
            if let Some(place) = self.places.get_mut((number - self.first) as usize) {
                self.bytes += reply.len();
                place.reply = Some(reply);
            }
        }
        let Some(place) = self.places.front_mut() else { return Poll::Pending };
        let (command, Some(reply)) = (place.command, place.reply.take()) else { return Poll::Pending };
        self.confirmations -= usize::from(place.confirms);
        self.places.pop_front();
        if self.places.is_empty() && self.places.capacity() > KEPT_PLACES_MAX {
            self.places = VecDeque::new();
        }
        self.first += 1;
        self.bytes -= reply.len();
        Poll::Ready((command, reply))
    }

    /// Puts `reply` into every place whose answer is outstanding, and stops waiting for these.
    pub(super) fn give_up(&mut self, reply: &Bytes) {
        self.lone = None;
        self.coming.clear();
        for place in self.places.iter_mut().filter(|place| place.reply.is_none()) {
            self.bytes += reply.len();
            place.reply = Some(reply.clone());
        }
    }

    /// Runs all commands that were sent upstream to their end, though the client has left: fills that others
    /// joined are completed, and the keys of writes are dropped from L1 once more.
    pub(super) async fn run_out(mut self) {
        let measured = |came: ArrivedAnswer| {
            came.measure.into_iter().for_each(|measure| measure.stop(clock::now(), &came.reply));
        };
        self.coming.extend(self.lone.take().map(|lone| *lone));
        self.coming.for_each(async |came| measured(came)).await;
    }
}

// === impl PendingAnswer ===

impl Future for PendingAnswer {
    type Output = ArrivedAnswer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(self.reply.as_mut().poll(cx));
        Poll::Ready(ArrivedAnswer {
            number: self.number,
            reply,
            measure: self.measure.take(),
            bytes: self.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn answers_leave_in_the_order_of_their_requests() {
        let mut pipeline = Pipeline::default();
        let (send_first, first) = oneshot::channel();
        let (send_third, third) = oneshot::channel();
        pipeline.push_later(1, Box::pin(async { first.await.unwrap() }), None, 10);
        pipeline.push_now(Bytes::from_static(b"second"));
        pipeline.push_later(3, Box::pin(async { third.await.unwrap() }), None, 20);
        send_third.send(Bytes::from_static(b"third")).unwrap();
        assert!(futures_util::poll!(poll_fn(|cx| pipeline.poll_next(cx))).is_pending());
        assert_eq!((pipeline.bytes(), pipeline.in_flight_bytes()), ("secondthird".len(), 10));
        send_first.send(Bytes::from_static(b"first")).unwrap();
        for expected in [(1, "first".into()), (0, "second".into()), (3, "third".into())] {
            assert_eq!(poll_fn(|cx| pipeline.poll_next(cx)).await, expected);
        }
        assert!(pipeline.is_empty());
        assert_eq!((pipeline.bytes(), pipeline.in_flight_bytes()), (0, 0));
    }
}
