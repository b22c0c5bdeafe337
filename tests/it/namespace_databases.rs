//! The databases of a namespace: whatever a client does with them is answered as by a plain server.

use fastrand::Rng;
use nearside::sandbox::{SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::shared_cluster;

const ROUNDS: usize = 12;
const REQUESTS: usize = 120;

fn raw(client: &mut SandboxClient, request: &str) -> String {
    client.send(&request.split(' ').collect::<Vec<_>>()).unwrap();
    client.receive_raw().unwrap().escape_ascii().to_string()
}

/// The reply as far as it must be the same on both sides.
fn reply(client: &mut SandboxClient, request: &str) -> String {
    match request {
        "CLIENT INFO" | "CLIENT LIST TYPE normal" => {
            let own = client.command(&["CLIENT", "ID"]).unwrap().integer().unwrap();
            let lines = client.command(&request.split(' ').collect::<Vec<_>>()).unwrap().text();
            let line = lines.lines().find(|line| line.split(' ').any(|word| word == format!("id={own}")));
            line.unwrap().split(' ').filter(|word| word.starts_with("db=")).collect()
        }
        "KEYS *" | "INFO keyspace" => {
            let reply = client.command(&request.split(' ').collect::<Vec<_>>()).unwrap();
            let mut words: Vec<String> = match request {
                "KEYS *" => reply.items().iter().map(|name| name.text()).collect(),
                _ => reply.text().lines().map(|line| line.split(',').next().unwrap().to_owned()).collect(),
            };
            words.sort();
            words.join(" ")
        }
        "HELLO 3" | "HELLO 2" => {
            let reply = client.command(&request.split(' ').collect::<Vec<_>>()).unwrap();
            reply.items().iter().map(|item| item.text()).find(|text| text == "proto").unwrap_or_default()
        }
        request => raw(client, request),
    }
}

fn request(random: &mut Rng) -> String {
    let keys = ["a", "b", "c", "{a}b"];
    let mut key = || keys[random.usize(..keys.len())];
    let (one, other) = (key(), key());
    let database = match random.u8(..20) {
        0 => "16".to_owned(),
        1 => "-1".to_owned(),
        2 => "x".to_owned(),
        3 => "99999999999".to_owned(),
        _ => random.u8(..4).to_string(),
    };
    match random.u8(..24) {
        0..=3 => format!("SELECT {database}"),
        4..=6 => format!("SET {one} {}", random.u8(..)),
        7 | 8 => format!("GET {one}"),
        9 | 10 => format!("MOVE {one} {database}"),
        11 => format!("COPY {one} {other} DB {database}"),
        12 => format!("COPY {one} {other} DB {database} REPLACE"),
        13 => format!("COPY {one} {other} REPLACE"),
        14 => format!("RENAME {one} {other}"),
        15 => format!("DEL {one}"),
        16 => format!("COPY {one} {other} DB"),
        17 => "RESET".to_owned(),
        18 => "HELLO 3".to_owned(),
        19 => "HELLO 2".to_owned(),
        20 => "CLIENT INFO".to_owned(),
        21 => "CLIENT LIST TYPE normal".to_owned(),
        22 => ["DBSIZE", "KEYS *", "INFO keyspace"][random.usize(..3)].to_owned(),
        _ => ["FLUSHDB", "FLUSHALL", "DBSIZE"][random.usize(..3)].to_owned(),
    }
}

fn play(url: &str, flags: &[&str]) {
    let plain = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::start(&[&["--upstream", url], flags].concat());
    for round in 0..ROUNDS {
        let mut random = Rng::with_seed(round as u64);
        let mut sides = [plain.server().connect().unwrap(), daemon.client()];
        let mut asked = Vec::new();
        for _ in 0..REQUESTS {
            let request = request(&mut random);
            let [wanted, got] = sides.each_mut().map(|side| reply(side, &request));
            asked.push(request);
            assert_eq!(got, wanted, "round {round}, after {asked:?}");
        }
        sides.iter_mut().for_each(|side| assert!(side.command(&["FLUSHALL"]).unwrap().is_ok()));
    }
}

#[test]
fn databases_of_a_pinned_namespace_are_those_of_a_plain_server() {
    play(&upstream_url(shared_cluster()), &["--namespace", "databases", "--pin"]);
}

#[test]
fn databases_of_a_namespace_of_one_server_are_those_of_a_plain_server() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    play(&url, &["--namespace", "databases"]);
}
