//! What clients that cache are told, and what is forgotten.

use std::task::{Context, Waker};

use super::*;
use crate::clients::mailbox::Mail;
use crate::clients::{ClientGuard, Endpoints};
use crate::protocol::key::Slot;

const NULL: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

fn tracker(keys_max: usize) -> (Arc<Clients>, Tracker) {
    let clients = Arc::<Clients>::default();
    (clients.clone(), Tracker::new(clients, Arc::new(Setting::of_size(keys_max))))
}

fn enter(clients: &Arc<Clients>, mailbox_bytes_max: usize) -> ClientGuard {
    clients.enter(Endpoints::default(), mailbox_bytes_max)
}

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn keys(names: &[&str]) -> Vec<Bytes> {
    names.iter().map(|name| key(name)).collect()
}

fn stale(names: &[&str]) -> Invalidation {
    Invalidation::Keys(keys(names))
}

/// What a client found in its mailbox.
fn pushes(client: &Client) -> Vec<String> {
    let cx = Context::from_waker(Waker::noop());
    let mail = client.mailbox.take(&cx).map(|taken| taken.mail).unwrap_or_default();
    let text = |mail: Mail| match mail {
        Mail::Now(bytes) | Mail::Behind(bytes) | Mail::BehindInResp3(bytes) | Mail::Redirected(bytes) => {
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    mail.into_iter().map(text).collect()
}

fn push(name: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{name}\r\n", name.len())
}

#[test]
fn a_reader_is_told_once_and_then_forgotten() {
    let (clients, tracker) = tracker(100);
    let (one, other) = (enter(&clients, 1_000), enter(&clients, 1_000));
    tracker.join(&one, TrackingTerms::default());
    tracker.join(&other, TrackingTerms::default());
    tracker.reads(one.id, &keys(&["a", "b"]));
    tracker.invalidate(&stale(&["a", "x"]));
    tracker.invalidate(&stale(&["a"]));
    assert_eq!(pushes(&one), [push("a")]);
    assert!(pushes(&other).is_empty());
    assert_eq!(tracker.counts().tracking_total_keys, 1);
    tracker.leave(one.id);
    tracker.invalidate(&stale(&["b"]));
    assert!(pushes(&one).is_empty());
}

#[test]
fn everything_is_told_once_for_all_that_was_read_before() {
    let (clients, tracker) = tracker(100);
    let client = enter(&clients, 1_000);
    tracker.join(&client, TrackingTerms::default());
    tracker.reads(client.id, &keys(&["a"]));
    tracker.invalidate(&Invalidation::Node);
    tracker.invalidate(&Invalidation::Node);
    assert_eq!(pushes(&client), [NULL]);
    tracker.reads(client.id, &keys(&["a"]));
    tracker.invalidate(&Invalidation::Node);
    assert_eq!(pushes(&client), [NULL]);
}

#[test]
fn a_slot_that_moves_takes_its_keys_along() {
    let (clients, tracker) = tracker(100);
    let client = enter(&clients, 1_000);
    tracker.join(&client, TrackingTerms::default());
    tracker.reads(client.id, &keys(&["a", "b"]));
    tracker.invalidate(&Invalidation::Slots(vec![Slot::of(b"a")]));
    assert_eq!(pushes(&client), [push("a")]);
    assert_eq!(tracker.counts().tracking_total_items, 1);
}

#[test]
fn over_the_bound_keys_are_forgotten_and_told() {
    let (clients, tracker) = tracker(10);
    let client = enter(&clients, 100_000);
    tracker.join(&client, TrackingTerms::default());
    for number in 0..100 {
        tracker.reads(client.id, &[key(&format!("key{number}"))]);
        assert!(tracker.counts().tracking_total_keys <= 10);
    }
    assert_eq!(pushes(&client).len(), 90);
    assert_eq!(tracker.counts().invalidations_sent, 90);
}

#[test]
fn what_clients_read_that_have_gone_does_not_pile_up() {
    let (clients, tracker) = tracker(10_000);
    let stays = enter(&clients, 1_000_000);
    tracker.join(&stays, TrackingTerms::default());
    let read: Vec<Bytes> = (0..1_000).map(|number| key(&format!("key{number}"))).collect();
    tracker.reads(stays.id, &read);
    for _ in 0..20 {
        let goes = enter(&clients, 1_000);
        tracker.join(&goes, TrackingTerms::default());
        tracker.reads(goes.id, &read);
        tracker.leave(goes.id);
        assert!(tracker.counts().tracking_total_items <= 4 * read.len());
    }
    assert_eq!(tracker.counts().tracking_total_keys, read.len());
    tracker.invalidate(&stale(&["key7"]));
    assert_eq!(pushes(&stays), [push("key7")]);
}

#[test]
fn an_own_overwrite_is_not_told_unless_it_fails_or_the_key_was_read_behind_it() {
    let (clients, tracker) = tracker(100);
    let client = enter(&clients, 1_000);
    tracker.join(&client, TrackingTerms { no_loop: true, ..TrackingTerms::default() });
    let a = keys(&["a"]);
    let run = |reads_again: bool, failed: bool| {
        tracker.reads(client.id, &a);
        tracker.writes(client.id, &a);
        if reads_again {
            tracker.reads(client.id, &a);
        }
        tracker.invalidate(&stale(&["a"]));
        tracker.written(client.id, &a, failed);
        pushes(&client)
    };
    assert!(run(false, false).is_empty());
    assert_eq!(run(false, true), [push("a")]);
    assert_eq!(run(true, false), [push("a")]);
    // Its own invalidation comes late.
    tracker.reads(client.id, &a);
    tracker.writes(client.id, &a);
    tracker.written(client.id, &a, false);
    tracker.invalidate(&stale(&["a"]));
    assert!(pushes(&client).is_empty());
}

#[test]
fn who_is_not_there_any_more_is_reported_to_who_redirected() {
    let (clients, tracker) = tracker(100);
    let (client, target) = (enter(&clients, 1_000), enter(&clients, 1_000));
    tracker.join(&client, TrackingTerms { redirect: Some(target.id), ..TrackingTerms::default() });
    tracker.reads(client.id, &keys(&["a"]));
    tracker.invalidate(&stale(&["a"]));
    assert_eq!(pushes(&target), ["*1\r\n$1\r\na\r\n"]);
    assert_eq!(client.letters(), "t");
    let gone = target.id;
    drop(target);
    tracker.reads(client.id, &keys(&["a"]));
    tracker.invalidate(&stale(&["a"]));
    assert_eq!(pushes(&client), [format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{gone}\r\n")]);
    assert_eq!(client.letters(), "tR");
    tracker.leave(client.id);
    assert_eq!(client.letters(), "N");
}

#[test]
fn a_client_in_bcast_mode_is_told_by_prefix() {
    let (clients, tracker) = tracker(100);
    let client = enter(&clients, 1_000);
    let prefixes = keys(&["u:", "v:"]);
    tracker.want(client.id, &prefixes);
    tracker.join(
        &client,
        TrackingTerms { prefixes: Some(prefixes.into_iter().collect()), ..TrackingTerms::default() },
    );
    assert_eq!(*tracker.wanted().borrow().clone(), keys(&["u:", "v:"]));
    tracker.reads(client.id, &keys(&["u:1"]));
    tracker.invalidate(&stale(&["u:1"]));
    tracker.broadcast(&keys(&["u:1", "v:1", "u:2", "x"]));
    let both = ">2\r\n$10\r\ninvalidate\r\n*2\r\n$3\r\nu:1\r\n$3\r\nu:2\r\n".to_owned();
    assert_eq!(pushes(&client), [both, push("v:1")]);
    tracker.broadcast_everything();
    assert_eq!(pushes(&client), [NULL]);
    tracker.leave(client.id);
    assert!(tracker.wanted().borrow().is_empty());
}
