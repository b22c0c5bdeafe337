//! The command table: what Redis and Valkey know as data, and how a request is recognised in it.
//!
//! A row says how many arguments a command takes, which of them are keys, what the daemon does with it and
//! how its RESP3 reply looks to a RESP2 client. Arity is written as in Redis: 3 is exactly three arguments
//! with the name, -3 is at least three. Where versions differ, the row has the looser arity, and the server
//! judges the rest.
//!
//! Must never know: anything that executes a command; this folder has data and lookups only. Begin with
//! `table/` (one row for each command), `class.rs` (what is done with it) and `lookup.rs` (how a session
//! finds a row).

mod category;
mod class;
mod denied;
mod error;
mod flags;
mod index;
mod keys;
mod learned;
mod lookup;
mod overwrites;
mod refusal_reason;
mod reply_names;
mod secrets;
mod table;
mod ttl_effect;

pub use category::members;
pub use class::{
    Class, CommandQuery, Database, Gather, InCluster, Join, Keyspace, Local, RequiredState, ScriptAction,
    SubscriptionQuery, TopicKind, TrackingCommand, TransactionCommand,
};
pub use denied::Denied;
pub use error::CommandError;
pub use flags::Flags;
pub use index::{
    CACHED, NUMBERS, all, cached, cached_number_of, is_unpaired, named, number_of, numbered, recognise,
};
pub use keys::{KeyPositions, Keys, KeysUnknown};
pub use learned::ModuleCommand;
pub use lookup::CommandLookup;
pub use ttl_effect::{TtlEffect, is_silent};

pub use refusal_reason::RefusalReason;
pub use reply_names::ReplyNames;

use crate::protocol::resp::{request::Request, resp2::Form};

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The number of this row, for an atomic or a table; no row has number 0.
    pub number: u16,
    /// The number under which L1 keeps its replies, from 1 without gaps; 0 if it keeps none.
    pub cached: u8,
    /// The name in lower case; that of a subcommand is the full one, as in `config|get`.
    pub name: &'static str,
    /// How many arguments it takes, with its name: exactly this many, or if negative at least as many.
    pub arity: i8,
    /// Those of Redis's flags that matter here.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: Keys,
    /// Which of them it may leave without a time to live.
    pub ttl_effect: TtlEffect,
    /// What is done with it; [`Spec::class_of`] looks at the arguments too.
    pub class: Class,
    /// How its reply differs between RESP2 and RESP3.
    pub form: Form,
    /// Where names of keys stand in its reply.
    pub names: ReplyNames,
    /// The subcommands that may be its first argument, if it is a container.
    pub subcommands: &'static [Spec],
}

/// Which argument says how long a request may block, and in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Seconds, with a fraction.
    Seconds(usize),
    /// Whole milliseconds.
    Milliseconds(usize),
}

// === impl Timeout ===

impl Timeout {
    /// The position of the argument.
    pub fn at(self) -> usize {
        match self {
            Timeout::Seconds(at) | Timeout::Milliseconds(at) => at,
        }
    }
}

// === impl Spec ===

impl Spec {
    /// The number of this row, less than [`NUMBERS`]; [`numbered`] returns the row.
    #[inline]
    pub fn number(&self) -> usize {
        usize::from(self.number)
    }

    /// Whether this is EXEC, which executes all that was queued since MULTI.
    pub fn is_exec(&self) -> bool {
        self.class == Class::Session(RequiredState::Transaction(TransactionCommand::Exec))
    }

    /// The class of this request: XREAD and XREADGROUP block only with the option BLOCK.
    pub fn class_of(&self, request: &Request<'_>) -> Class {
        match self.keys {
            Keys::Streams if keys::stream_options(request).0.is_some() => {
                Class::Session(RequiredState::Blocking)
            }
            _ => self.class,
        }
    }

    /// How its reply differs between RESP2 and RESP3 as an element of EXEC's, where it does not wait: what
    /// would have timed out then answers like the command that it is named after.
    pub fn form_in_transaction(&self) -> Form {
        match self.name {
            "blmove" | "brpoplpush" => Form::ByRule,
            _ => self.form,
        }
    }

    /// Where a request that may block says how long. The last BLOCK of several counts, as in Redis.
    pub fn timeout_of(&self, request: &Request<'_>) -> Option<Timeout> {
        match self.keys {
            Keys::Streams => keys::stream_options(request).0.map(Timeout::Milliseconds),
            Keys::Count { .. } => Some(Timeout::Seconds(1)),
            _ => Some(Timeout::Seconds(request.len() - 1)),
        }
    }

    /// Whether a request of this many arguments is complete. Keys that come with a value each must come in
    /// pairs.
    #[inline]
    fn takes(&self, count: usize) -> bool {
        let paired = !matches!(self.keys, Keys::Range { last: -1, step: 2, .. }) || count % 2 == 1;
        self.fits(count) && paired
    }

    /// Whether Redis accepts `count` arguments before it executes the request: it looks for pairs only then.
    #[inline]
    fn fits(&self, count: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { count >= least } else { count == least }
    }
}
