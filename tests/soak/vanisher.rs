//! Clients that vanish in the middle of a pipeline, with requests unsent in part and replies unread.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nearside::sandbox::client::encode;

use crate::entrance::ENTRANCES;
use crate::world::World;

const DEPTH_MAX: usize = 24;

const PAUSE_MAX_MILLIS: u64 = 40;

/// Plays one such client after the other until it is over. They read what others check, so that a reply that
/// went astray would be noticed.
pub(crate) fn run(world: &World, mut random: Rng) {
    while !world.is_over() {
        let mut client = world.client(random.usize(..ENTRANCES.len()), random.u8(2..=3));
        let mut bytes = Vec::new();
        for _ in 0..random.usize(1..=DEPTH_MAX) {
            let key = &world.keys[random.usize(..world.keys.len())];
            let request =
                if random.bool() { vec!["GET", &key.name] } else { vec!["MGET", &key.name, "none"] };
            bytes.extend_from_slice(&encode(&request));
        }
        let cut = random.usize(1..=bytes.len());
        if client.send_raw(&bytes[..cut]).is_ok() && random.bool() {
            let _ = client.receive();
        }
        drop(client);
        world.vanished.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(random.u64(..PAUSE_MAX_MILLIS)));
    }
}
