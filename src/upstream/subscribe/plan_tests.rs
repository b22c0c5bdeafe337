//! Where subscriptions stand while nodes come and go, without a socket.

use std::slice;

use bytes::Bytes;

use super::inflight::{BATCHES_IN_FLIGHT_MAX, COMPARISONS_AT_ONCE_MAX, SubscribeCommand, TOPICS_AT_ONCE_MAX};
use super::plan::{SubscriptionPlan, SubscriptionStatus};
use super::planned_connection::SubscribePhase;
use crate::node::NodeId;
use crate::protocol::command::TopicKind;
use crate::protocol::key::Slot;
use crate::upstream::subscribe::Topic;
use crate::upstream::topology::node_numbers::NodeIndex;
use crate::upstream::topology::slots::SlotTable;

struct World {
    table: SlotTable,
    plan: SubscriptionPlan,
    nodes: [NodeIndex; 3],
}

/// Three primaries that share the slots, and a plan of ten that knows them.
fn world() -> World {
    let table = SlotTable::default();
    let names = ["a:1", "b:1", "c:1"].map(NodeId::new);
    let nodes = names.each_ref().map(|name| table.index_of(name));
    let [a, b, c] = names;
    table.replace(&[(0..=4_999, a), (5_000..=9_999, b), (10_000..=16_383, c)], &[], 0);
    let mut plan = SubscriptionPlan::new(10);
    plan.follow(&table);
    World { table, plan, nodes }
}

impl World {
    /// Every connection that is needed comes up, and carries out what it is told. What was told to whom.
    fn run(&mut self) -> Vec<(NodeIndex, SubscribeCommand)> {
        for (node, _) in self.plan.take_new() {
            self.plan.enter(node, SubscribePhase::Up);
        }
        let mut told = Vec::new();
        for node in self.nodes {
            for command in taken(&mut self.plan, node) {
                told.push((node, command));
                self.plan.done(node);
            }
        }
        told
    }
}

fn topic(kind: TopicKind, name: &'static str) -> Topic {
    Topic::new(kind, Bytes::from_static(name.as_bytes()))
}

fn command(subscribes: bool, topic: &Topic) -> SubscribeCommand {
    SubscribeCommand { subscribes, topics: vec![topic.clone()] }
}

/// All that is to be sent to a node now.
fn taken(plan: &mut SubscriptionPlan, node: NodeIndex) -> Vec<SubscribeCommand> {
    std::iter::from_fn(|| plan.take_commands(node, 0)).flatten().collect()
}

#[test]
fn a_channel_stands_once_on_the_owner_of_its_slot() {
    let mut world = world();
    // Slot 12182.
    let (foo, owner) = (topic(TopicKind::Channel, "foo"), world.nodes[2]);
    assert!(world.plan.hold(slice::from_ref(&foo)) && world.plan.hold(slice::from_ref(&foo)));
    assert_eq!(world.plan.status(&foo), SubscriptionStatus::Waits);
    assert_eq!(world.run(), [(owner, command(true, &foo))]);
    assert_eq!(world.plan.status(&foo), SubscriptionStatus::Active);
    assert!(world.plan.accepts(owner, &foo, b"foo"));
    assert!(!world.plan.accepts(world.nodes[0], &foo, b"foo"));
    assert!(world.plan.is_active(owner, &foo));
    world.plan.release(slice::from_ref(&foo));
    assert_eq!(world.run(), []);
    assert!(!world.plan.close_if_idle(owner));
    world.plan.release(slice::from_ref(&foo));
    assert_eq!(world.run(), [(owner, command(false, &foo))]);
    assert!(world.plan.close_if_idle(owner));
}

#[test]
fn what_a_node_was_not_told_or_has_not_answered_is_changing() {
    let mut world = world();
    let (foo, owner) = (topic(TopicKind::Channel, "foo"), world.nodes[2]);
    let topics = slice::from_ref(&foo);
    let changing = |world: &World| world.plan.is_changing(|topic| *topic == foo);
    assert!(!changing(&world));
    world.plan.hold(topics);
    assert!(changing(&world), "the node was not told of it");
    world.plan.release(topics);
    assert!(!changing(&world), "it need not be told any more");
    world.plan.hold(topics);
    world.run();
    assert!(!changing(&world), "it stands");
    world.plan.release(topics);
    assert!(changing(&world), "the node was not told that it ended");
    assert_eq!(taken(&mut world.plan, owner), [command(false, &foo)]);
    assert!(changing(&world), "the node has not answered");
    assert!(!world.plan.is_changing(|topic| topic.name == "bar"), "another topic");
    world.plan.done(owner);
    assert!(!changing(&world));
}

#[test]
fn what_may_notify_stands_everywhere_and_ordinary_messages_have_one_source() {
    let mut world = world();
    let all = topic(TopicKind::Pattern, "*");
    world.plan.hold(slice::from_ref(&all));
    assert_eq!(world.run().len(), 3);
    let accepting =
        |channel: &[u8]| world.nodes.iter().filter(|node| world.plan.accepts(**node, &all, channel)).count();
    assert_eq!(accepting(b"news"), 1);
    assert_eq!(accepting(b"__keyspace@0__:key"), 3);
}

