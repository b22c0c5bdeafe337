//! Three hundred transactions a second, each WATCH, GET, MULTI, SET, EXEC by one of a few clients.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use crate::figures::Latencies;
use crate::member::{self, Member};
use crate::servers::{self, Target};

const CLIENTS: usize = 30;
const A_SECOND: u32 = 300;
const LASTING: Duration = Duration::from_secs(5);

pub(crate) fn measure() {
    println!(
        "\n{A_SECOND} transactions a second for {} s by {CLIENTS} clients: WATCH, GET, MULTI, SET, EXEC, one after the other",
        LASTING.as_secs()
    );
    println!(
        "{:<14}{:>9} {:>9}   {:>9} {:>9} {:>9}  {:>12}",
        "", "upstream", "opened", "p50 us", "p99 us", "max us", "CPU us"
    );
    for target in servers::both() {
        member::runtime().block_on(of(&target));
    }
}

async fn of(target: &Target) {
    let mut members = member::connect_all(target.address, CLIENTS).await;
    // All at once, so that every connection that this many clients need is open before it counts.
    join_all(members.iter_mut().enumerate().map(|(number, member)| transact(member, number, 0))).await;
    let accepted = target.upstream_accepted();
    let cpu = target.cpu();
    let latencies = RefCell::new(Latencies::default());
    let begun = Instant::now();
    let clients = members.into_iter().enumerate();
    let members = join_all(clients.map(|(number, member)| client(member, number, begun, &latencies))).await;
    let count = A_SECOND as f64 * LASTING.as_secs_f64();
    let cpu = (target.cpu() - cpu).as_secs_f64() * 1e6 / count;
    let shown = |count: Option<usize>| count.map_or("-".to_owned(), |count| count.to_string());
    // Every node was asked once in between, on a connection of its own.
    let nodes = target.nodes();
    let opened = target.upstream_accepted().zip(accepted).map(|(after, before)| after - before - nodes);
    assert!(opened.unwrap_or(0) == 0, "transactions opened {opened:?} connections");
    println!(
        "{:<14}{:>9} {:>9}   {}  {cpu:>12.2}",
        target.name,
        shown(target.upstream_connections()),
        shown(opened),
        latencies.borrow(),
    );
    drop(members);
}

/// One client, at its own steady pace.
async fn client(mut member: Member, number: usize, begun: Instant, latencies: &RefCell<Latencies>) -> Member {
    let every = Duration::from_secs(CLIENTS as u64) / A_SECOND;
    let mut next = begun + every.mul_f64(number as f64 / CLIENTS as f64);
    let mut balance = 1;
    while next < begun + LASTING {
        sleep_until(next).await;
        let due = Instant::now();
        transact(&mut member, number, balance).await;
        balance += 1;
        latencies.borrow_mut().add(due.elapsed());
        next += every;
    }
    member
}

/// Adds one to a balance that is known, so that a lost or doubled transaction ends the bench.
async fn transact(member: &mut Member, number: usize, balance: usize) {
    let key = format!("account:{number}");
    member.ask(&["WATCH", &key], b"+OK\r\n").await;
    let expected = if balance == 0 { "$-1\r\n".to_owned() } else { format!("$6\r\n{balance:06}\r\n") };
    member.ask(&["GET", &key], expected.as_bytes()).await;
    member.ask(&["MULTI"], b"+OK\r\n").await;
    member.ask(&["SET", &key, &format!("{:06}", balance + 1)], b"+QUEUED\r\n").await;
    member.ask(&["EXEC"], b"*1\r\n+OK\r\n").await;
}
