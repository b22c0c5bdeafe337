//! A thousand clients that wait in BLPOP, each for a list of its own, and how fast each is woken.

use tokio::time::Instant;

use crate::figures::{Latencies, kib_each};
use crate::member::{self, Member};
use crate::servers::{self, Target};

const CLIENTS: usize = 1_000;
const ROUNDS: usize = 5;

pub(crate) fn measure() {
    println!(
        "\n{CLIENTS} clients that wait in BLPOP, woken one by one {ROUNDS} times: from RPUSH to the element"
    );
    println!(
        "{:<14}{:>10} {:>10} {:>9}   {:>9} {:>9} {:>9}  {:>12}",
        "", "KiB each", "afterwards", "upstream", "p50 us", "p99 us", "max us", "CPU us"
    );
    for target in servers::both() {
        member::runtime().block_on(of(&target));
    }
}

async fn of(target: &Target) {
    let empty = target.resident();
    let mut members = member::connect_all(target.address, CLIENTS).await;
    let mut writer = Member::connect(target.address).await;
    block(&mut members).await;
    let blocked = wait_until_blocked(target);
    let resident = target.resident();
    let upstream = target.upstream_connections();
    let mut latencies = Latencies::default();
    let cpu = target.cpu();
    for round in 1..=ROUNDS {
        for (number, member) in members.iter_mut().enumerate() {
            let (key, reply) = (key(number), popped(number));
            let begun = Instant::now();
            writer.send(&["RPUSH", &key, "element"]).await;
            member.expect(reply.as_bytes()).await;
            latencies.add(begun.elapsed());
            writer.expect(b":1\r\n").await;
        }
        if round < ROUNDS {
            block(&mut members).await;
            assert_eq!(wait_until_blocked(target), blocked);
        }
    }
    let cpu = (target.cpu() - cpu).as_secs_f64() * 1e6 / (ROUNDS * CLIENTS) as f64;
    println!(
        "{:<14}{:>10.2} {:>10.2} {:>9}   {latencies}  {cpu:>12.2}",
        target.name,
        kib_each(empty, resident, CLIENTS),
        kib_each(empty, target.resident(), CLIENTS),
        upstream.map_or("-".to_owned(), |count| count.to_string()),
    );
}

pub(crate) async fn block(members: &mut [Member]) {
    for (number, member) in members.iter_mut().enumerate() {
        member.send(&["BLPOP", &key(number), "0"]).await;
    }
}

/// Waits until all are blocked; how many.
pub(crate) fn wait_until_blocked(target: &Target) -> usize {
    let mut control = target.control();
    loop {
        let info = control.command(&["INFO", "clients"]).unwrap().text();
        let blocked = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        if blocked == Some(&CLIENTS.to_string()) {
            return CLIENTS;
        }
    }
}

fn key(number: usize) -> String {
    format!("list:{number:06}")
}

fn popped(number: usize) -> String {
    format!("*2\r\n$11\r\n{}\r\n$7\r\nelement\r\n", key(number))
}
