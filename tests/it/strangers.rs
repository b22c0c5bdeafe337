//! Something answers at the upstream's address and is no Redis: the log and the client are told what, and
//! where to look.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A server that answers whatever it is told with the same bytes, and hangs up. Dropping it ends it.
struct Stranger {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

// === impl Stranger ===

impl Stranger {
    /// With `speaks_first` it does not wait to be told something.
    fn start(answer: &'static [u8], speaks_first: bool) -> Stranger {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::<AtomicBool>::default();
        let accepting = thread::spawn({
            let ended = ended.clone();
            move || {
                for mut stream in listener.incoming().map_while(Result::ok) {
                    if ended.load(Ordering::Acquire) {
                        return;
                    }
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                    let mut told = [0; 4096];
                    if !speaks_first && stream.read(&mut told).is_err() {
                        continue;
                    }
                    let _ = stream.write_all(answer);
                    let _ = stream.shutdown(Shutdown::Write);
                    // Its end is no reset.
                    while stream.read(&mut told).is_ok_and(|count| count > 0) {}
                }
            }
        });
        Stranger { address, ended, accepting: Some(accepting) }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

/// Who answers, and what is told of it.
const STRANGERS: [(&[u8], bool, &str); 5] = [
    (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        false,
        "it is an HTTP server and no Redis: look at the port in upstream, or at address_map",
    ),
    (b"SSH-2.0-OpenSSH_9.6\r\n", true, "it is an SSH server and no Redis: look at the port in upstream"),
    (
        b"\x15\x03\x01\x00\x02\x02\x46",
        false,
        "it is a port that wants TLS: TLS upstream is not supported yet: name a port without TLS in upstream",
    ),
    (b"220 mail ready\r\n", true, "it is no Redis, its answer begins with the byte 0x32: look at the port"),
    (
        b"",
        false,
        "closed by the node without an answer to HELLO; if it wants TLS: TLS upstream is not supported",
    ),
];

#[test]
fn what_is_no_redis_is_told_with_the_setting_to_look_at() {
    for (answer, speaks_first, text) in STRANGERS {
        let stranger = Stranger::start(answer, speaks_first);
        for scheme in ["redis", "redis-cluster"] {
            let daemon = Daemon::start(&["--upstream", &format!("{scheme}://{}", stranger.address)]);
            let mut client = daemon.client();
            eventually("the client is told", SOON, || {
                let told = client.command(&["GET", "key"]).unwrap();
                assert!(told.is_error(), "{answer:?} gave {told:?}");
                told.text().starts_with("CLUSTERDOWN nearside: ") && told.text().contains(text)
            });
            let message = if scheme == "redis" {
                "upstream connection failed; retrying"
            } else {
                "topology discovery failed"
            };
            daemon.assert_logged("WARN", message);
            let cause = daemon.logged_field(message, "cause");
            assert!(cause.contains(text), "{answer:?}: the log says {cause:?}");
        }
    }
}

#[test]
fn what_it_says_back_is_not_repeated() {
    let stranger = Stranger::start(b"HTTP/1.1 400 hunter2\r\n\r\nhunter2", false);
    let url = format!("redis://:hunter2@{}", stranger.address);
    let daemon = Daemon::start(&["--upstream", &url]);
    daemon.assert_logged("WARN", "upstream connection failed; retrying");
    let told = daemon.client().command(&["GET", "key"]).unwrap().text();
    assert!(told.contains("an HTTP server") && !told.contains("hunter2"), "{told}");
    let cause = daemon.logged_field("upstream connection failed; retrying", "cause");
    assert!(!cause.contains("hunter2"), "{cause}");
}

#[test]
fn a_url_that_asks_for_tls_says_what_to_write() {
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_nearside"))
        .args(["serve", "--upstream", "rediss://127.0.0.1:6379"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("TLS upstream is not supported yet: write redis, redis-cluster"), "{told}");
}
