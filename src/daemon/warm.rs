//! Warm restart: saves the names of the hottest reads now and then and at the end, and makes those reads
//! again at the start.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task;
use tokio::time::{self, MissedTickBehavior};

use crate::cache::SharedCache;
use crate::cache::warm::{READ_BYTES_MAX, READS_PER_KEY_MAX, Snapshot};
use crate::clock;
use crate::commands::ServerReport;
use crate::drain::Drain;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Class, recognise};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::Resp;
use crate::protocol::resp::request::OwnedRequest;
use crate::router::{Answer, Caller, ExclusiveEnd, Inflight, Router};
use crate::stats::WorkerStats;
use crate::upstream::Coherence;

/// Reads of the file whose replies are waited for at a time.
const OUTSTANDING_MAX: usize = 64;

/// How long the reads wait for tracked connections. After that they begin anyway, though replies over a
/// connection that is not tracked are not kept.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Reads go out in as many small lots each second.
const LOTS_PER_SECOND: usize = 50;

/// The file, and what goes into it.
#[derive(Clone, Debug)]
pub(super) struct Warm {
    pub(super) file: PathBuf,
    /// Keys in the file at most.
    pub(super) keys: usize,
    /// How often the file is written.
    pub(super) interval: Duration,
    /// Reads a second when the file is read.
    pub(super) rate: usize,
    /// The upstream, as it is named in the file.
    pub(super) upstream: String,
    pub(super) cache: Arc<SharedCache>,
    pub(super) stats: Arc<WorkerStats>,
}

/// The reads to make at the start.
#[derive(Debug)]
pub(super) struct WarmUp {
    reads: Vec<(u32, Vec<Bytes>)>,
    rate: usize,
}

// === impl Warm ===

impl Warm {
    /// What the file has; nothing when it cannot be used, which is logged: then the start is a cold one.
    pub(super) fn read(&self) -> Option<WarmUp> {
        let reads_max = self.keys * READS_PER_KEY_MAX;
        match Snapshot::read(&self.file, &self.upstream, reads_max) {
            Ok(Some(snapshot)) => Some(WarmUp { reads: snapshot.reads, rate: self.rate }),
            Ok(None) => {
                tracing::info!(file = %self.file.display(), "warm_file is not there yet: a cold start");
                None
            }
            Err(error) => {
                self.stats.warm_failures.add(1);
                tracing::warn!(
                    file = %self.file.display(), %error,
                    "warm_file is not used: a cold start; it will be written anew"
                );
                None
            }
        }
    }

    /// Saves at each interval. Does not end by itself.
    pub(super) async fn save_now_and_then(self) {
        loop {
            time::sleep(self.interval).await;
            let warm = self.clone();
            // It waits for a disk.
            let _ = task::spawn_blocking(move || warm.save()).await;
        }
    }

    /// Writes the file. One that cannot be written is logged, and what was there stays.
    pub(super) fn save(&self) {
        let reads = self.cache.hottest(self.keys, READS_PER_KEY_MAX, READ_BYTES_MAX);
        let reads: Vec<_> = reads.into_iter().map(|(database, read)| (database.number(), read)).collect();
        let count = reads.len();
        match (Snapshot { upstream: self.upstream.clone(), reads }).write(&self.file) {
            Ok(()) => {
                self.stats.warm_saves.add(1);
                tracing::debug!(file = %self.file.display(), reads = count, "warm_file is written");
            }
            Err(error) => {
                self.stats.warm_failures.add(1);
                tracing::warn!(
                    file = %self.file.display(), %error,
                    "warm_file cannot be written; what was there stays"
                );
            }
        }
    }
}

// === impl WarmUp ===

impl WarmUp {
    /// Makes the reads as a client would, at their rate, until all are done or the daemon is to end.
    pub(super) async fn run(self, router: Rc<Router>, report: Arc<ServerReport>, drain: Drain) {
        let reading = async {
            until_tracked(&report).await;
            self.read_all(&router, &report).await;
        };
        tokio::select! { () = reading => (), () = drain.begun() => () }
    }

    async fn read_all(self, router: &Rc<Router>, report: &ServerReport) {
        let (stats, total) = (report.stats.worker(0), self.reads.len());
        let lot = self.rate.div_ceil(LOTS_PER_SECOND);
        let mut lots = time::interval(Duration::from_secs(1) * lot as u32 / self.rate as u32);
        lots.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outstanding = FuturesUnordered::new();
        for (index, (database, read)) in self.reads.into_iter().enumerate() {
            if index % lot == 0 {
                lots.tick().await;
            }
            if outstanding.len() >= OUTSTANDING_MAX {
                outstanding.next().await;
            }
            outstanding.push(make(router.clone(), DbIndex::new(database), OwnedRequest::from_args(&read)));
            stats.warm_reads.add(1);
        }
        while outstanding.next().await.is_some() {}
        tracing::info!(reads = total, "warm-up replayed the hottest reads of the time before the restart");
    }
}

/// Waits until replies can be kept, or until `PATIENCE` is over.
async fn until_tracked(report: &ServerReport) {
    let tracked = async {
        loop {
            let nodes = report.upstream.status.nodes(clock::now());
            if !nodes.is_empty() && nodes.values().all(|node| node.state == Coherence::Tracked) {
                return;
            }
            time::sleep(LOOK_INTERVAL).await;
        }
    };
    // Then some will be kept, and the others not.
    let _ = time::timeout(PATIENCE, tracked).await;
}

/// Makes one read. Its reply is for L1 alone.
async fn make(router: Rc<Router>, database: DbIndex, request: OwnedRequest) {
    let inflight = Rc::new(Inflight::of(database));
    if let Some(discovered) = router.wait_for_topology() {
        discovered.await;
    }
    let request = request.as_request();
    let Ok(spec) = recognise(&request) else { return };
    let caller = Caller { resp: Resp::Three, inflight: &inflight, now: clock::now(), coverage: None };
    let out = &mut WriteQueue::default();
    match router.call(spec, Class::CacheableRead, &request, caller, out) {
        Answer::Later(reply) => drop(reply.await),
        Answer::Exclusive(work) => {
            if let ExclusiveEnd::Sent(reply) = work.await {
                drop(reply.await);
            }
        }
        Answer::Appended | Answer::Now(_) | Answer::Confirmation(_) | Answer::Mailed => {}
    }
}
