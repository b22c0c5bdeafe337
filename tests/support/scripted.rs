//! A node that says what a test has it say: for answers that no server gives, or not when it is wanted.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// A node of a cluster on loopback. Dropping it ends it.
pub(crate) struct ScriptedNode {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// Answers a request, or leaves it to the manners of a node: then it gives `false`. An error ends the
/// connection, and `ConnectionReset` resets it.
type Script = dyn Fn(&[&str], &mut TcpStream) -> io::Result<bool> + Send + Sync;

struct Shared {
    script: Box<Script>,
    id: String,
    port: u16,
    heard: Mutex<Vec<String>>,
    open: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

// === impl ScriptedNode ===

impl ScriptedNode {
    /// One that is called `id` in its cluster and owns all slots, but for what `script` answers otherwise.
    pub(crate) fn start(
        id: &str,
        script: impl Fn(&[&str], &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> ScriptedNode {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            id: id.to_owned(),
            port: address.port(),
            heard: Mutex::default(),
            open: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = thread::spawn({
            let shared = shared.clone();
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if shared.ended.load(Ordering::Acquire) {
                        return;
                    }
                    shared.open.lock().unwrap().push(stream.try_clone().unwrap());
                    let shared = shared.clone();
                    // It ends with its connection.
                    thread::spawn(move || shared.converse(stream));
                }
            }
        });
        ScriptedNode { address, shared, accepting: Some(accepting) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it got that begin so.
    pub(crate) fn times_asked(&self, beginning: &str) -> usize {
        self.shared.heard.lock().unwrap().iter().filter(|request| request.starts_with(beginning)).count()
    }

    /// Ends all connections; new ones are taken.
    pub(crate) fn hang_up(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for ScriptedNode {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        self.hang_up();
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

// === impl Shared ===

impl Shared {
    fn converse(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Ok(request) = read_request(&mut reader) {
            self.heard.lock().unwrap().push(request.join(" "));
            let words: Vec<&str> = request.iter().map(String::as_str).collect();
            let answered = match (self.script)(&words, &mut stream) {
                Ok(true) => Ok(()),
                Ok(false) => stream.write_all(self.manners(&words).as_bytes()),
                Err(error) => Err(error),
            };
            match answered {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return self.reset(&stream),
                Err(_) => {
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }

    /// Has the kernel reset the connection once nobody holds it any more.
    fn reset(&self, stream: &TcpStream) {
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        let peer = stream.peer_addr().ok();
        self.open.lock().unwrap().retain(|open| open.peer_addr().ok() != peer);
    }

    /// What a node answers that is well.
    fn manners(&self, request: &[&str]) -> String {
        match request {
            ["HELLO", ..] => format!("%2\r\n{}:7\r\n{}{}", bulk("id"), bulk("mode"), bulk("cluster")),
            ["CLUSTER", "INFO"] => bulk("cluster_state:ok\r\ncluster_current_epoch:1\r\n"),
            ["CLUSTER", "MYID"] => bulk(&self.id),
            ["CLUSTER", "SLOTS"] => slots(&[(0, 16_383, "", self.port, &self.id)]),
            ["INFO", ..] => bulk("redis_version:7.2.0\r\nrun_id:abc\r\n"),
            ["GET", ..] => bulk("value"),
            ["PTTL", ..] => ":-1\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        }
    }
}

/// A bulk string.
pub(crate) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// An answer to CLUSTER SLOTS: first and last slot, host, port and id of each owner.
pub(crate) fn slots(ranges: &[(u16, u16, &str, u16, &str)]) -> String {
    let range = |(first, last, host, port, id): &(u16, u16, &str, u16, &str)| {
        format!("*3\r\n:{first}\r\n:{last}\r\n*3\r\n{}:{port}\r\n{}", bulk(host), bulk(id))
    };
    format!("*{}\r\n{}", ranges.len(), ranges.iter().map(range).collect::<String>())
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let count = read_number(reader)?;
    let word = |_| {
        let mut bytes = vec![0; read_number(reader)? + 2];
        reader.read_exact(&mut bytes)?;
        bytes.truncate(bytes.len() - 2);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    (0..count).map(word).collect()
}

/// The number of a line `*3` or `$5`.
fn read_number(reader: &mut impl BufRead) -> io::Result<usize> {
    let mut line = String::new();
    reader.take(64).read_line(&mut line)?;
    let digits = line.get(1..).map(str::trim_end).and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
