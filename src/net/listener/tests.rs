//! Real sockets: what is refused, what is replaced, what is left behind, and how many get in.

use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::*;

const BACKLOG: u32 = 16;

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn address_of(listener: &Socket) -> SocketAddr {
    listener.local_addr().unwrap().as_socket().unwrap()
}

#[test]
fn all_workers_share_one_port() {
    let listeners = tcp::bind(anywhere(), 4, BACKLOG).unwrap();
    let ports: Vec<u16> = listeners.iter().map(|listener| address_of(listener).port()).collect();
    assert!(ports[0] != 0 && ports == [ports[0]; 4], "{ports:?}");

    let mut got = [false; 4];
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(TcpStream::connect(("127.0.0.1", ports[0])).unwrap());
        let taken =
            listeners.iter().position(|listener| listener.accept().is_ok()).expect("one of them has it");
        got[taken] = true;
    }
    assert_eq!(got, [true; 4], "the kernel spreads the clients");
}

#[test]
fn a_port_in_use_is_refused_even_if_its_owner_shares_it() {
    for (theirs, ours) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let first = tcp::bind(anywhere(), theirs, BACKLOG).unwrap();
        let address = address_of(&first[0]);
        let error = tcp::bind(address, ours, BACKLOG).expect_err("in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        drop(first);
        tcp::bind(address, ours, BACKLOG).expect("free again");
    }
}

#[test]
fn a_port_is_taken_again_at_once_after_clients_were_closed_by_us() {
    let listeners = tcp::bind(anywhere(), 1, BACKLOG).unwrap();
    let address = address_of(&listeners[0]);
    let client = TcpStream::connect(address).unwrap();
    // Closed on this side first, the connection stays in TIME_WAIT here.
    drop(listeners[0].accept().unwrap());
    drop((client, listeners));
    tcp::bind(address, 2, BACKLOG).unwrap();
}

#[test]
fn ipv6_alone_leaves_the_port_free_for_ipv4() {
    let six = tcp::bind("[::]:0".parse().unwrap(), 2, BACKLOG).unwrap();
    let port = address_of(&six[0]).port();
    tcp::bind(SocketAddr::from(([0, 0, 0, 0], port)), 2, BACKLOG).unwrap();
}

#[test]
fn a_unix_socket_has_its_permissions_and_goes_with_its_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("near.sock");
    let listener = unix::bind(&path, 0o660, BACKLOG).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    UnixStream::connect(&path).unwrap();
    drop(listener);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_path_left_by_a_dead_process_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("near.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(UnixStream::connect(&path).is_err() && path.exists());
    let _listener = unix::bind(&path, 0o600, BACKLOG).unwrap();
    UnixStream::connect(&path).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_path_in_use_by_a_live_process_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("near.sock");
    let first = unix::bind(&path, 0o600, 1).unwrap();
    // The second client fills the queue: the probe must not wait for room in it.
    let _queue = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
    let error = unix::bind(&path, 0o600, BACKLOG).expect_err("in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let message =
        format!("cannot listen on the Unix socket {}: another process listens there", path.display());
    assert_eq!(error.to_string(), message);
    drop(first);
    unix::bind(&path, 0o600, BACKLOG).expect("free again");
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "mine").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        let error = unix::bind(path, 0o600, BACKLOG).expect_err("a file");
        assert!(error.to_string().ends_with("there is a file that is not a socket"), "{error}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn paths_that_cannot_be_bound_are_errors() {
    let long = format!("/tmp/{}", "x".repeat(200));
    for path in ["/", "", "/nowhere/near.sock", &long] {
        let error = unix::bind(Path::new(path), 0o600, BACKLOG).expect_err(path);
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn a_path_that_became_another_s_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("near.sock");
    let ours = unix::bind(&path, 0o600, BACKLOG).unwrap();
    fs::remove_file(&path).unwrap();
    let _theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(ours);
    UnixStream::connect(&path).expect("the other one still listens");
}

#[test]
fn of_two_that_begin_at_once_one_gets_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("near.sock");
    let together = std::sync::Barrier::new(8);
    let bind = || {
        together.wait();
        unix::bind(&path, 0o600, BACKLOG)
    };
    let bound: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(bind)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect()
    });
    assert_eq!(bound.len(), 1);
    UnixStream::connect(&path).unwrap();
}

