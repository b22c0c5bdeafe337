//! Scripts and functions.

use super::{container, count, read, refused, row};
use crate::command::{Class, Flags, Gather, Refusal, Spec};

pub(super) const ROWS: &[Spec] = &[
    row("eval", -3, Class::Opaque).keys(count(2)),
    read("eval_ro", -3).keys(count(2)),
    row("evalsha", -3, Class::Opaque).keys(count(2)),
    read("evalsha_ro", -3).keys(count(2)),
    row("fcall", -3, Class::Opaque).keys(count(2)),
    read("fcall_ro", -3).keys(count(2)),
    container("function", -2, FUNCTION),
    container("script", -2, SCRIPT),
];

const FUNCTION: &[Spec] = &[
    row("function|delete", 3, Class::EveryPrimary(Gather::AllOk)).flags(Flags::WRITE),
    row("function|dump", 2, Class::AnyNode),
    row("function|flush", -2, Class::EveryPrimary(Gather::AllOk)).flags(Flags::WRITE),
    row("function|help", 2, Class::AnyNode),
    row("function|kill", 2, Class::EveryPrimary(Gather::AnyOk)),
    row("function|list", -2, Class::AnyNode),
    row("function|load", -3, Class::EveryPrimary(Gather::First)).flags(Flags::WRITE),
    row("function|restore", -3, Class::EveryPrimary(Gather::AllOk)).flags(Flags::WRITE),
    row("function|stats", 2, Class::AnyNode),
];

const SCRIPT: &[Spec] = &[
    refused("script|debug", -3, Refusal::SingleServers),
    row("script|exists", -3, Class::EveryPrimary(Gather::AllBits)),
    row("script|flush", -2, Class::EveryPrimary(Gather::AllOk)),
    row("script|help", 2, Class::AnyNode),
    row("script|kill", 2, Class::EveryPrimary(Gather::AnyOk)),
    row("script|load", 3, Class::EveryPrimary(Gather::First)),
    row("script|show", 3, Class::AnyNode),
];