#[test]
fn another_node_stands_in_for_one_that_is_down_and_the_shard_waits() {
    let mut world = world();
    let (foo, shard, owner) =
        (topic(TopicKind::Channel, "foo"), topic(TopicKind::Shard, "foo"), world.nodes[2]);
    world.plan.hold(&[foo.clone(), shard.clone()]);
    world.run();
    assert_eq!(world.plan.lost(owner), 2);
    assert_eq!(world.plan.status(&foo), SubscriptionStatus::Waits);
    world.plan.enter(owner, SubscribePhase::Down("why".to_owned()));
    assert_eq!(world.plan.status(&shard), SubscriptionStatus::Unreachable(owner, "why".to_owned()));
    let told = world.run();
    assert!(told.iter().any(|(node, told)| *node != owner && *told == command(true, &foo)), "{told:?}");
    assert_eq!(world.plan.status(&foo), SubscriptionStatus::Active);
    // It is back: what stands there is given up elsewhere, and not before.
    world.plan.enter(owner, SubscribePhase::Up);
    let told = [world.run(), world.run()].concat();
    assert!(told.iter().any(|(node, told)| *node != owner && *told == command(false, &foo)), "{told:?}");
    assert!(world.plan.accepts(owner, &foo, b"foo"));
    assert_eq!(world.plan.status(&shard), SubscriptionStatus::Active);
}

#[test]
fn a_slot_that_moves_takes_its_channels_along() {
    let mut world = world();
    let (foo, shard) = (topic(TopicKind::Channel, "foo"), topic(TopicKind::Shard, "foo"));
    world.plan.hold(&[foo.clone(), shard.clone()]);
    world.run();
    assert!(world.plan.ended(world.nodes[2], &shard));
    assert_eq!(world.plan.status(&shard), SubscriptionStatus::Waits);
    world.table.patch(Slot::of(b"foo"), &NodeId::new("a:1"));
    world.plan.follow(&world.table);
    world.run();
    world.run();
    for topic in [&foo, &shard] {
        assert!(world.plan.accepts(world.nodes[0], topic, b"foo"));
        assert!(!world.plan.is_active(world.nodes[2], topic));
    }
    assert_eq!(world.plan.take_restored(), 2);
}

#[test]
fn what_is_refused_together_is_asked_for_one_by_one() {
    let mut world = world();
    let (open, closed, owner) =
        (topic(TopicKind::Channel, "{foo}open"), topic(TopicKind::Channel, "{foo}closed"), world.nodes[2]);
    world.plan.hold(&[open.clone(), closed.clone()]);
    world.plan.take_new().into_iter().for_each(|(node, _)| world.plan.enter(node, SubscribePhase::Up));
    let error = Bytes::from_static(b"-NOPERM no\r\n");
    assert_eq!(taken(&mut world.plan, owner).len(), 1);
    world.plan.refused(owner, error.clone());
    world.plan.done(owner);
    assert_eq!(world.plan.status(&closed), SubscriptionStatus::Waits);
    for command in taken(&mut world.plan, owner) {
        if command.topics == [closed.clone()] {
            world.plan.refused(owner, error.clone());
        }
        world.plan.done(owner);
    }
    assert_eq!(world.plan.status(&open), SubscriptionStatus::Active);
    assert_eq!(world.plan.status(&closed), SubscriptionStatus::Refused(error));
}

#[test]
fn only_so_much_is_sent_before_it_was_answered() {
    let mut world = world();
    world.plan = SubscriptionPlan::new(100_000);
    world.plan.follow(&world.table);
    let name = |number: usize| Topic::new(TopicKind::Channel, format!("{{foo}}{number}").into());
    let topics: Vec<Topic> = (0..50_000).map(name).collect();
    world.plan.hold(&topics);
    world.plan.take_new();
    let owner = world.nodes[2];
    let sent =
        |commands: &[SubscribeCommand]| commands.iter().map(|command| command.topics.len()).sum::<usize>();
    let first = taken(&mut world.plan, owner);
    assert_eq!((first.len(), sent(&first)), (BATCHES_IN_FLIGHT_MAX, 64 * TOPICS_AT_ONCE_MAX));
    assert_eq!(taken(&mut world.plan, owner), []);
    world.plan.done(owner);
    assert_eq!(taken(&mut world.plan, owner).len(), 1);
}

#[test]
fn the_more_patterns_there_are_the_fewer_a_node_is_told_of_at_once() {
    let mut world = world();
    world.plan = SubscriptionPlan::new(100_000);
    world.plan.follow(&world.table);
    let name = |number: usize| Topic::new(TopicKind::Pattern, format!("{{foo}}{number}").into());
    let topics: Vec<Topic> = (0..50_000).map(name).collect();
    world.plan.hold(&topics);
    world.plan.take_new();
    let owner = world.nodes[2];
    let some = COMPARISONS_AT_ONCE_MAX / topics.len();
    for _ in 0..3 {
        let commands = taken(&mut world.plan, owner);
        assert_eq!(
            (commands.len(), commands[0].topics.len()),
            (1, some),
            "and nothing before it was answered"
        );
        world.plan.done(owner);
    }
}

#[test]
fn what_nobody_wants_any_more_before_its_node_was_told_is_forgotten() {
    let mut world = world();
    let owner = world.nodes[2];
    let kept = topic(TopicKind::Channel, "foo");
    world.plan.hold(slice::from_ref(&kept));
    world.plan.take_new();
    world.plan.enter(owner, SubscribePhase::Down("refused".to_owned()));
    for number in 0..1_000 {
        let name = Topic::new(TopicKind::Channel, format!("{{foo}}{number}").into());
        world.plan.hold(slice::from_ref(&name));
        world.plan.release(slice::from_ref(&name));
    }
    let remembered: usize = world.plan.links.values().map(|link| link.dirty.len() + link.again.len()).sum();
    assert!(remembered <= world.nodes.len(), "{remembered} names of 1000 that nobody wants");
    assert!(world.plan.topics.contains_key(&kept));
}