/// Runs the accept loop and, beside it on another thread, `client`; returns what was handed over at the end.
async fn accepted_during(
    (listener, path): (Socket, Option<unix::SocketPath>),
    admission: &ClientLimit,
    client: impl FnOnce() + Send + 'static,
) -> Vec<(ClientSocket, Permit)> {
    let drain = Drain::new();
    let clients = RefCell::new(Vec::new());
    let accepting = accept(listener, path, admission, &drain, |socket, permit| {
        clients.borrow_mut().push((socket, permit))
    });
    let client = async {
        tokio::task::spawn_blocking(client).await.unwrap();
        drain.begin();
    };
    let (accepted, ()) = tokio::join!(accepting, client);
    accepted.unwrap();
    clients.into_inner()
}

fn read_all(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_client_too_many_is_told_so_and_closed() {
    let admission = admitting(1);
    let listener = tcp::bind(anywhere(), 1, BACKLOG).unwrap().remove(0);
    let address = address_of(&listener);
    let clients = accepted_during((listener, None), &admission, move || {
        let _first = TcpStream::connect(address).unwrap();
        let second = TcpStream::connect(address).unwrap();
        assert_eq!(read_all(second), "-ERR max number of clients reached\r\n");
    });
    let mut clients = clients.await;
    assert_eq!((clients.len(), refused(&admission)), (1, 1));
    assert!(TcpStream::connect(address).is_err(), "the drain closed the listener");

    // The bound holds over all listeners, and a permit that comes back lets in the next.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("near.sock");
    let bind = || {
        let (path, listener) = unix::bind(&path, 0o600, BACKLOG).unwrap();
        (listener, Some(path))
    };
    let connect = |path: &Path| {
        let path = path.to_owned();
        move || {
            assert_eq!(read_all(UnixStream::connect(path).unwrap()), "-ERR max number of clients reached\r\n")
        }
    };
    assert!(accepted_during(bind(), &admission, connect(&path)).await.is_empty());
    clients.clear();
    let connecting = path.clone();
    let clients = accepted_during(bind(), &admission, move || {
        let _first = UnixStream::connect(&connecting).unwrap();
        assert_eq!(read_all(UnixStream::connect(&connecting).unwrap()).len(), TOO_MANY.len());
    });
    assert!(matches!(clients.await[..], [(ClientSocket { address: None, .. }, _)]));
    assert!(!path.exists(), "the drain removed the path");
}

#[tokio::test]
async fn a_client_s_socket_is_ready_for_use() {
    let admission = admitting(8);
    let listener = tcp::bind(anywhere(), 1, BACKLOG).unwrap().remove(0);
    let address = address_of(&listener);
    let (told, hears) = std::sync::mpsc::channel();
    let connect = move || {
        let client = TcpStream::connect(address).unwrap();
        told.send((client.local_addr().unwrap(), client)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut clients = accepted_during((listener, None), &admission, connect).await;
    let (ClientSocket { stream, address: from }, _permit) = clients.remove(0);
    let (address, _client) = hears.recv().unwrap();
    assert_eq!(from, Some(address));
    assert!(stream.tcp_nodelay().unwrap());
    assert!(stream.keepalive().unwrap());
    assert_eq!(stream.tcp_keepalive_time().unwrap(), Duration::from_secs(300));
    let error = (&mut &stream).read(&mut [0]).expect_err("nothing to read");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn who_had_connected_when_the_drain_began_is_let_in_and_nobody_else() {
    let admission = admitting(2);
    let drain = Drain::new();
    drain.begin();
    let listener = tcp::bind(anywhere(), 1, BACKLOG).unwrap().remove(0);
    let address = address_of(&listener);
    let _clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
    let mut let_in = Vec::new();
    accept(listener, None, &admission, &drain, |_, permit| let_in.push(permit)).await.unwrap();
    assert_eq!((let_in.len(), refused(&admission)), (2, 1));
    assert!(TcpStream::connect(address).is_err(), "the listener is closed");
}

#[test]
fn who_comes_from_elsewhere_needs_a_password_or_permission() {
    let listener = std::net::TcpListener::bind(anywhere()).unwrap();
    let own = listener.local_addr().unwrap();
    let cases = [
        ("127.0.0.1", true),
        ("127.9.9.9", true),
        ("[::1]", true),
        ("[::ffff:127.0.0.1]", true),
        ("10.0.0.1", false),
        ("192.168.0.1", false),
        ("[fe80::1]", false),
        ("[::ffff:10.0.0.1]", false),
    ];
    for (address, is_local) in cases {
        for allow_remote in [false, true] {
            let settings = Arc::new(Setting::of_size(1));
            let remote = Arc::new(Setting::new(i64::from(allow_remote)));
            let admission = ClientLimit::new(settings, remote, Arc::default(), Arc::default());
            let mut client = TcpStream::connect(own).unwrap();
            // What it sends before it reads must not cost it the reason.
            client.write_all(b"PING\r\n").unwrap();
            let (stream, _) = listener.accept().unwrap();
            let socket = ClientSocket {
                stream: stream.into(),
                address: Some(format!("{address}:1").parse().unwrap()),
            };
            let admitted = admission.admit_to(&socket);
            assert_eq!(admitted.is_ok(), is_local || allow_remote, "{address}, {allow_remote}");
            let Err(refusal) = admitted else { continue };
            assert_eq!((refusal, refused(&admission)), (Rejection::Remote, 1));
            socket.refuse(refusal);
            let mut said = String::new();
            client.read_to_string(&mut said).unwrap();
            assert!(said.starts_with("-DENIED nearside is running in protected mode"), "{said}");
            assert!(said.contains("--allow-remote") && said.ends_with(".\r\n"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_listener_that_fails_is_tried_again_until_the_drain() {
    let listener = tcp::bind(anywhere(), 1, BACKLOG).unwrap().remove(0);
    // Every accept on a socket that was shut down is an error.
    listener.shutdown(std::net::Shutdown::Both).unwrap();
    let waits = || std::thread::sleep(3 * RETRY_MIN);
    assert!(accepted_during((listener, None), &admitting(1), waits).await.is_empty());
}

/// Lets in so many.
fn admitting(max_clients: usize) -> ClientLimit {
    ClientLimit::new(
        Arc::new(Setting::of_size(max_clients)),
        Arc::new(Setting::new(0)),
        Arc::default(),
        Arc::default(),
    )
}

fn refused(admission: &ClientLimit) -> u64 {
    admission.stats.connections_refused.get()
}

#[test]
fn a_client_for_whom_there_is_no_memory_is_told_so() {
    let ceiling = Arc::new(MemoryCeiling::new(Some(16 * 10 * CLIENT_BYTES)));
    let admission = ClientLimit::new(
        Arc::new(Setting::of_size(1_000)),
        Arc::new(Setting::new(0)),
        ceiling.clone(),
        Arc::default(),
    );
    let permits: Vec<Permit> = std::iter::from_fn(|| admission.admit().ok()).take(1_000).collect();
    assert_eq!(permits.len(), 15 * 10, "fifteen of sixteen parts");
    assert_eq!(admission.admit().unwrap_err(), Rejection::NoMemory);
    assert_eq!((refused(&admission), ceiling.counts.clients_refused.load(Ordering::Relaxed)), (2, 2));
    drop(permits);
    assert!(admission.admit().is_ok());
}
