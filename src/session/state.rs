//! What a session remembers of its client.

use std::rc::Rc;

use super::modes::Modes;
use super::subscriber::Subscriber;
use crate::clients::Listed;
use crate::clock::Nanos;
use crate::proxy::OwnWrites;
use crate::resp::Resp;

/// Which replies the client wants: CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replies {
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
pub(super) struct State {
    /// How others know it, and reach it.
    pub(super) client: Listed,
    /// Where the client is, as CLIENT INFO shows it.
    pub(super) address: String,
    /// Where it connected to.
    pub(super) local_address: String,
    pub(super) connected_at: Nanos,
    pub(super) resp: Resp,
    pub(super) name: Vec<u8>,
    pub(super) library_name: Vec<u8>,
    pub(super) library_version: Vec<u8>,
    pub(super) replies: Replies,
    pub(super) own_writes: Rc<OwnWrites>,
    /// Absent in a plain session, which most are.
    pub(super) modes: Option<Box<Modes>>,
    /// No request is taken before all earlier ones have been answered.
    pub(super) alone: bool,
    /// The client wants to leave: nothing is taken any more, and the connection closes when all is answered.
    pub(super) leaving: bool,
}

// === impl State ===

impl State {
    pub(super) fn new(client: Listed, address: String, local_address: String, connected_at: Nanos) -> State {
        State {
            client,
            address,
            local_address,
            connected_at,
            resp: Resp::Two,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            replies: Replies::On,
            own_writes: Rc::default(),
            modes: None,
            alone: false,
            leaving: false,
        }
    }

    /// Back to how a connection begins: RESET.
    pub(super) fn reset(&mut self) {
        self.resp = Resp::Two;
        self.name.clear();
        self.replies = Replies::On;
        self.modes = None;
        // What was on its way to one of its modes would come as a reply to something else.
        self.client.mailbox.discard();
    }

    /// Whether the client gets messages of channels.
    pub(super) fn is_subscribed(&self) -> bool {
        let subscriber = self.modes.as_ref().and_then(|modes| modes.subscriber.as_ref());
        subscriber.is_some_and(Subscriber::is_subscribed)
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
            Replies::On => true,
            Replies::Off => false,
            Replies::SkipBoth => {
                self.replies = Replies::SkipNext;
                false
            }
            Replies::SkipNext => {
                self.replies = Replies::On;
                false
            }
        }
    }
}
