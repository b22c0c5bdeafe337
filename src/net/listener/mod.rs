//! Listeners: one accept loop for TCP and Unix sockets, and the limit of how many clients there may be.
//!
//! Must never know: what is said on a connection, beside the one line of error for a client that is refused.
//! Begin with `mod.rs` (the accept loop and the limit), then `tcp.rs` and `unix.rs` (how each is bound).

pub mod tcp;
pub mod unix;

#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use socket2::Socket;
use tokio::io::Interest;

use crate::drain::Drain;
use crate::memory::{CLIENT_BYTES, MemoryCeiling, MemoryHold, MemoryUse};
use crate::net::socket::watch;
use crate::settings::Setting;
use crate::stats::{CountGuard, WorkerStats};

/// A client's socket: nonblocking, not registered with any runtime.
#[derive(Debug)]
pub struct ClientSocket {
    /// The socket.
    pub stream: Socket,
    /// The TCP address of the client; `None` over a Unix socket.
    pub address: Option<SocketAddr>,
}

/// The bounds on the clients of all listeners together, and the count of those refused.
#[derive(Debug)]
pub struct ClientLimit {
    max_clients: Arc<Setting>,
    ceiling: Arc<MemoryCeiling>,
    connected: Arc<AtomicUsize>,
    stats: Arc<WorkerStats>,
    /// Whether clients of other machines are let in: 1, or 0.
    remote: Arc<Setting>,
}

/// What a client holds while it is connected.
#[derive(Debug)]
pub struct Permit {
    _connected: CountGuard,
    _held: MemoryHold,
}

/// What Redis says to a client too many.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// The error for a client of another machine when no password is set, as from Redis in protected mode.
const DENIED: &[u8] = b"-DENIED nearside is running in protected mode because no password is set for its clients. In this \
    mode connections are only accepted from the loopback interface of this machine and over its Unix socket. To let clients \
    of other machines in, 1) set a password that they must give (password_file), or 2) start nearside with --allow-remote, \
    if nobody can reach it who should not: whoever does may do everything with the data. NOTE: one of the two is enough.\r\n";

/// The error for a client for which there is no memory.
const NO_MEMORY: &[u8] = b"-OOM nearside: there is no memory for one more client (memory_max)\r\n";

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// As many as may be are connected.
    TooMany,
    /// The client is on another machine.
    Remote,
    /// There is no memory for one more.
    NoMemory,
}

/// Waits after an accept that failed, as when the process has no file descriptor left: without them the loop
/// would spin, because the connection stays in the queue.
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Accepts clients on `listener`, which must not block, until the drain begins, and then those that had
/// connected by then, whom the kernel would reset when the listener is closed. Each client is handed over
/// with the permit that it holds while it is connected; over the bound of `admission` it is told so and
/// closed. The `path` of a Unix socket goes as soon as the drain begins. Fails only if the runtime does not
/// take the listener.
pub async fn accept(
    listener: Socket,
    path: Option<unix::SocketPath>,
    admission: &ClientLimit,
    drain: &Drain,
    mut hand_over: impl FnMut(ClientSocket, Permit),
) -> io::Result<()> {
    // In this order, so that the path is dropped first.
    let (listener, path) = (watch(listener, Interest::READABLE)?, path);
    let mut failing = Burst::default();
    let (mut refusing, mut denying) = (Burst::default(), Burst::default());
    let mut admit = |socket: ClientSocket| match admission.admit_to(&socket) {
        Ok(permit) => {
            refusing.end();
            hand_over(socket, permit);
        }
        Err(refusal) => {
            match refusal {
                Rejection::TooMany if refusing.begins() => {
                    tracing::warn!("clients are refused: max_clients are connected");
                }
                Rejection::Remote if denying.begins() => {
                    tracing::warn!(
                        client = socket.address.map(|address| address.to_string()),
                        "clients of other machines are refused: there is no password, and allow_remote is false"
                    );
                }
                Rejection::NoMemory if refusing.begins() => {
                    tracing::warn!("clients are refused: memory_max is used up");
                }
                Rejection::TooMany | Rejection::Remote | Rejection::NoMemory => {}
            }
            socket.refuse(refusal);
        }
    };
    let mut retry = RETRY_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.begun() => break,
            accepted = listener.async_io(Interest::READABLE, accept_one) => accepted,
        };
        match accepted {
            Ok(socket) => {
                failing.end();
                retry = RETRY_MIN;
                admit(socket);
            }
            // The client left before it was accepted: no failure.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                admission.stats.accept_failures.add(1);
                if failing.begins() {
                    tracing::warn!(%error, "cannot accept clients; trying again{}", advice(&error));
                }
                tokio::select! {
                    () = drain.begun() => break,
                    () = tokio::time::sleep(retry) => {}
                }
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
    drop(path);
    while let Ok(socket) = accept_one(listener.get_ref()) {
        admit(socket);
    }
    Ok(())
}

