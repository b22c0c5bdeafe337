//! The mailbox of a session: messages of channels, invalidations, lines of MONITOR, and the order to end.
//!
//! Any thread may put mail in; the session takes it out when it is polled. A mailbox has a limit in bytes: a
//! client that does not read its messages is disconnected, as by Redis.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

/// A message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail {
    /// Goes out at once, whatever replies are outstanding. A push in its RESP3 form; a client of RESP2 gets
    /// an array.
    Now(Bytes),
    /// Goes out behind every reply that is outstanding when the message comes, since it may be about one of
    /// them.
    Behind(Bytes),
    /// As `Behind`, for clients of RESP3 alone: RESP2 has no form for it.
    BehindInResp3(Bytes),
    /// An invalidation for another client, which redirects it here: an array of keys, or a null for all. Goes
    /// out behind every reply that is outstanding; its form depends on this session.
    Redirected(Bytes),
}

/// The mailbox of one session.
#[derive(Debug)]
pub struct Mailbox {
    contents: Mutex<Contents>,
    /// Whether there is any mail, so that a session without mail takes no lock.
    stirred: AtomicBool,
    /// Wakes the session. It runs in one task from beginning to end, so this never changes.
    waker: OnceLock<Waker>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Contents {
    mail: Vec<Mail>,
    bytes: usize,
    overflown: bool,
    end: Option<&'static str>,
}

/// What was in a mailbox.
#[derive(Debug, Default)]
pub struct MailBatch {
    /// The mail, in the order in which it came.
    pub mail: Vec<Mail>,
    /// More came than the limit allows: lost mail cannot be replaced, so the session must end.
    pub overflown: bool,
    /// What ordered the session to end.
    pub end: Option<&'static str>,
}

// === impl Mail ===

impl Mail {
    fn len(&self) -> usize {
        match self {
            Mail::Now(bytes) | Mail::Behind(bytes) | Mail::BehindInResp3(bytes) | Mail::Redirected(bytes) => {
                bytes.len()
            }
        }
    }
}

// === impl Mailbox ===

impl Mailbox {
    /// An empty mailbox for at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Mailbox {
        let (contents, stirred, waker) = (Mutex::default(), AtomicBool::new(false), OnceLock::new());
        Mailbox { contents, stirred, waker, bytes_max }
    }

    /// Puts mail in.
    pub fn put(&self, mail: Mail) {
        self.put_within(mail, self.bytes_max);
    }

    /// Puts mail in that has a lower limit than the mailbox as a whole.
    pub fn put_within(&self, mail: Mail, bytes_max: usize) {
        let mut contents = self.contents.lock();
        if contents.overflown {
            return;
        }
        contents.bytes += mail.len();
        if contents.bytes > bytes_max.min(self.bytes_max) {
            contents.overflown = true;
            contents.mail = Vec::new();
        } else {
            contents.mail.push(mail);
        }
        drop(contents);
        self.wake();
    }

    /// Orders the session to end after it has sent its replies; `by` says what ordered it.
    pub fn end(&self, by: &'static str) {
        self.contents.lock().end = Some(by);
        self.wake();
    }

    /// Wakes the session, which has something else to look at.
    pub fn wake(&self) {
        self.stirred.store(true, Ordering::Release);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Drops its mail.
    pub fn discard(&self) {
        let mut contents = self.contents.lock();
        contents.bytes = 0;
        contents.mail = Vec::new();
    }

    /// Takes all mail out; `None` when there is none. `cx` is the context of the session, which later mail
    /// wakes.
    #[inline]
    pub fn take(&self, cx: &Context<'_>) -> Option<MailBatch> {
        if self.waker.get().is_none() {
            // Set once. Whatever was put in before has set `stirred`, which is looked at next.
            let _ = self.waker.set(cx.waker().clone());
        }
        if !self.stirred.load(Ordering::Acquire) {
            return None;
        }
        self.stirred.store(false, Ordering::Release);
        let mut contents = self.contents.lock();
        contents.bytes = 0;
        let mail = std::mem::take(&mut contents.mail);
        Some(MailBatch { mail, overflown: contents.overflown, end: contents.end })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn what_is_put_in_comes_out_once_and_in_order() {
        let mailbox = Mailbox::new(100);
        let cx = Context::from_waker(Waker::noop());
        assert!(mailbox.take(&cx).is_none());
        let mail = [Mail::Now(Bytes::from_static(b"one")), Mail::Behind(Bytes::from_static(b"two"))];
        for mail in mail.clone() {
            mailbox.put(mail);
        }
        assert_eq!(mailbox.take(&cx).unwrap().mail, mail);
        assert!(mailbox.take(&cx).is_none());
    }

    #[test]
    fn more_than_the_bound_is_told_and_not_kept() {
        let mailbox = Mailbox::new(5);
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            mailbox.put(Mail::Now(Bytes::from_static(b"abc")));
        }
        let taken = mailbox.take(&cx).unwrap();
        assert!(taken.overflown && taken.mail.is_empty());
    }

    #[test]
    fn a_narrower_bound_is_held_and_what_is_discarded_is_gone() {
        let mailbox = Mailbox::new(100);
        let cx = Context::from_waker(Waker::noop());
        let mail = || Mail::Now(Bytes::from_static(b"abc"));
        mailbox.put_within(mail(), 5);
        mailbox.discard();
        assert!(mailbox.take(&cx).unwrap().mail.is_empty());
        mailbox.put_within(mail(), 5);
        mailbox.put_within(mail(), 5);
        assert!(mailbox.take(&cx).unwrap().overflown);
    }
}
