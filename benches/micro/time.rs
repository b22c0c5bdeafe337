//! How long each operation takes and how often it allocates: the parts of a request's way by themselves, the
//! whole way through a worker, and the near cache under two threads. `cargo bench --bench micro`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

#[path = "../support/allocations.rs"]
mod allocations;
mod contention;
mod many_keys;
mod parts;
mod rig;
mod traffic;

use std::path::Path;
use std::time::Duration;

use criterion::Criterion;
use nearside::invalidation::Invalidation;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use parts::Part;
use rig::Rig;
use traffic::Traffic;

/// What is to be measured.
struct Ready {
    /// Operations of one call.
    operations: usize,
    /// Allocations of one operation.
    allocations: f64,
    call: Box<dyn FnMut()>,
}

/// A client of a rig, on the thread of the worker.
struct Conversation {
    rig: Rig,
    stream: UnixStream,
    traffic: Traffic,
    next: usize,
    got: Vec<u8>,
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    for (name, make) in parts::ALL.iter().chain(many_keys::ALL) {
        measure(&mut criterion, name, || Ready::part(make()));
    }
    for (name, make) in traffic::ALL {
        measure(&mut criterion, name, || Ready::traffic(make()));
    }
    contention::measure(&mut criterion);
    criterion.final_summary();
}

/// Measures what `make` makes, which is made only if it is one of those that were asked for.
fn measure(criterion: &mut Criterion, name: &str, make: impl Fn() -> Ready) {
    let mut made = None;
    criterion.bench_function(name, |bencher| {
        let ready = made.get_or_insert_with(&make);
        bencher.iter(&mut ready.call);
    });
    if let Some(Ready { operations, allocations, .. }) = made {
        println!("{:>24}{allocations:.2} allocations an operation; the time is that of {operations}", "");
    }
}

// === impl Ready ===

impl Ready {
    fn part(Part { operations, mut call }: Part) -> Ready {
        (0..parts::WARM_UP).for_each(|_| call());
        let before = allocations::so_far();
        (0..parts::COUNTED).for_each(|_| call());
        let made = allocations::so_far() - before;
        Ready { operations, allocations: made as f64 / (parts::COUNTED * operations) as f64, call }
    }

    fn traffic(traffic: Traffic) -> Ready {
        let rig = Rig::start(Path::to_owned, traffic.namespace);
        rig.prepare(&traffic.prepare);
        let (operations, warm_up, counted) = (traffic.operations, traffic.warm_up, traffic.counted);
        let (counter, each) = traffic.proof;
        let mut conversation = Conversation::begin(rig, traffic);
        (0..warm_up).for_each(|_| conversation.round());
        let proof = conversation.rig.stats.total(counter);
        let before = allocations::so_far();
        (0..counted).for_each(|_| conversation.round());
        let made = allocations::so_far() - before;
        let proof = conversation.rig.stats.total(counter) - proof;
        assert!(proof >= (counted * operations * each) as u64, "{counter} grew by {proof}");
        let allocations = made as f64 / (counted * operations) as f64;
        Ready { operations, allocations, call: Box::new(move || conversation.round()) }
    }
}

// === impl Conversation ===

impl Conversation {
    fn begin(rig: Rig, traffic: Traffic) -> Conversation {
        let stream = rig.connect();
        stream.set_nonblocking(true).unwrap();
        let stream = rig.runtime.block_on(async { UnixStream::from_std(stream) }).unwrap();
        Conversation { rig, stream, traffic, next: 0, got: Vec::new() }
    }

    fn round(&mut self) {
        let Conversation { rig, stream, traffic, next, got } = self;
        let round = &traffic.rounds[*next];
        got.resize(round.reply.len(), 0);
        rig.runtime.block_on(async {
            stream.write_all(&round.request).await.unwrap();
            stream.read_exact(got).await.unwrap();
        });
        assert!(*got == round.reply, "{}", got.escape_ascii());
        *next += 1;
        if *next == traffic.rounds.len() {
            *next = 0;
            if traffic.proof.0 == traffic::FILLS {
                let cache = rig.house.cache.as_ref().unwrap();
                cache.invalidate(&Invalidation::All, &rig.stats.worker(0));
            }
        }
    }
}
