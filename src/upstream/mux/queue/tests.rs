//! The queue while connections come and go, without a socket.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::memory::{MemoryCeiling, MemoryUse};
use crate::upstream::call::Call;
use crate::upstream::rights::Right;

fn waiting(name: &'static str, slot: u64, reads_only: bool) -> PendingCommand {
    let slots = Slot::from_number(slot).map_or(KeySlots::None, KeySlots::One);
    let call = Call { slots, ..Call::without_keys(Bytes::from_static(name.as_bytes()), reads_only) };
    PendingCommand::new(call, Completion::Nobody(Right::Asking), 100)
}

/// A command that somebody waits for.
fn awaited(name: &'static str, slots: KeySlots, reads_only: bool) -> PendingCommand {
    let (sender, _) = tokio::sync::oneshot::channel();
    let call = Call { slots, ..Call::without_keys(Bytes::from_static(name.as_bytes()), reads_only) };
    PendingCommand::new(call, Completion::Caller(sender), 100)
}

fn queue() -> CommandQueue {
    CommandQueue::new(6, Arc::<MemoryCeiling>::default().hold(MemoryUse::InFlight))
}

fn names(waiting: impl IntoIterator<Item = PendingCommand>) -> Vec<Bytes> {
    waiting.into_iter().map(|waiting| waiting.call.bytes).collect()
}

#[test]
fn after_a_loss_only_what_cannot_have_run_or_only_reads_is_kept() {
    let mut queue = queue();
    queue.push(waiting("read1", 1, true), true);
    queue.push(waiting("read2", 2, true), true);
    queue.push(waiting("write1", 1, false), true);
    queue.push(waiting("read1b", 1, true), true);
    queue.push(waiting("unsent", 3, false), true);
    queue.note_written("read1read2write1read1b".len() as u64);
    assert_eq!(names(queue.lose(0)), ["read1", "write1"], "read1 came before a write of its slot");
    assert_eq!(names(queue.take_all()), ["read2", "read1b", "unsent"]);
}

#[test]
fn after_a_loss_no_read_comes_behind_a_write_that_may_have_touched_its_keys() {
    let script = || awaited("script", KeySlots::None, false);
    let several = |name, reads_only| awaited(name, KeySlots::Several, reads_only);
    // What is lost, and what is kept.
    type Case = (Vec<PendingCommand>, &'static [&'static str], &'static [&'static str]);
    let cases: [Case; 6] = [
        (vec![waiting("read1", 1, true), script()], &["read1", "script"], &[]),
        (vec![script(), waiting("read1", 1, true)], &["script"], &["read1"]),
        (vec![waiting("read1", 1, true), several("mset", false)], &["read1", "mset"], &[]),
        (vec![several("mget", true), waiting("write1", 1, false)], &["mget", "write1"], &[]),
        (vec![several("mget", true), waiting("read1", 1, true)], &[], &["mget", "read1"]),
        // What is said to the connection alone writes nothing.
        (vec![waiting("read1", 1, true), waiting("CACHING NO", 16_384, false)], &["CACHING NO"], &["read1"]),
    ];
    for (commands, lost, kept) in cases {
        let mut queue = queue();
        commands.into_iter().for_each(|command| queue.push(command, true));
        queue.note_written(100);
        assert_eq!(names(queue.lose(0)), lost);
        assert_eq!(names(queue.take_all()), kept);
    }
}

#[test]
fn a_large_command_is_in_the_way_until_its_last_byte_has_left() {
    let mut queue = queue();
    queue.push(waiting("small", 1, true), false);
    assert!(!queue.is_sending_large());
    queue.push(waiting("large1", 2, false), false);
    assert!(queue.is_sending_large(), "it waits for a connection");
    queue.start();
    queue.push(waiting("after", 3, true), true);
    queue.note_written(10);
    assert!(queue.is_sending_large());
    queue.note_written(1);
    assert!(!queue.is_sending_large());
    queue.push(waiting("large2", 3, true), true);
    assert_eq!(names(queue.lose(0)), ["large1"]);
    assert!(queue.is_sending_large(), "it waits for the next connection");
    queue.take_all();
    assert!(!queue.is_sending_large());
}

#[test]
fn commands_that_may_touch_anything_are_counted_until_they_are_answered() {
    let unslotted = |reads_only| awaited("x", KeySlots::None, reads_only);
    let mut queue = queue();
    queue.push(unslotted(true), true);
    queue.push(waiting("write1", 1, false), true);
    assert!(!queue.has_unslotted());
    queue.push(unslotted(false), true);
    queue.push(unslotted(false), true);
    for _ in 0..3 {
        assert!(queue.has_unslotted());
        queue.pop();
    }
    assert!(queue.has_unslotted());
    assert_eq!(queue.lose(100).len(), 1);
    assert!(!queue.has_unslotted());
    queue.push(awaited("mget", KeySlots::Several, true), true);
    assert!(queue.has_unslotted(), "its keys are in several slots");
}

