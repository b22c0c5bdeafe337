//! How often the databases of one server were swapped. Servers push no invalidation for SWAPDB, and a script
//! may send it, so they are asked behind each script.

use std::cell::RefCell;

use bytes::Bytes;

/// The question: what the server has measured of SWAPDB, also of those in scripts.
pub(in crate::router) const QUESTION: [&str; 3] = ["LATENCY", "HISTOGRAM", "SWAPDB"];

/// The answer of a server whose databases were not swapped since its start.
const NONE: &[u8] = b"%0\r\n";

/// The answer that came last.
#[derive(Debug)]
pub(in crate::router) struct SwapCount {
    last: RefCell<Bytes>,
}

// === impl SwapCount ===

impl Default for SwapCount {
    fn default() -> SwapCount {
        SwapCount { last: RefCell::new(Bytes::from_static(NONE)) }
    }
}

impl SwapCount {
    /// Whether databases were swapped since the answer before, as far as `answer` says.
    pub(in crate::router) fn has_changed(&self, answer: &Bytes) -> bool {
        if answer.first() != Some(&b'%') || *self.last.borrow() == *answer {
            return false;
        }
        // A copy: a slice would hold on to all that came with it.
        self.last.replace(Bytes::copy_from_slice(answer));
        true
    }
}
