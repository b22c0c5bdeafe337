//! What lies in the log in which order: segments and large replies in two queues, small and main (S3-FIFO).
//!
//! A new entry goes into the small queue, which has a tenth of the budget. An entry that was hit by the time
//! it comes to the front moves to the main queue, and goes round there each time that it was hit. All others
//! are evicted, and their keys are remembered: a key that comes back goes into the main queue at once. A
//! large entry needs more hits for each of these steps, a small one fewer ([`super::evict`]).

use std::collections::VecDeque;

/// A part of the log, written from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u32,
    /// Words that are written.
    pub(super) used: usize,
    pub(super) entries: u32,
    /// The tick at which it was opened.
    pub(super) since: u32,
}

/// What comes to the front of a queue at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Segment(Segment),
    /// The spot of a large reply, the hash of its key, its bytes, the index of its epoch, and the tick at
    /// which it came here.
    Large {
        spot: u64,
        hash: u64,
        bytes: usize,
        epoch_index: u16,
        since: u32,
    },
}

/// A queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    elements: VecDeque<Element>,
    /// Where the next entry goes.
    pub(super) open: Option<Segment>,
    large_bytes: usize,
    large: usize,
    /// The number of large replies at which those that have gone are taken out.
    next_look: usize,
}

/// The two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueKind {
    Small,
    Main,
}

/// Both.
#[derive(Debug, Default)]
pub(super) struct Queues {
    small: Queue,
    main: Queue,
}

/// A queue with at most this many large replies is not searched for those that have gone.
const LARGE_MIN: usize = 64;

/// The part of the budget that the small queue has.
const SMALL_PART: u64 = 10;

// === impl Queue ===

impl Queue {
    fn bytes(&self, segment_bytes: usize) -> u64 {
        let segments = self.elements.iter().filter(|element| matches!(element, Element::Segment(_))).count();
        ((segments + usize::from(self.open.is_some())) * segment_bytes + self.large_bytes) as u64
    }

    pub(super) fn push(&mut self, element: Element) {
        if let Element::Large { bytes, .. } = element {
            self.large_bytes += bytes;
            self.large += 1;
        }
        self.elements.push_back(element);
    }

    /// Large replies, those that went by themselves among them.
    #[cfg(test)]
    pub(super) fn large(&self) -> usize {
        self.large
    }

    fn pop(&mut self) -> Option<Element> {
        let element = self.elements.pop_front().or_else(|| self.open.take().map(Element::Segment));
        if let Some(Element::Large { bytes, .. }) = element {
            self.large_bytes -= bytes;
            self.large -= 1;
        }
        element
    }

    /// Takes out large replies that were removed otherwise, when there may be many of them, and calls `gone`
    /// with their epochs. That is little work for each one that is pushed.
    pub(super) fn drop_gone(&mut self, is_there: impl Fn(u64) -> bool, mut gone: impl FnMut(u16)) {
        if self.large < self.next_look.max(LARGE_MIN) {
            return;
        }
        let (mut large, mut large_bytes) = (0, 0);
        self.elements.retain(|element| match element {
            Element::Large { spot, bytes, .. } if is_there(*spot) => {
                large += 1;
                large_bytes += bytes;
                true
            }
            Element::Large { epoch_index, .. } => {
                gone(*epoch_index);
                false
            }
            Element::Segment(_) => true,
        });
        (self.large, self.large_bytes, self.next_look) = (large, large_bytes, 2 * large);
    }
}

// === impl Queues ===

impl Queues {
    pub(super) fn of(&mut self, which: QueueKind) -> &mut Queue {
        match which {
            QueueKind::Small => &mut self.small,
            QueueKind::Main => &mut self.main,
        }
    }

    /// What has to go for room, and from which queue.
    pub(super) fn next(&mut self, segment_bytes: usize, budget: u64) -> Option<(QueueKind, Element)> {
        let small = self.small.bytes(segment_bytes) > budget / SMALL_PART;
        let order =
            if small { [QueueKind::Small, QueueKind::Main] } else { [QueueKind::Main, QueueKind::Small] };
        order.into_iter().find_map(|which| Some((which, self.of(which).pop()?)))
    }

    /// Takes out the first segment that `chosen` accepts, wherever it is.
    pub(super) fn take(&mut self, chosen: impl Fn(&Segment) -> bool) -> Option<(QueueKind, Segment)> {
        [QueueKind::Small, QueueKind::Main].into_iter().find_map(|which| {
            let elements = &mut self.of(which).elements;
            let is_it = |element: &Element| matches!(element, Element::Segment(segment) if chosen(segment));
            let at = elements.iter().position(is_it)?;
            match elements.remove(at) {
                Some(Element::Segment(segment)) => Some((which, segment)),
                _ => None,
            }
        })
    }

    #[cfg(test)]
    /// All segments that are in use.
    pub(super) fn clear(&mut self) -> Vec<Segment> {
        let queues = std::mem::take(self);
        [queues.small, queues.main]
            .into_iter()
            .flat_map(|queue| queue.elements.into_iter().chain(queue.open.map(Element::Segment)))
            .filter_map(|element| match element {
                Element::Segment(segment) => Some(segment),
                Element::Large { .. } => None,
            })
            .collect()
    }
}
