//! Lines of the log on their way out: the daemon never waits for the reader of its log, and never fails with
//! it.
//!
//! A thread of its own writes them, so a full pipe or a disk that hangs delays no other thread. A line for
//! which the queue has no room, or that cannot be written, is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

use crate::stats::Counter;

/// How long the end of the process waits for the lines that are still queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the end of the process waits before a full queue is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Hands lines to the thread that writes them.
#[derive(Clone, Debug)]
pub(super) struct LineQueue {
    sender: SyncSender<LogItem>,
    dropped: Arc<Counter>,
}

enum LogItem {
    /// A line, with its end.
    Line(Vec<u8>),
    /// Notified once all lines before were written, or dropped.
    Flush(SyncSender<()>),
}

// === impl LineQueue ===

impl LineQueue {
    /// A queue of at most `lines_max` lines, and the thread that writes them to `out`.
    pub(super) fn start(lines_max: usize, out: impl Write + Send + 'static) -> io::Result<LineQueue> {
        let (sender, receiver) = sync_channel(lines_max);
        let dropped = Arc::<Counter>::default();
        let queue = LineQueue { sender, dropped: dropped.clone() };
        thread::Builder::new().name("log".to_owned()).spawn(move || write(&receiver, out, &dropped))?;
        Ok(queue)
    }

    /// How many lines were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Writes `last`, if there is such a line, behind all that was logged, and waits until that is done: not
    /// for ever.
    pub(super) fn finish(&self, last: Option<Vec<u8>>) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let (sender, receiver) = sync_channel(1);
        let said = last.is_none_or(|line| self.queue_until(deadline, LogItem::Line(line)));
        if said && self.queue_until(deadline, LogItem::Flush(sender)) {
            // If it took too long, there is nothing left to report that to.
            let _ = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    }

    fn queue_until(&self, deadline: Instant, mut item: LogItem) -> bool {
        loop {
            match self.sender.try_send(item) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => item = back,
                Err(_) => return false,
            }
            thread::sleep(RETRY);
        }
    }
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = &'a LineQueue;

    fn make_writer(&'a self) -> &'a LineQueue {
        self
    }
}

/// Each write is one line: so the log writes its events.
impl Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(LogItem::Line(line.to_vec())).is_err() {
            self.dropped.add(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes, as long as anybody may log.
fn write(receiver: &Receiver<LogItem>, mut out: impl Write, dropped: &Counter) {
    let (mut reported, mut writable) = (0, true);
    loop {
        let item = match receiver.try_recv() {
            Ok(item) => item,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                // Only while lines are written: otherwise this line would be dropped and counted in turn.
                let count = dropped.get();
                if writable && count > reported {
                    reported = count;
                    tracing::warn!(log_dropped = count, "lines of the log were dropped");
                }
                match receiver.recv() {
                    Ok(item) => item,
                    Err(_) => return,
                }
            }
        };
        match item {
            LogItem::Line(line) => {
                writable = out.write_all(&line).and_then(|()| out.flush()).is_ok();
                if !writable {
                    dropped.add(1);
                }
            }
            // Nothing waits any more if it took too long.
            LogItem::Flush(sender) => drop(sender.try_send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Writes a line once the test lets it.
    struct Gate {
        open: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(io::Error::other)?;
            self.written.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated(lines_max: usize) -> (LineQueue, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let ((let_through, open), (written, lines)) = (mpsc::channel(), mpsc::channel());
        (LineQueue::start(lines_max, Gate { open, written }).unwrap(), let_through, lines)
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_nobody_waits() {
        let (queue, let_through, lines) = gated(2);
        for number in 0..10 {
            (&queue).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        // Two are queued, and the thread may have taken the first.
        let dropped = queue.dropped();
        assert!((7..=8).contains(&dropped), "{dropped}");
        (0..10).for_each(|_| let_through.send(()).unwrap());
        queue.finish(Some(b"last\n".to_vec()));
        let lines: Vec<Vec<u8>> = lines.try_iter().collect();
        assert_eq!(lines.len() as u64, 10 - dropped + 1);
        assert_eq!((&lines[0][..], &lines[lines.len() - 1][..]), (&b"0\n"[..], &b"last\n"[..]));
    }

    #[test]
    fn the_end_does_not_wait_for_ever() {
        let (queue, _let_through, _lines) = gated(1);
        (0..3).for_each(|_| (&queue).write_all(b"stuck\n").unwrap());
        let begun = Instant::now();
        queue.finish(Some(b"last\n".to_vec()));
        assert!(begun.elapsed() < FLUSH_TIMEOUT * 5, "{:?}", begun.elapsed());
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let (queue, let_through, _) = gated(10);
        drop(let_through);
        (0..3).for_each(|_| (&queue).write_all(b"lost\n").unwrap());
        queue.finish(None);
        assert_eq!(queue.dropped(), 3);
    }
}
