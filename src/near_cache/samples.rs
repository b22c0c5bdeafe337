//! Some of the hits, for whoever checks that what was served was right.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::entry::{Cached, Entry, Found, Question, Reply};
use crate::clock::Nanos;

/// Samples that wait to be taken at most; more are passed over.
pub const SAMPLES_MAX: usize = 64;

/// A hit.
#[derive(Debug)]
pub struct Sample {
    /// The command that was answered.
    pub command: &'static str,
    /// The arguments after the command's name, as in [`Question`].
    pub tail: Box<[u8]>,
    /// What was served.
    pub served: Reply,
    pub(super) entry: Arc<Entry>,
}

/// The samples of one worker.
#[derive(Debug)]
pub(super) struct Samples {
    /// A hit is taken when none of these bits is set in the number of hits.
    mask: u64,
    waiting: RefCell<VecDeque<Sample>>,
    news: Notify,
}

// === impl Sample ===

impl Sample {
    /// The key.
    pub fn key(&self) -> &[u8] {
        self.entry.key()
    }

    /// Whether the entry still had the reply at `now`, as far as its connection and its time go.
    pub(super) fn is_live(&self, now: Nanos) -> bool {
        let question = Question { command: self.command, key: self.entry.key(), tail: &self.tail };
        matches!(self.entry.find(&question, now), Found::Live(..))
    }
}

// === impl Samples ===

impl Samples {
    pub(super) fn new(mask: u64) -> Samples {
        Samples { mask, waiting: RefCell::default(), news: Notify::new() }
    }

    /// Takes the hit of this number, if it is its turn; whether there was no room for it.
    pub(super) fn look(
        &self,
        hits: u64,
        question: &Question<'_>,
        reply: &Cached,
        entry: &Arc<Entry>,
    ) -> bool {
        if hits & self.mask != 0 {
            return false;
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= SAMPLES_MAX {
            return true;
        }
        let (command, tail) = (question.command, question.tail.into());
        waiting.push_back(Sample { command, tail, served: reply.reply(), entry: entry.clone() });
        self.news.notify_one();
        false
    }

    /// The next sample, when there is one.
    pub(super) async fn next(&self) -> Sample {
        loop {
            if let Some(sample) = self.waiting.borrow_mut().pop_front() {
                return sample;
            }
            self.news.notified().await;
        }
    }
}
