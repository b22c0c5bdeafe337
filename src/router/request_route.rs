//! How to go on with a request: its keys, what it may change and where it goes, from the table or from what
//! the upstream said of its command.

use bytes::Bytes;

use super::coherence::inflight::InflightKeys;
use crate::protocol::command::{Class, Flags, Keys, ModuleCommand, ScriptAction, Spec, TtlEffect};
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::request::Request;
use crate::protocol::resp::resp2::Form;
use crate::upstream::NodeIndex;

/// A command has many keys from this number on.
const MANY_KEYS: usize = 1024;

/// How to go on with a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestRoute {
    pub(super) keys: Keys,
    pub(super) ttl_effect: TtlEffect,
    pub(super) flags: Flags,
    pub(super) form: Form,
    /// User code may answer it: a script, a function, or a command of a module.
    pub(super) runs_user_code: bool,
}

/// The keys that a command may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyAccess {
    /// The keys that it names, and no others.
    Declared,
    /// Keys that it does not name as well: a script, or a command that only a module knows.
    Undeclared,
}

/// Where a command goes: to the owner of the slot of its keys or, without one, to some node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination {
    pub(super) slots: KeySlots,
    /// The node, as far as is known now.
    pub(super) node: Option<NodeIndex>,
}

// === impl RequestRoute ===

impl RequestRoute {
    /// The route of a command of the table.
    pub(super) fn of(spec: &Spec) -> RequestRoute {
        let runs_user_code = matches!(
            spec.class,
            Class::Script(ScriptAction::Eval | ScriptAction::EvalSha | ScriptAction::Function)
        );
        RequestRoute {
            keys: spec.keys,
            ttl_effect: spec.ttl_effect,
            flags: spec.flags,
            form: spec.form,
            runs_user_code,
        }
    }

    /// The route of a command of a module. It is unknown which of its keys it writes.
    pub(super) fn learned(learned: &ModuleCommand) -> RequestRoute {
        let ModuleCommand { keys, flags, .. } = *learned;
        let ttl_effect = if flags.has(Flags::WRITE) { TtlEffect::Keys(keys) } else { TtlEffect::Nothing };
        RequestRoute { keys, ttl_effect, flags, form: Form::ByRule, runs_user_code: true }
    }

    /// Whether it changes its keys. PFCOUNT is a read that may: it leaves in the key what it counted.
    pub(super) fn may_write(self) -> bool {
        self.flags.has(Flags::WRITE) || self.flags.has(Flags::READ.with(Flags::MAY_REPLICATE))
    }

    /// Whether a request names very many keys, so that other sessions get their turn while something is done
    /// about each.
    #[inline]
    pub(super) fn has_many(self, request: &Request<'_>) -> bool {
        request.len() > MANY_KEYS && self.counts_many(request)
    }

    #[cold]
    fn counts_many(self, request: &Request<'_>) -> bool {
        self.keys.positions(request).is_ok_and(|positions| positions.len() > MANY_KEYS)
    }

    /// What a script or a function may touch: one that only reads says so, and touches no key that it does
    /// not name.
    pub(super) fn write_set_of_code(self) -> KeyAccess {
        if self.flags.has(Flags::READ) { KeyAccess::Declared } else { KeyAccess::Undeclared }
    }

    /// Whether it may touch keys that it does not declare, where the server lets it.
    #[inline]
    pub(super) fn reaches_further(self) -> bool {
        self.runs_user_code || self.flags.has(Flags::UNNAMED)
    }

    /// The slots of the keys that a request declares; none with arguments whose keys cannot be found: then
    /// any node answers with the right error.
    pub(super) fn named_slots(self, request: &Request<'_>) -> KeySlots {
        if let Some(only) = self.keys.only(request) {
            return KeySlots::One(Slot::of(request.arg(only)));
        }
        let positions = self.keys.positions(request).into_iter().flatten();
        positions.map(|position| Slot::of(request.arg(position))).collect()
    }

    /// The keys of a request, for as long as it is in flight: they share its copy.
    pub(super) fn keys_of(self, request: &Request<'_>) -> InflightKeys {
        if let Some(only) = self.keys.only(request) {
            return InflightKeys::from_buf([request.arg_bytes(only)]);
        }
        let positions = self.keys.positions(request).into_iter().flatten();
        positions.map(|position| request.arg_bytes(position)).collect()
    }

    /// Copies of the keys of a request, to keep them, or where no copy of the rest is needed.
    pub(super) fn copied_keys_of<K: FromIterator<Bytes>>(self, request: &Request<'_>) -> K {
        let positions = self.keys.positions(request).into_iter().flatten();
        positions.map(|position| Bytes::copy_from_slice(request.arg(position))).collect()
    }
}
