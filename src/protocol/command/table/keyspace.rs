//! Keys of any type.

use super::builder::{ALL, SECOND, TWO, cached, container, read, removes, row, sets_ttl, write};
use crate::protocol::command::{Class, Database, Flags, Join, Keys, Keyspace, ReplyNames, Spec, TtlEffect};

pub(super) const ROWS: &[Spec] = &[
    write("copy", -3).keys(TWO).class(Class::Database(Database::Copy)).into_second(),
    row("dbsize", 1, Class::Keyspace(Keyspace::Count)).flags(Flags::READ),
    removes("del", -2).keys(ALL).class(Class::FanOut(Join::Sum)),
    read("dump", 2).grows(),
    read("exists", -2).keys(ALL).class(Class::FanOut(Join::SumOfReads)),
    sets_ttl("expire", -3),
    sets_ttl("expireat", -3),
    read("expiretime", 2),
    row("flushall", -1, Class::Keyspace(Keyspace::Flush)).flags(Flags::WRITE),
    row("flushdb", -1, Class::Keyspace(Keyspace::Flush)).flags(Flags::WRITE),
    row("keys", 2, Class::Keyspace(Keyspace::Keys)).flags(Flags::READ).names(ReplyNames::Elements),
    removes("migrate", -6).keys(Keys::Migrate).shared(),
    removes("move", 3).class(Class::Database(Database::Move)).names(ReplyNames::Moved),
    container("object", -2, OBJECT),
    sets_ttl("persist", 2),
    sets_ttl("pexpire", -3),
    sets_ttl("pexpireat", -3),
    read("pexpiretime", 2),
    read("pttl", 2),
    row("randomkey", 1, Class::Keyspace(Keyspace::RandomKey)).flags(Flags::READ).names(ReplyNames::Whole),
    write("rename", 3).keys(TWO).into_second(),
    write("renamenx", 3).keys(TWO).into_second(),
    write("restore", -4),
    write("restore-asking", -4),
    row("scan", -2, Class::Keyspace(Keyspace::Scan)).flags(Flags::READ).names(ReplyNames::Page),
    write("sort", -2)
        .keys(Keys::SortStore)
        .ttl_effect(TtlEffect::Keys(Keys::SortDestination))
        .grows()
        .flags(Flags::UNNAMED),
    read("sort_ro", -2).grows().flags(Flags::UNNAMED),
    row("swapdb", 3, Class::Database(Database::Swap)).flags(Flags::WRITE).shared(),
    read("touch", -2).keys(ALL).class(Class::FanOut(Join::Sum)),
    read("ttl", 2),
    cached("type", 2),
    removes("unlink", -2).keys(ALL).class(Class::FanOut(Join::Sum)),
];

const OBJECT: &[Spec] = &[
    read("object|encoding", 3).keys(SECOND),
    read("object|freq", 3).keys(SECOND),
    row("object|help", 2, Class::AnyNode),
    read("object|idletime", 3).keys(SECOND),
    read("object|refcount", 3).keys(SECOND),
];
