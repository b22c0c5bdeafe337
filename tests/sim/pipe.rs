//! One direction of a connection: bytes that arrive later than they were sent, in pieces, and in order.

use std::collections::VecDeque;

use crate::history::Ms;

/// How late bytes are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    pub(crate) min: Ms,
    pub(crate) max: Ms,
    /// Nothing arrives before this.
    pub(crate) stalled_until: Ms,
    /// What is put in before this comes in pieces, one some time after the other.
    pub(crate) slow_until: Ms,
}

/// The bytes on their way, and a mark for what it means that the last byte of a piece has arrived.
#[derive(Debug)]
pub(crate) struct Pipe<M> {
    pieces: VecDeque<Piece<M>>,
    last_due: Ms,
    /// Whatever is put in vanishes.
    pub(crate) dead: bool,
}

#[derive(Debug)]
struct Piece<M> {
    due: Ms,
    bytes: Vec<u8>,
    mark: Option<M>,
}

impl<M> Default for Pipe<M> {
    fn default() -> Pipe<M> {
        Pipe { pieces: VecDeque::new(), last_due: 0, dead: false }
    }
}

impl<M> Pipe<M> {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Puts bytes in at `now`; now and then they arrive in two pieces, or in many.
    pub(crate) fn put(
        &mut self,
        mut bytes: Vec<u8>,
        mark: Option<M>,
        now: Ms,
        lag: Lag,
        rng: &mut fastrand::Rng,
    ) {
        if self.dead || bytes.is_empty() {
            return;
        }
        while bytes.len() > 1 && rng.u8(..8) < if lag.slow_until > now { 6 } else { 1 } {
            let rest = bytes.split_off(rng.usize(1..bytes.len()));
            self.put_piece(bytes, None, now, lag, rng);
            bytes = rest;
            if lag.slow_until <= now {
                break;
            }
        }
        self.put_piece(bytes, mark, now, lag, rng);
    }

    fn put_piece(&mut self, bytes: Vec<u8>, mark: Option<M>, now: Ms, lag: Lag, rng: &mut fastrand::Rng) {
        let last_due = if lag.slow_until > now { self.last_due + rng.u64(1..60) } else { self.last_due };
        let due = (now + rng.u64(lag.min..=lag.max)).max(lag.stalled_until).max(last_due);
        self.last_due = due;
        self.pieces.push_back(Piece { due, bytes, mark });
    }

    /// The next piece that has arrived by `now`.
    pub(crate) fn take(&mut self, now: Ms) -> Option<(Vec<u8>, Option<M>)> {
        if self.pieces.front()?.due > now {
            return None;
        }
        self.pieces.pop_front().map(|piece| (piece.bytes, piece.mark))
    }

    /// Loses what is on its way, and all that comes.
    pub(crate) fn kill(&mut self) {
        self.dead = true;
        self.pieces.clear();
    }
}
