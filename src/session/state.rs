//! What a session remembers of its client.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::modes::Modes;
use super::subscriber::Subscriber;
use crate::clients::{ClientFlag, ClientGuard};
use crate::protocol::command::{CommandLookup, Denied};
use crate::protocol::resp::Resp;
use crate::router::Inflight;

/// Which replies the client wants: CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyMode {
    /// All.
    On,
    /// None.
    Off,
    /// All but those to the command at hand, which is CLIENT REPLY SKIP, and to the next.
    SkipBoth,
    /// All but the next one.
    SkipNext,
}

/// The state of one session.
#[derive(Debug)]
pub(super) struct SessionState {
    /// How others know it, and reach it.
    pub(super) client: ClientGuard,
    resp: Resp,
    pub(super) replies: ReplyMode,
    pub(super) recogniser: CommandLookup,
    pub(super) own_writes: Rc<Inflight>,
    /// Absent in a plain session, which most are.
    pub(super) modes: Option<Box<Modes>>,
    /// The client has to say a password before it may do anything.
    has_password: bool,
    /// A password was wrong on this connection.
    pub(super) was_wrong: bool,
    /// It has waited for its turn to say another one.
    pub(super) has_turn: bool,
    /// No request is taken before all earlier ones have been answered.
    pub(super) alone: bool,
    /// The client has killed itself, among others, and leaves when that is answered.
    pub(super) killed_itself: bool,
    /// The client wants to leave: nothing is taken any more, and the connection closes when all is answered.
    pub(super) leaving: bool,
}

// === impl State ===

impl SessionState {
    pub(super) fn new(client: ClientGuard, has_password: bool, denied: Arc<Denied>) -> SessionState {
        let mut state = SessionState {
            client,
            resp: Resp::Two,
            replies: ReplyMode::On,
            recogniser: CommandLookup::denying(denied),
            own_writes: Rc::default(),
            modes: None,
            has_password,
            was_wrong: false,
            has_turn: false,
            alone: false,
            killed_itself: false,
            leaving: false,
        };
        state.lock();
        state
    }

    /// Back to how a connection begins: RESET.
    pub(super) fn reset(&mut self) {
        self.set_resp(Resp::Two);
        self.client.names().client.clear();
        self.client.note_queued(None);
        for mark in [ClientFlag::NoEvict, ClientFlag::NoTouch] {
            self.client.mark(mark, false);
        }
        self.replies = ReplyMode::On;
        self.own_writes.want_fresh(false);
        self.modes = None;
        self.lock();
        // What was on its way to one of its modes would come as a reply to something else.
        self.client.mailbox.discard();
    }

    /// Back to what a client may do before it has said the password, if there is one.
    fn lock(&mut self) {
        if self.has_password {
            self.modes.get_or_insert_default().locked = true;
            // The next request is held to other bounds.
            self.alone = true;
        }
    }

    /// The client has said the password.
    pub(super) fn unlock(&mut self) {
        if let Some(modes) = self.modes.as_mut().filter(|modes| modes.locked) {
            modes.locked = false;
            self.alone = true;
            self.settle();
        }
    }

    /// Whether the client has a password to say yet.
    pub(super) fn is_locked(&self) -> bool {
        self.modes.as_ref().is_some_and(|modes| modes.locked)
    }

    /// Whether the client gets messages of channels.
    pub(super) fn is_subscribed(&self) -> bool {
        let subscriber = self.modes.as_ref().and_then(|modes| modes.subscriber.as_ref());
        subscriber.is_some_and(Subscriber::is_subscribed)
    }

    /// The version of the protocol that the client speaks.
    #[inline]
    pub(super) fn resp(&self) -> Resp {
        self.resp
    }

    pub(super) fn set_resp(&mut self, resp: Resp) {
        self.resp = resp;
        self.client.speaks_resp3.store(resp == Resp::Three, Ordering::Relaxed);
    }

    /// Back to a plain session when its last mode has ended.
    pub(super) fn settle(&mut self) {
        if self.modes.as_ref().is_some_and(|modes| modes.is_none()) {
            self.modes = None;
        }
    }

    /// Whether the reply to the request at hand is sent.
    pub(super) fn wants_reply(&mut self) -> bool {
        match self.replies {
            ReplyMode::On => true,
            ReplyMode::Off => false,
            ReplyMode::SkipBoth => {
                self.replies = ReplyMode::SkipNext;
                false
            }
            ReplyMode::SkipNext => {
                self.replies = ReplyMode::On;
                false
            }
        }
    }
}