#[test]
fn commands_that_may_have_large_replies_are_counted_until_they_are_answered_or_lost() {
    let expecting = |name| PendingCommand { expects_large: true, ..waiting(name, 1, true) };
    let mut queue = queue();
    queue.push(waiting("small", 1, true), true);
    assert!(!queue.expects_large());
    queue.push(expecting("one"), true);
    queue.push(expecting("two"), true);
    queue.pop();
    assert!(queue.expects_large());
    queue.pop();
    assert!(queue.expects_large());
    queue.lose(Nanos::MAX);
    assert!(!queue.expects_large());
}

#[test]
fn a_command_of_which_one_byte_left_counts_as_sent() {
    let mut queue = queue();
    queue.push(waiting("write1", 1, false), true);
    queue.note_written(1);
    assert_eq!(names(queue.lose(0)), ["write1"]);
}

#[test]
fn what_is_overdue_is_not_sent_again() {
    let mut queue = queue();
    queue.push(waiting("read1", 1, true), true);
    queue.push(waiting("unsent", 1, false), true);
    queue.note_written(5);
    assert_eq!(names(queue.lose(100)), ["read1", "unsent"]);
}

#[test]
fn a_read_is_sent_again_once() {
    let mut queue = queue();
    queue.push(waiting("read1", 1, true), true);
    queue.note_written(5);
    assert!(queue.lose(0).is_empty());
    queue.start();
    queue.note_written(5);
    assert_eq!(names(queue.lose(0)), ["read1"]);
}

#[test]
fn what_is_refused_takes_along_what_belongs_to_it() {
    let mut queue = queue();
    let (sender, _reply) = tokio::sync::oneshot::channel();
    queue.push(waiting("CACHING NO", 1, false), false);
    queue.push(PendingCommand { waiter: Completion::Caller(sender), ..waiting("too large", 1, true) }, false);
    queue.push(waiting("small", 1, true), false);
    let refused = queue.refuse(|waiting| waiting.call.bytes == "too large");
    assert_eq!(names(refused), ["too large"]);
    assert_eq!(queue.bytes(), "small".len());
    assert_eq!(names(queue.take_all()), ["small"]);
}

#[test]
fn what_a_node_may_have_hung_up_on_goes_apart_with_what_stands_behind_it() {
    let mut queue = queue();
    queue.push(waiting("read1", 1, true), true);
    queue.push(waiting("read2", 2, true), true);
    queue.note_written(10);
    queue.push(waiting("write1", 1, false), false);
    queue.push(waiting("write3", 3, false), false);
    assert!(queue.lose(0).is_empty());
    assert_eq!(names(queue.take_suspects()), ["read1", "read2", "write1"]);
    assert_eq!(names(queue.take_all()), ["write3"]);
}

#[test]
fn of_what_a_node_may_hang_up_on_few_are_under_way() {
    let mut queue = queue();
    queue.start_slowly();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        queue.push(waiting(name, 1, true), false);
    }
    for under_way in [1, 2, 4, 5] {
        if under_way == 1 {
            queue.start()
        } else {
            drop(queue.pop())
        }
        let out = queue.waiting.iter().filter(|waiting| waiting.begins_at.is_some()).count();
        assert_eq!(out, under_way);
    }
    queue.push(waiting("i", 1, true), true);
    assert!(queue.waiting.back().unwrap().begins_at.is_some());
    queue.note_written(9);
    assert!(queue.lose(0).is_empty(), "nobody knows which one it was");
    for left in (1..=queue.len()).rev() {
        queue.start();
        assert_eq!(queue.out().len(), 1, "each goes alone on the next connection");
        queue.note_written(1);
        assert_eq!((queue.lose(0).len(), queue.len()), (1, left - 1));
    }
}

#[test]
fn a_node_can_have_hung_up_for_what_was_alone_or_was_being_answered() {
    let caller = |name| {
        let (sender, _reply) = tokio::sync::oneshot::channel();
        PendingCommand { waiter: Completion::Caller(sender), ..waiting(name, 1, true) }
    };
    let mut queue = queue();
    queue.push(caller("one"), true);
    assert_eq!(queue.cause(false), None, "it has not left");
    queue.note_written(3);
    assert_eq!(queue.cause(false).unwrap(), "one");
    queue.push(caller("two"), true);
    queue.note_written(3);
    assert_eq!(queue.cause(false), None);
    assert_eq!(queue.cause(true).unwrap(), "one");
}

#[test]
fn what_waits_for_a_connection_goes_out_in_order_once_it_stands() {
    let mut queue = queue();
    queue.push(waiting("a", 1, true), false);
    queue.push(waiting("b", 1, false), false);
    assert!(queue.out().is_empty());
    queue.start();
    assert_eq!(queue.out().len(), 2);
    assert_eq!(queue.bytes(), 2);
    assert_eq!(queue.pop().unwrap().call.bytes, "a");
    assert_eq!(queue.len(), 1);
}

fn on(name: &'static str, database: u32) -> PendingCommand {
    let mut waiting = waiting(name, 1, false);
    waiting.call.database = Some(DbIndex::new(database));
    waiting
}

