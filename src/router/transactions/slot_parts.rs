//! A transaction on several slots, taken apart: a part for each slot, and messages, which come behind them.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::assembled::AssembledTransaction;
use super::part::ExecElement;
use crate::protocol::key::{KeySlots, Slot};
use crate::router::forward::default_ttl::DefaultTtl;

/// The parts of a transaction.
pub(super) struct SlotParts {
    pub(super) parts: Vec<TransactionOfSlot>,
    /// The parts that are made of messages.
    pub(super) messages: Vec<TransactionOfSlot>,
    /// For each command that a server carries out, the part that it is in.
    pub(super) places: Vec<PartNumber>,
    numbers: HashMap<Slot, usize, RandomState>,
    numbers_of_messages: HashMap<Option<Slot>, usize, RandomState>,
    /// The part of the last command that is no message.
    latest: Option<usize>,
}

/// What of a transaction one node carries out in one piece.
pub(super) struct TransactionOfSlot {
    pub(super) slots: KeySlots,
    pub(super) whole: AssembledTransaction,
}

/// The number of a part.
#[derive(Clone, Copy)]
pub(super) enum PartNumber {
    Part(usize),
    Message(usize),
}

// === impl SlotParts ===

impl SlotParts {
    /// No parts yet.
    pub(super) fn new() -> SlotParts {
        SlotParts {
            parts: Vec::new(),
            messages: Vec::new(),
            places: Vec::new(),
            numbers: HashMap::default(),
            numbers_of_messages: HashMap::default(),
            latest: None,
        }
    }

    /// Adds an element, if a server has to carry it out.
    pub(super) fn add(&mut self, default_ttl: &DefaultTtl, element: &ExecElement) {
        let ExecElement::Sent(part, _) = element else { return };
        let slot = part.route.named_slots(&part.request()).one();
        let number = if part.publishes() { self.number_of_message(slot) } else { self.number_of(slot) };
        self.places.push(number);
        let part = match number {
            PartNumber::Part(number) => &mut self.parts[number],
            PartNumber::Message(number) => &mut self.messages[number],
        };
        part.whole.add(default_ttl, element);
    }

    fn number_of_message(&mut self, slot: Option<Slot>) -> PartNumber {
        let messages = &mut self.messages;
        PartNumber::Message(*self.numbers_of_messages.entry(slot).or_insert_with(|| push(messages, slot)))
    }

    fn number_of(&mut self, slot: Option<Slot>) -> PartNumber {
        let parts = &mut self.parts;
        let number = match (slot, self.latest) {
            // What names no key goes along with the command before it, or else with the one behind it.
            (None, Some(latest)) => latest,
            (None, None) => push(parts, None),
            (Some(slot), Some(latest)) if parts[latest].slots == KeySlots::None => {
                parts[latest].slots = KeySlots::One(slot);
                self.numbers.insert(slot, latest);
                latest
            }
            (Some(one), _) => *self.numbers.entry(one).or_insert_with(|| push(parts, slot)),
        };
        self.latest = Some(number);
        PartNumber::Part(number)
    }
}

/// Adds a part, and returns its number.
fn push(parts: &mut Vec<TransactionOfSlot>, slot: Option<Slot>) -> usize {
    let slots = slot.map_or(KeySlots::None, KeySlots::One);
    parts.push(TransactionOfSlot { slots, whole: AssembledTransaction::new() });
    parts.len() - 1
}
