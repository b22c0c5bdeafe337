//! A way to the server on which requests and replies wait until the worker sleeps, as replies nearly always
//! do when a network lies between. Otherwise, in how many pieces both are found would depend on what else the
//! machine does, and so would the instructions that this takes.

use std::fs;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// What the main thread is doing in the kernel: the number of the system call and its arguments.
const SYSTEM_CALL: &str = "/proc/self/syscall";

/// `epoll_wait` and `epoll_pwait`, in which the event loop of the main thread sleeps.
const SLEEPS: &[&str] = if cfg!(target_arch = "x86_64") { &["232", "281"] } else { &["22"] };

/// Which of their arguments is the timeout. With 0 the loop only looks.
const TIMEOUT: usize = 3;

/// How often it is looked whether it does, and how often at most: it may have timers to see to.
const LOOK_INTERVAL: Duration = Duration::from_micros(50);
const LOOKS_MAX: usize = 2_000;

/// Opens a way to the server at `server`, on threads of its own; the path where it begins.
pub(crate) fn open(server: &Path) -> PathBuf {
    let path = server.with_extension("relay");
    let (listener, server) = (UnixListener::bind(&path).unwrap(), server.to_owned());
    thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), UnixStream::connect(&server).unwrap());
            let (from_near, from_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || carry(from_near, far));
            thread::spawn(move || carry(from_far, near));
        }
    });
    path
}

fn carry(mut from: UnixStream, mut to: UnixStream) {
    let mut bytes = vec![0; 1 << 16];
    // Only when the worker sleeps is all there that it was about to write.
    while SockRef::from(&from).peek(&mut [MaybeUninit::uninit()]).is_ok() {
        wait_until_the_worker_sleeps();
        let Ok(count @ 1..) = from.read(&mut bytes) else { break };
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // The other side has closed already, if this fails.
    let _ = to.shutdown(Shutdown::Both);
}

fn wait_until_the_worker_sleeps() {
    for _ in 0..LOOKS_MAX {
        let call = fs::read_to_string(SYSTEM_CALL).unwrap();
        let mut fields = call.split(' ');
        let sleeps = fields.next().is_some_and(|number| SLEEPS.contains(&number));
        if sleeps && fields.nth(TIMEOUT).is_some_and(|timeout| timeout != "0x0") {
            return;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}
