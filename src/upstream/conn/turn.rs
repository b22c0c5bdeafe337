//! Very much input of one node is processed in turns, so that sessions and other connections get theirs in
//! between.
//!
//! Meanwhile the rest counts as not arrived: replies behind it are not handed out, nor answers to heartbeats.

use bytes::Bytes;
use tokio::task;

/// Frames, and keys in them, that are worked on at a time.
const WORK_PER_TURN: usize = 512;

/// How much of the turn is over.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Turn {
    done: usize,
}

// === impl Turn ===

impl Turn {
    /// Counts work that was done. Lets others in when that is enough for now.
    #[inline]
    pub(in crate::upstream) async fn note(&mut self, work: usize) {
        self.done += work;
        if self.done >= WORK_PER_TURN {
            self.done = 0;
            task::yield_now().await;
        }
    }
}

/// The keys of one push, no more at a time than one turn is for.
pub(in crate::upstream) fn parts(keys: Vec<Bytes>) -> impl Iterator<Item = Vec<Bytes>> {
    let mut rest = keys.into_iter();
    std::iter::from_fn(move || {
        let part: Vec<Bytes> = rest.by_ref().take(WORK_PER_TURN).collect();
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[test]
    fn the_keys_come_in_order_and_none_is_left_out() {
        for count in [0, 1, WORK_PER_TURN, WORK_PER_TURN + 1, 3 * WORK_PER_TURN] {
            let keys: Vec<Bytes> = (0..count).map(|number| number.to_string().into()).collect();
            let parts: Vec<Vec<Bytes>> = parts(keys.clone()).collect();
            assert!(parts.iter().all(|part| (1..=WORK_PER_TURN).contains(&part.len())));
            assert_eq!(parts.concat(), keys);
        }
    }

    #[tokio::test]
    async fn others_get_their_turn_after_so_much() {
        let others = std::rc::Rc::new(Cell::new(0));
        let (counting, seen) = (others.clone(), others.clone());
        let set = LocalSet::new();
        set.spawn_local(async move {
            loop {
                counting.set(counting.get() + 1);
                task::yield_now().await;
            }
        });
        set.run_until(async move {
            let worked = spawn_local(async move {
                let (mut turn, begun) = (Turn::default(), seen.get());
                for _ in 1..WORK_PER_TURN {
                    turn.note(1).await;
                }
                assert_eq!(seen.get(), begun);
                for _ in 0..10 {
                    turn.note(WORK_PER_TURN).await;
                }
                assert!(seen.get() >= begun + 9);
            });
            worked.await.unwrap();
        })
        .await;
    }
}
