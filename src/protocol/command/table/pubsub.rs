//! Publish and subscribe.

use super::builder::{ALL, ONE, container, row};
use crate::protocol::command::{Class, Flags, ReplyNames, RequiredState, Spec, SubscriptionQuery, TopicKind};

pub(super) const ROWS: &[Spec] = &[
    row("psubscribe", -2, Class::Session(RequiredState::Subscribe(TopicKind::Pattern))),
    row("publish", 3, Class::Publish).flags(Flags::MAY_REPLICATE),
    container("pubsub", -2, PUBSUB),
    row("punsubscribe", -1, Class::Session(RequiredState::Unsubscribe(TopicKind::Pattern))),
    row("spublish", 3, Class::Publish).keys(ONE).flags(Flags::MAY_REPLICATE),
    row("ssubscribe", -2, Class::Session(RequiredState::Subscribe(TopicKind::Shard))).keys(ALL),
    row("subscribe", -2, Class::Session(RequiredState::Subscribe(TopicKind::Channel))),
    row("sunsubscribe", -1, Class::Session(RequiredState::Unsubscribe(TopicKind::Shard))).keys(ALL),
    row("unsubscribe", -1, Class::Session(RequiredState::Unsubscribe(TopicKind::Channel))),
];

const PUBSUB: &[Spec] = &[
    row("pubsub|channels", -2, query(SubscriptionQuery::Names(TopicKind::Channel)))
        .names(ReplyNames::Channels),
    row("pubsub|help", 2, Class::AnyNode),
    row("pubsub|numpat", 2, query(SubscriptionQuery::Patterns)),
    row("pubsub|numsub", -2, query(SubscriptionQuery::Counts(TopicKind::Channel)))
        .names(ReplyNames::ChannelCounts),
    row("pubsub|shardchannels", -2, query(SubscriptionQuery::Names(TopicKind::Shard)))
        .names(ReplyNames::Channels),
    row("pubsub|shardnumsub", -2, query(SubscriptionQuery::Counts(TopicKind::Shard)))
        .names(ReplyNames::ChannelCounts),
];

const fn query(query: SubscriptionQuery) -> Class {
    Class::Session(RequiredState::PubSub(query))
}
