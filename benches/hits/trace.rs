//! A trace: which key is asked for when, and how large each key and its value are.

use crate::request::Request;

/// Bytes of a key, and of its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) key: u16,
    pub(crate) value: u32,
}

#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) name: String,
    /// It was recorded, and not drawn.
    pub(crate) is_recorded: bool,
    pub(crate) requests: Vec<Request>,
    /// By the number of the key.
    pub(crate) sizes: Vec<Size>,
}

// === impl Trace ===

impl Trace {
    /// Bytes of all keys and values, without anything that keeping them takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.sizes.iter().map(|size| u64::from(size.key) + u64::from(size.value)).sum()
    }

    pub(crate) fn reads(&self) -> usize {
        self.requests.iter().filter(|request| matches!(request, Request::Read(_))).count()
    }
}
