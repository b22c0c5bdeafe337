//! Resident memory over the number of entries, of those that keep them.

use serde::Serialize;

use crate::ground::Ground;
use crate::keys::{Keys, Naming, Shape};
use crate::process::resident_bytes;
use crate::servers::{Kind, Server};

/// Resident memory of one server at some numbers of entries.
#[derive(Serialize)]
pub(crate) struct Curve {
    pub(crate) kind: Kind,
    /// Entries, and megabytes.
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) const VALUE_BYTES: usize = 100;
const ENTRIES: [usize; 7] = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000];

pub(crate) fn over_entries(ground: &Ground) -> Vec<Curve> {
    let split = ground.split(1);
    let keys = |count| Keys { naming: Naming::RedisBenchmark, count, shape: Shape::String(VALUE_BYTES) };
    let most = ENTRIES[ENTRIES.len() - 1];
    let origin = Server::start(ground, Kind::Redis, &split.load, None, &[]);
    keys(most).store(&mut origin.connect());
    let curve = |kind: Kind| {
        let server = Server::start(ground, kind, &split.server, Some(&origin), &["--l1-size", "1gb"]);
        let points = ENTRIES.map(|count| {
            let client = &mut server.connect();
            if kind.has_upstream() {
                keys(count).read(client, count)
            } else {
                keys(count).store(client)
            }
            (count as f64, resident_bytes(server.pid()) / 1e6)
        });
        Curve { kind, points: points.to_vec() }
    };
    [Kind::Redis, Kind::Valkey, Kind::Nearside].map(curve).into()
}
