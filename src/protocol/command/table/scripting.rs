//! Scripts and functions.

use super::builder::{container, count, read, refused, row};
use crate::protocol::command::{Class, Flags, Gather, RefusalReason, ReplyNames, ScriptAction, Spec};

pub(super) const ROWS: &[Spec] = &[
    row("eval", -3, Class::Script(ScriptAction::Eval))
        .keys(count(2))
        .flags(Flags::MAY_REPLICATE)
        .names(ReplyNames::Script),
    read("eval_ro", -3).keys(count(2)).class(Class::Script(ScriptAction::Eval)).names(ReplyNames::Script),
    row("evalsha", -3, Class::Script(ScriptAction::EvalSha))
        .keys(count(2))
        .flags(Flags::MAY_REPLICATE)
        .names(ReplyNames::Script),
    read("evalsha_ro", -3)
        .keys(count(2))
        .class(Class::Script(ScriptAction::EvalSha))
        .names(ReplyNames::Script),
    row("fcall", -3, Class::Script(ScriptAction::Function))
        .keys(count(2))
        .flags(Flags::MAY_REPLICATE)
        .shared(),
    read("fcall_ro", -3).keys(count(2)).class(Class::Script(ScriptAction::Function)).shared(),
    container("function", -2, FUNCTION),
    container("script", -2, SCRIPT),
];

const FUNCTION: &[Spec] = &[
    row("function|delete", 3, Class::EveryPrimary(Gather::AllOk)).flags(Flags::WRITE).shared(),
    row("function|dump", 2, Class::AnyNode).shared(),
    row("function|flush", -2, Class::EveryPrimary(Gather::AllOk)).flags(Flags::WRITE).shared(),
    row("function|help", 2, Class::AnyNode),
    row("function|kill", 2, Class::EveryPrimary(Gather::AnyOk)).shared(),
    row("function|list", -2, Class::AnyNode).shared(),
    row("function|load", -3, Class::EveryPrimary(Gather::First)).flags(Flags::WRITE).shared(),
    row("function|restore", -3, Class::EveryPrimary(Gather::AllOk)).flags(Flags::WRITE).shared(),
    row("function|stats", 2, Class::EveryPrimary(Gather::Running)).shared(),
];

const SCRIPT: &[Spec] = &[
    refused("script|debug", -3, RefusalReason::Debugger),
    row("script|exists", -3, Class::Script(ScriptAction::Exists)).names(ReplyNames::Script),
    row("script|flush", -2, Class::Script(ScriptAction::Flush)).names(ReplyNames::Script),
    row("script|help", 2, Class::AnyNode),
    row("script|kill", 2, Class::EveryPrimary(Gather::AnyOk)),
    row("script|load", 3, Class::Script(ScriptAction::Load)).names(ReplyNames::Script),
    row("script|show", 3, Class::AnyNode).names(ReplyNames::Script),
];
