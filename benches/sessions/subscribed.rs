//! Ten thousand clients: connected and idle, then all subscribed to one channel, then each gets what is
//! published.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::figures::{Latencies, kib_each};
use crate::member::{self, Member};
use crate::servers::{self, Target};

const CLIENTS: usize = 10_000;
const PUBLISHED: usize = 20;
const CONFIRMATION: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";

/// What all subscribers and the publisher share.
struct Delivery {
    published: Cell<Instant>,
    missing: Cell<usize>,
    all: Notify,
    latencies: RefCell<Latencies>,
}

pub(crate) fn measure() {
    println!(
        "\n{CLIENTS} clients of one server, then all subscribed to one channel; {PUBLISHED} messages of 100 bytes"
    );
    println!(
        "{:<14}{:>10} {:>10} {:>10} {:>9}   {:>9} {:>9} {:>9}  {:>12}",
        "", "idle", "subscribed", "afterwards", "upstream", "p50 us", "p99 us", "max us", "CPU us"
    );
    println!("{:<14}{:>10} {:>10} {:>10}", "", "KiB each", "KiB each", "KiB each");
    for target in servers::both() {
        LocalSet::new().block_on(&member::runtime(), of(&target));
    }
}

async fn of(target: &Target) {
    let empty = target.resident();
    let mut members = member::connect_all(target.address, CLIENTS).await;
    let idle = target.resident();
    for member in &mut members {
        member.send(&["SUBSCRIBE", "news"]).await;
    }
    for member in &mut members {
        member.expect(CONFIRMATION).await;
    }
    let subscribed = target.resident();
    let upstream = target.upstream_connections();
    let mut publisher = Member::connect(target.address).await;

    let delivery = Rc::new(Delivery {
        published: Cell::new(Instant::now()),
        missing: Cell::new(0),
        all: Notify::new(),
        latencies: RefCell::default(),
    });
    let payload = "m".repeat(100);
    let message = format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$100\r\n{payload}\r\n");
    let mut listening = JoinSet::new();
    for member in members {
        listening.spawn_local(listen(member, message.clone(), delivery.clone()));
    }
    let cpu = target.cpu();
    for _ in 0..PUBLISHED {
        delivery.missing.set(CLIENTS);
        delivery.published.set(Instant::now());
        publisher.send(&["PUBLISH", "news", &payload]).await;
        delivery.all.notified().await;
        publisher.expect(format!(":{CLIENTS}\r\n").as_bytes()).await;
    }
    let cpu = (target.cpu() - cpu).as_secs_f64() * 1e6 / (PUBLISHED * CLIENTS) as f64;
    let each = |resident| kib_each(empty, resident, CLIENTS);
    println!(
        "{:<14}{:>10.2} {:>10.2} {:>10.2} {:>9}   {}  {cpu:>12.2}",
        target.name,
        each(idle),
        each(subscribed),
        each(target.resident()),
        upstream.map_or("-".to_owned(), |count| count.to_string()),
        delivery.latencies.borrow(),
    );
}

async fn listen(mut member: Member, message: String, delivery: Rc<Delivery>) {
    for _ in 0..PUBLISHED {
        member.expect(message.as_bytes()).await;
        delivery.latencies.borrow_mut().add(delivery.published.get().elapsed());
        delivery.missing.update(|missing| missing - 1);
        if delivery.missing.get() == 0 {
            delivery.all.notify_one();
        }
    }
    // The socket stays open until the memory has been looked at.
    std::future::pending::<()>().await;
}
