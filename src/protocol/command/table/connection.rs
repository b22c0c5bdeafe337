//! The connection and the client.

use super::builder::{container, row};
use crate::protocol::command::{Class, Flags, Local, RequiredState, Spec, TrackingCommand};

pub(super) const ROWS: &[Spec] = &[
    row("auth", -2, Class::Local(Local::Auth)).flags(Flags::NO_AUTH),
    container("client", -2, CLIENT),
    row("echo", 2, Class::Local(Local::Echo)),
    row("hello", -1, Class::Local(Local::Hello)).flags(Flags::NO_AUTH),
    row("ping", -1, Class::Local(Local::Ping)),
    row("quit", -1, Class::Local(Local::Quit)).flags(Flags::NO_AUTH),
    row("reset", 1, Class::Session(RequiredState::Reset)).flags(Flags::NO_AUTH),
    row("select", 2, Class::Local(Local::Select)),
    row("wait", 3, Class::Session(RequiredState::Wait)).flags(Flags::BLOCKING),
    row("waitaof", 4, Class::Session(RequiredState::Wait)).flags(Flags::BLOCKING),
];

const CLIENT: &[Spec] = &[
    row("client|caching", 3, Class::Session(RequiredState::Tracking(TrackingCommand::Caching))),
    row("client|capa", -3, Class::Local(Local::ClientCapa)),
    row("client|getname", 2, Class::Local(Local::ClientGetName)),
    row("client|getredir", 2, Class::Session(RequiredState::Tracking(TrackingCommand::GetRedir))),
    row("client|help", 2, Class::AnyNode),
    row("client|id", 2, Class::Local(Local::ClientId)),
    row("client|import-source", 3, Class::Local(Local::ClientImportSource)),
    row("client|info", 2, Class::Local(Local::ClientInfo)),
    row("client|kill", -3, Class::Local(Local::ClientKill)).flags(Flags::ADMIN),
    row("client|list", -2, Class::Local(Local::ClientList)).flags(Flags::ADMIN),
    row("client|no-evict", 3, Class::Local(Local::ClientNoEvict)).flags(Flags::ADMIN),
    row("client|no-touch", 3, Class::Local(Local::ClientNoTouch)),
    row("client|pause", -3, Class::Local(Local::ClientPause)).flags(Flags::ADMIN),
    row("client|reply", 3, Class::Local(Local::ClientReply)).flags(Flags::NO_MULTI),
    row("client|setinfo", 4, Class::Local(Local::ClientSetInfo)),
    row("client|setname", 3, Class::Local(Local::ClientSetName)),
    row("client|tracking", -3, Class::Session(RequiredState::Tracking(TrackingCommand::Switch))),
    row("client|trackinginfo", 2, Class::Session(RequiredState::Tracking(TrackingCommand::Info))),
    row("client|unblock", -3, Class::Local(Local::ClientUnblock)).flags(Flags::ADMIN),
    row("client|unpause", 2, Class::Local(Local::ClientUnpause)).flags(Flags::ADMIN),
];
