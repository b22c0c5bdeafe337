//! The limit: a server that reads, counts requests and writes one constant reply for each. No parsing, no
//! lookup, no allocation per request. It stands for what sockets and the event loop alone cost a server built
//! like nearside: one thread, tokio, sockets registered for reads only.

use std::io::{self, Write};
use std::path::Path;

use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use crate::socket::Socket;

/// Every request begins with one, and what the loads send holds no other.
const REQUEST_MARK: u8 = b'*';
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Replies ready to be written at once; a deeper pipeline takes several writes.
const REPLIES_READY: usize = 128;

/// Serves `reply` until the process is ended. Says its TCP address on stdout once both listeners are open.
pub(crate) fn serve(unix_path: &Path, reply: &[u8]) -> io::Result<()> {
    // For life, as the process serves for life.
    let replies: &'static [u8] = reply.repeat(REPLIES_READY).leak();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let unix = UnixListener::bind(unix_path)?;
        writeln!(io::stdout(), "{}", tcp.local_addr()?)?;
        let mut sessions = JoinSet::new();
        loop {
            let socket = tokio::select! {
                accepted = tcp.accept() => {
                    let stream = accepted?.0.into_std()?;
                    stream.set_nodelay(true)?;
                    Socket::Tcp(stream)
                }
                accepted = unix.accept() => Socket::Unix(accepted?.0.into_std()?),
                Some(_) = sessions.join_next() => continue,
            };
            sessions.spawn(session(socket.register()?, replies));
        }
    })
}

/// One client, until it leaves or its socket fails; either way there is nobody left to tell.
async fn session(socket: AsyncFd<Socket>, replies: &'static [u8]) -> io::Result<()> {
    let reply_bytes = replies.len() / REPLIES_READY;
    let mut buffer = [0; READ_BUFFER_BYTES];
    loop {
        let mut ready = socket.readable().await?;
        match socket.get_ref().read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                if count < buffer.len() {
                    ready.clear_ready();
                }
                let mut requests = buffer[..count].iter().filter(|byte| **byte == REQUEST_MARK).count();
                while requests > 0 {
                    let now = requests.min(REPLIES_READY);
                    socket.get_ref().write_all(&replies[..now * reply_bytes])?;
                    requests -= now;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) => return Err(error),
        }
    }
}