/// What has gone out on the present connection.
fn sent(queue: &CommandQueue) -> Vec<String> {
    let sent = queue.waiting.iter().filter(|waiting| waiting.begins_at.is_some());
    let name = |waiting: &PendingCommand| match waiting.waiter {
        Completion::Select(database) => format!("SELECT {database}"),
        _ => String::from_utf8_lossy(&waiting.call.bytes).into_owned(),
    };
    sent.map(name).collect()
}

/// The node confirms the next SELECT.
fn confirm(queue: &mut CommandQueue, database: u32) {
    let select = queue.pop().unwrap();
    assert!(matches!(select.waiter, Completion::Select(of) if of == DbIndex::new(database)));
    queue.note_selected(DbIndex::new(database));
}

/// The node refuses the next SELECT.
fn refuse(queue: &mut CommandQueue, database: u32) -> Option<Vec<Bytes>> {
    let select = queue.pop().unwrap();
    assert!(matches!(select.waiter, Completion::Select(of) if of == DbIndex::new(database)));
    queue.refuse_database(DbIndex::new(database)).map(names)
}

#[test]
fn select_goes_before_a_command_of_another_database_and_the_first_is_awaited() {
    let mut queue = queue();
    queue.start();
    for (name, database) in [("a", 0), ("b", 3), ("c", 3), ("d", 0), ("e", 3)] {
        queue.push(on(name, database), true);
    }
    assert_eq!(sent(&queue), ["a", "SELECT 3"], "nothing goes out behind it");
    drop(queue.pop());
    confirm(&mut queue, 3);
    assert_eq!(sent(&queue), ["b", "c", "SELECT 0"], "nor behind this one");
    // A new connection begins in database 0, and knows no other.
    queue.note_written(queue.waiting[0].begins_at.unwrap() + 1);
    assert_eq!(names(queue.lose(0)), ["b"]);
    queue.start();
    assert_eq!(sent(&queue), ["SELECT 3"]);
    confirm(&mut queue, 3);
    drop(queue.pop());
    confirm(&mut queue, 0);
    assert_eq!(sent(&queue), ["d", "SELECT 3", "e"], "both are known");
}

#[test]
fn commands_of_a_database_that_is_refused_are_never_sent() {
    let mut queue = queue();
    queue.start();
    let any = waiting("any", 2, true);
    for command in [on("a", 9), on("b", 9), any, on("c", 0), on("d", 9)] {
        queue.push(command, true);
    }
    assert_eq!(refuse(&mut queue, 9).unwrap(), ["a", "b"]);
    assert_eq!(sent(&queue), ["any", "SELECT 0"]);
    drop(queue.pop());
    confirm(&mut queue, 0);
    assert_eq!(sent(&queue), ["c", "SELECT 9"]);
    drop(queue.pop());
    assert_eq!(refuse(&mut queue, 9).unwrap(), ["d"]);
    queue.push(on("e", 0), true);
    assert_eq!(sent(&queue), ["e"], "the connection is still in the database before");
    queue.push(on("f", 9), true);
    drop(queue.pop());
    confirm(&mut queue, 9);
    queue.push(on("g", 0), true);
    assert_eq!(sent(&queue), ["f", "SELECT 0", "g"]);
    drop(queue.pop());
    assert!(refuse(&mut queue, 0).is_none(), "what was sent behind it may have been executed");
}

#[test]
fn the_answer_to_another_select_opens_nothing() {
    let mut queue = queue();
    queue.start();
    queue.push(on("a", 3), true);
    confirm(&mut queue, 3);
    queue.push(on("b", 0), true);
    drop(queue.pop());
    confirm(&mut queue, 0);
    drop(queue.pop());
    // The node has not answered SELECT 3, which it knows, when the first SELECT 9 goes out.
    for command in [on("c", 3), on("d", 9), on("e", 7)] {
        queue.push(command, true);
    }
    assert_eq!(sent(&queue), ["SELECT 3", "c", "SELECT 9"]);
    confirm(&mut queue, 3);
    assert_eq!(sent(&queue), ["c", "SELECT 9"], "that of 9 is awaited");
    drop(queue.pop());
    assert_eq!(refuse(&mut queue, 9).unwrap(), ["d"]);
    assert_eq!(sent(&queue), ["SELECT 7"]);
    assert_eq!(refuse(&mut queue, 7).unwrap(), ["e"]);
    queue.push(on("f", 3), true);
    assert_eq!(sent(&queue), ["f"], "the connection is in database 3 as before");
}

#[test]
fn a_transaction_that_selects_leaves_the_connection_anywhere() {
    let mut queue = queue();
    queue.start();
    let mut transaction = on("multi", 0);
    transaction.call.selects = true;
    queue.push(transaction, true);
    queue.push(on("a", 0), true);
    assert_eq!(sent(&queue), ["multi", "SELECT 0"]);
    drop(queue.pop());
    confirm(&mut queue, 0);
    assert_eq!(sent(&queue), ["a"]);
}
