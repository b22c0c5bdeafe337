//! Hits beside a crowd: GET by a few clients, alone and while two thousand others are blocked or subscribed.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep};

use crate::blocked;
use crate::figures::{Latencies, median};
use crate::member::{self, Member};
use crate::servers::Target;

const CLIENTS: usize = 4;
const KEYS: usize = 100;
const BLOCKED: usize = 1_000;
const SUBSCRIBED: usize = 1_000;
const CHANNELS: usize = 100;
const PUBLISHED_A_SECOND: u32 = 100;
const ROUNDS: usize = 7;
const WINDOW: Duration = Duration::from_secs(1);

/// What is going on beside the hits.
const SCENES: [&str; 3] = ["alone", "beside a crowd", "beside a crowd, with messages"];

/// Whether the crowd publishes.
static PUBLISHING: AtomicBool = AtomicBool::new(false);

/// Clients that are blocked and subscribed, on a thread of their own, and one that publishes now and then.
struct Crowd {
    thread: JoinHandle<()>,
    leave: tokio::sync::oneshot::Sender<()>,
}

pub(crate) fn measure() {
    println!(
        "\nGET by {CLIENTS} clients at depth 1, beside {BLOCKED} clients in BLPOP and {SUBSCRIBED} subscribed to {CHANNELS} \
         channels; {PUBLISHED_A_SECOND} messages a second\n{:<14}{:<30}{:>9} {:>9}   medians of {ROUNDS} rounds, taking turns",
        "", "", "p50 us", "p99 us"
    );
    for make in [Target::redis, Target::nearside] {
        let (alone, crowded) = (make(), make());
        let crowd = Crowd::gather(&crowded);
        fill(&alone);
        fill(&crowded);
        let mut rounds: [Vec<(f64, f64)>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (scene, target) in [&alone, &crowded, &crowded].into_iter().enumerate() {
                PUBLISHING.store(scene == 2, Ordering::Relaxed);
                let latencies = member::runtime().block_on(hits(target));
                rounds[scene].push((latencies.micros(50.0), latencies.micros(99.0)));
            }
        }
        PUBLISHING.store(false, Ordering::Relaxed);
        crowd.disperse();
        for (scene, rounds) in SCENES.iter().zip(&rounds) {
            let p50 = median(rounds.iter().map(|round| round.0));
            let p99 = median(rounds.iter().map(|round| round.1));
            println!("{:<14}{scene:<30}{p50:>9.1} {p99:>9.1}", alone.name);
        }
    }
}

fn key(number: usize) -> String {
    format!("hit:{number:03}")
}

fn value(number: usize) -> String {
    format!("{number:0100}")
}

fn fill(target: &Target) {
    let mut control = target.control();
    for number in 0..KEYS {
        assert!(control.command(&["SET", &key(number), &value(number)]).unwrap().is_ok());
        assert_eq!(control.command(&["GET", &key(number)]).unwrap().text(), value(number));
    }
}

async fn hits(target: &Target) -> Latencies {
    let members = member::connect_all(target.address, CLIENTS).await;
    let latencies = RefCell::new(Latencies::default());
    let end = Instant::now() + WINDOW;
    join_all(members.into_iter().enumerate().map(|(first, member)| get(member, first, end, &latencies)))
        .await;
    latencies.into_inner()
}

async fn get(mut member: Member, first: usize, end: Instant, latencies: &RefCell<Latencies>) {
    for number in (0..KEYS).cycle().skip(first * KEYS / CLIENTS) {
        let begun = Instant::now();
        if begun > end {
            return;
        }
        member.ask(&["GET", &key(number)], format!("$100\r\n{}\r\n", value(number)).as_bytes()).await;
        latencies.borrow_mut().add(begun.elapsed());
    }
}

// === impl Crowd ===

impl Crowd {
    fn gather(target: &Target) -> Crowd {
        let (leave, left) = tokio::sync::oneshot::channel();
        let (tell, told) = mpsc::channel();
        let address = target.address;
        let thread = thread::spawn(move || {
            LocalSet::new().block_on(&member::runtime(), async {
                let mut waiting = member::connect_all(address, BLOCKED).await;
                blocked::block(&mut waiting).await;
                let mut listening = JoinSet::new();
                for (number, mut member) in
                    member::connect_all(address, SUBSCRIBED).await.into_iter().enumerate()
                {
                    let channel = channel(number % CHANNELS);
                    let confirmation = format!("*3\r\n$9\r\nsubscribe\r\n$4\r\n{channel}\r\n:1\r\n");
                    member.ask(&["SUBSCRIBE", &channel], confirmation.as_bytes()).await;
                    listening.spawn_local(listen(member, channel));
                }
                let publisher = Member::connect(address).await;
                listening.spawn_local(publish(publisher));
                tell.send(()).unwrap();
                let _ = left.await;
            });
        });
        told.recv().unwrap();
        blocked::wait_until_blocked(target);
        Crowd { thread, leave }
    }

    fn disperse(self) {
        let _ = self.leave.send(());
        self.thread.join().unwrap();
    }
}

fn channel(number: usize) -> String {
    format!("c:{number:02}")
}

async fn listen(mut member: Member, channel: String) {
    let message = format!("*3\r\n$7\r\nmessage\r\n$4\r\n{channel}\r\n$5\r\nhello\r\n");
    loop {
        member.expect(message.as_bytes()).await;
    }
}

async fn publish(mut publisher: Member) {
    let receivers = format!(":{}\r\n", SUBSCRIBED / CHANNELS);
    for number in (0..CHANNELS).cycle() {
        sleep(Duration::from_secs(1) / PUBLISHED_A_SECOND).await;
        if PUBLISHING.load(Ordering::Relaxed) {
            publisher.ask(&["PUBLISH", &channel(number), "hello"], receivers.as_bytes()).await;
        }
    }
}