/// Accepts a client that has connected already.
fn accept_one(listener: &Socket) -> io::Result<ClientSocket> {
    let (stream, address) = listener.accept()?;
    stream.set_nonblocking(true)?;
    let address = address.as_socket();
    if address.is_some() {
        tcp::tune(&stream);
    }
    Ok(ClientSocket { stream, address })
}

/// What to do about an accept that failed, where that is known.
fn advice(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            ": this process has no file descriptor left; set LimitNOFILE= of its unit, or ulimit -n, higher, or max_clients \
             lower"
        }
        Some(Errno::NFILE) => ": this system has no file descriptor left; see the sysctl fs.file-max",
        _ => "",
    }
}

/// A trouble that goes on: logged when it begins, not each time.
#[derive(Default)]
struct Burst {
    on: bool,
}

// === impl Burst ===

impl Burst {
    fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.on, true)
    }

    fn end(&mut self) {
        self.on = false;
    }
}

// === impl ClientSocket ===

impl ClientSocket {
    /// Writes the error and closes. A single try is enough: a new socket has room for a line, and a client
    /// that is gone need not read it.
    fn refuse(self, refusal: Rejection) {
        let text = match refusal {
            Rejection::TooMany => TOO_MANY,
            Rejection::Remote => DENIED,
            Rejection::NoMemory => NO_MEMORY,
        };
        if let Err(error) = self.say(text) {
            tracing::debug!(%error, "a refused client was gone already");
        }
    }

    /// Says `text` and nothing more. What the client has sent already is taken: closed with that unread, the
    /// connection would be reset, and the client might never see why.
    fn say(mut self, text: &[u8]) -> io::Result<()> {
        self.stream.write_all(text)?;
        self.stream.shutdown(Shutdown::Write)?;
        let _ = self.stream.read(&mut [0; 4096]);
        Ok(())
    }

    /// Whether it comes from another machine, as far as its address tells.
    fn is_remote(&self) -> bool {
        self.address.is_some_and(|address| !address.ip().to_canonical().is_loopback())
    }
}

// === impl ClientLimit ===

impl ClientLimit {
    /// Lets in at most `max_clients` at the same time, of other machines if `remote` is 1, and as many as
    /// `ceiling` has room for; those refused are counted in `stats`.
    pub fn new(
        max_clients: Arc<Setting>,
        remote: Arc<Setting>,
        ceiling: Arc<MemoryCeiling>,
        stats: Arc<WorkerStats>,
    ) -> ClientLimit {
        ClientLimit { max_clients, ceiling, connected: Arc::default(), stats, remote }
    }

    /// What the client at `socket` holds, or why it is not let in.
    fn admit_to(&self, socket: &ClientSocket) -> Result<Permit, Rejection> {
        if socket.is_remote() && self.remote.get() == 0 {
            self.stats.connections_refused.add(1);
            return Err(Rejection::Remote);
        }
        self.admit()
    }

    /// What one more client holds.
    ///
    /// # Errors
    /// It is one too many.
    pub fn admit(&self) -> Result<Permit, Rejection> {
        if !self.ceiling.fits(CLIENT_BYTES) {
            self.ceiling.counts.clients_refused.fetch_add(1, Ordering::Relaxed);
            self.stats.connections_refused.add(1);
            return Err(Rejection::NoMemory);
        }
        let Some(connected) = CountGuard::below(&self.connected, self.max_clients.size()) else {
            self.stats.connections_refused.add(1);
            return Err(Rejection::TooMany);
        };
        let mut held = self.ceiling.hold(MemoryUse::Clients);
        held.set(CLIENT_BYTES);
        Ok(Permit { _connected: connected, _held: held })
    }
}
