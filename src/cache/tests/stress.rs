//! I2 with a writer and two workers at once.

use super::*;

/// The server in the stress below: the version of each key, and which version the last finished invalidation
/// told of.
#[derive(Default)]
struct Versioned {
    current: AtomicU64,
    invalidated: AtomicU64,
}

/// A writer and two workers: no reader gets a version older than the one that was invalidated before it
/// asked.
#[test]
fn i2_no_version_older_than_the_last_invalidated_one_is_served_under_stress() {
    const KEYS: usize = 8;
    const RUN: Duration = Duration::from_millis(400);
    let shared = shared(LIMITS);
    let keys: Vec<(Asked, Versioned)> =
        (0..KEYS).map(|number| (get(&format!("key:{number}")), Versioned::default())).collect();
    let is_over = AtomicBool::new(false);
    let read = || {
        let (cache, epoch, mut own_hits) = (worker(&shared), live(), 0);
        let mut random = fastrand::Rng::with_seed(7);
        while !is_over.load(Ordering::Relaxed) {
            let (key, versioned) = &keys[random.usize(..KEYS)];
            let floor = versioned.invalidated.load(Ordering::SeqCst);
            if let Some(version) = served(&cache, key) {
                let version: u64 = version.parse().unwrap();
                assert!(version >= floor, "{}: served {version} after {floor} was invalidated", key.key);
                own_hits += 1;
                continue;
            }
            let Lookup::Miss(missed) =
                cache.lookup(&key.query(), clock::now(), || key.slot(), &mut WriteQueue::default())
            else {
                continue;
            };
            let ticket = cache.ticket(&missed, epoch.clone());
            let version = versioned.current.load(Ordering::SeqCst);
            (0..random.u8(..50)).for_each(|_| std::hint::spin_loop());
            commit(&cache, key, &ticket, &version.to_string());
        }
        (own_hits, cache.stats.l1_fills_killed.get())
    };
    let (writes, readers) = thread::scope(|scope| {
        let readers = [scope.spawn(read), scope.spawn(read)];
        let mut random = fastrand::Rng::with_seed(8);
        let (begun, mut writes) = (Instant::now(), 0);
        while begun.elapsed() < RUN {
            let (key, versioned) = &keys[random.usize(..KEYS)];
            let version = versioned.current.fetch_add(1, Ordering::SeqCst) + 1;
            shared.invalidate_key(key.key.as_bytes(), MissReason::Written);
            versioned.invalidated.store(version, Ordering::SeqCst);
            writes += 1;
            // Long enough now and then for entries to be hit.
            (0..random.u16(..2_000)).for_each(|_| std::hint::spin_loop());
        }
        is_over.store(true, Ordering::Relaxed);
        (writes, readers.map(|reader| reader.join().unwrap()))
    });
    let hits: u64 = readers.iter().map(|(hits, _)| hits).sum();
    let killed: u64 = readers.iter().map(|(_, killed)| killed).sum();
    println!("{writes} writes, {hits} hits, {killed} fills killed");
    assert!(writes > 100 && hits > 1_000, "{writes} writes, {hits} hits: nothing was tested");
}
