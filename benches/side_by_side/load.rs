//! The load: connections in a closed loop on one thread, each with one pipeline of GETs outstanding. Every
//! byte of every reply is compared with what was stored; one wrong reply ends the bench.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, TryStreamExt};
use hdrhistogram::Histogram;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, timeout};

use crate::address::Address;
use crate::control::wrong_reply;
use crate::socket::Socket;
use crate::workload::{Batch, Script};

const LATENCY_MAX: Duration = Duration::from_secs(10);
/// A server that has not answered by this long after the window is taken for dead.
const GRACE: Duration = Duration::from_secs(5);

/// How one round is driven.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// GETs in a pipeline.
    pub(crate) depth: usize,
    /// Runs at full load before anything is counted, so that buffers and branch predictors have settled.
    pub(crate) warm_up: Duration,
    /// What is counted.
    pub(crate) window: Duration,
}

/// What one round came to.
pub(crate) struct Outcome {
    /// GETs answered in the window.
    pub(crate) operations: u64,
    /// GETs answered in the whole round, warm-up included.
    pub(crate) operations_total: u64,
    pub(crate) elapsed: Duration,
    /// CPU time of the server in the window.
    pub(crate) cpu: Duration,
    /// From the write of a pipeline to the last of its replies.
    pub(crate) latency_p50: Duration,
    pub(crate) latency_p99: Duration,
}

/// What the clients of one round share.
struct Tally {
    counting: Cell<bool>,
    stopped: Cell<bool>,
    operations: Cell<u64>,
    operations_total: Cell<u64>,
    latency_nanos: RefCell<Histogram<u64>>,
}

// === impl Load ===

impl Load {
    /// Runs one round against `address`. `server_cpu` reads the CPU time that the server has used so far.
    pub(crate) async fn run(
        self,
        address: &Address,
        script: &Script,
        server_cpu: impl Fn() -> io::Result<Duration>,
    ) -> io::Result<Outcome> {
        let tally = Tally::new()?;
        let clients = FuturesUnordered::new();
        for number in 0..self.connections {
            let socket = address.connect()?.register()?;
            let first_batch = number * script.batches(self.depth) / self.connections;
            clients.push(client(socket, script, self.depth, first_batch, &tally));
        }
        let measured = async {
            sleep(self.warm_up).await;
            let (cpu_before, began) = (server_cpu()?, Instant::now());
            tally.counting.set(true);
            sleep(self.window).await;
            tally.counting.set(false);
            let (elapsed, cpu_after) = (began.elapsed(), server_cpu()?);
            tally.stopped.set(true);
            Ok((elapsed, cpu_after.saturating_sub(cpu_before)))
        };
        let round = async { tokio::try_join!(measured, clients.try_collect::<()>()) };
        let ((elapsed, cpu), ()) = timeout(self.warm_up + self.window + GRACE, round).await??;
        Ok(tally.outcome(elapsed, cpu))
    }
}

async fn client(
    socket: AsyncFd<Socket>,
    script: &Script,
    depth: usize,
    first_batch: usize,
    tally: &Tally,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let (mut number, mut batch) = (first_batch, Batch::new(depth));
    while !tally.stopped.get() {
        script.write(number, &mut batch);
        let sent = Instant::now();
        socket.get_ref().write_all(&batch.requests)?;
        expect(&socket, &batch.replies, &mut buffer).await?;
        tally.add(depth as u64, sent.elapsed());
        number += 1;
    }
    Ok(())
}

/// Reads exactly `expected`.
async fn expect(socket: &AsyncFd<Socket>, mut expected: &[u8], buffer: &mut [u8]) -> io::Result<()> {
    while !expected.is_empty() {
        let mut ready = socket.readable().await?;
        match socket.get_ref().read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                // A short read has emptied the socket: the next one need not ask in vain.
                if count < buffer.len() {
                    ready.clear_ready();
                }
                let (now, later) = expected.split_at(count.min(expected.len()));
                if buffer[..count] != *now {
                    return Err(wrong_reply(now, &buffer[..count]));
                }
                expected = later;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

// === impl Tally ===

impl Tally {
    fn new() -> io::Result<Tally> {
        let latency = Histogram::new_with_bounds(100, LATENCY_MAX.as_nanos() as u64, 3);
        Ok(Tally {
            counting: Cell::new(false),
            stopped: Cell::new(false),
            operations: Cell::new(0),
            operations_total: Cell::new(0),
            latency_nanos: RefCell::new(latency.map_err(io::Error::other)?),
        })
    }

    fn add(&self, operations: u64, latency: Duration) {
        self.operations_total.set(self.operations_total.get() + operations);
        if self.counting.get() {
            self.operations.set(self.operations.get() + operations);
            self.latency_nanos.borrow_mut().saturating_record(latency.as_nanos() as u64);
        }
    }

    fn outcome(&self, elapsed: Duration, cpu: Duration) -> Outcome {
        let latency = self.latency_nanos.borrow();
        Outcome {
            operations: self.operations.get(),
            operations_total: self.operations_total.get(),
            elapsed,
            cpu,
            latency_p50: Duration::from_nanos(latency.value_at_quantile(0.50)),
            latency_p99: Duration::from_nanos(latency.value_at_quantile(0.99)),
        }
    }
}
