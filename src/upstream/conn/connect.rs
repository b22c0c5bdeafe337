//! Connects to the address of a host that answers first (RFC 8305, "Happy Eyeballs").
//!
//! The addresses are tried in the order of the system's resolver, with IPv4 and IPv6 in turn. The next one
//! begins when the one before it has failed, or has not answered for a moment; attempts that have begun
//! continue. Each step, the look-up and each address, has the same deadline.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time;

use super::dns::DnsResolver;
use crate::upstream::truncate;

/// How long an address may be silent before the next one is tried as well: the delay that RFC 8305
/// recommends.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Connects to `address`, which is `host:port`. Each step may take as long as `timeout`.
///
/// # Errors The name was not found, or no address answered; the text has the error of each.
pub(in crate::upstream) async fn connect(
    address: &str,
    timeout: Duration,
    names: &DnsResolver,
) -> io::Result<TcpStream> {
    if let Ok(address) = address.parse() {
        return race(vec![address], timeout).await;
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("{address:?} is not host:port"));
    let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
    let port = port.parse().map_err(|_| invalid())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let step = format!("the name {host:?} was not looked up");
    let mut addresses = alternating(&in_time(names.look_up(host), timeout, &step).await?);
    for address in &mut addresses {
        address.set_port(port);
    }
    race(addresses, timeout).await
}

/// Has `step` end within `timeout`.
///
/// # Errors
/// Those of the step, or that it took too long, which `what` says.
pub(in crate::upstream) async fn in_time<T>(
    step: impl Future<Output = io::Result<T>>,
    timeout: Duration,
    what: &str,
) -> io::Result<T> {
    time::timeout(timeout, step).await.unwrap_or_else(|_| {
        let text = format!("{what} within {} ms, as upstream_connect_timeout says", timeout.as_millis());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// The first connection of those to `addresses`.
async fn race(addresses: Vec<SocketAddr>, timeout: Duration) -> io::Result<TcpStream> {
    let is_only = addresses.len() == 1;
    let mut rest = addresses.into_iter();
    let (mut attempts, mut causes) = (FuturesUnordered::new(), Vec::new());
    loop {
        let next = rest.next();
        if next.is_none() && attempts.is_empty() {
            let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(match causes.pop() {
                Some((_, cause)) if is_only => cause,
                None => none(),
                Some(last) => {
                    causes.push(last);
                    let said = |(address, cause): &(SocketAddr, io::Error)| format!("{address}: {cause}");
                    io::Error::other(truncate::joined(&causes.iter().map(said).collect::<Vec<_>>()))
                }
            });
        }
        let has_more = next.is_some() && rest.len() > 0;
        attempts.extend(next.map(|address| async move {
            let connecting = in_time(TcpStream::connect(address), timeout, "no connection");
            connecting.await.map_err(|cause| (address, cause))
        }));
        tokio::select! {
            biased;
            Some(ended) = attempts.next() => match ended {
                Ok(stream) => return Ok(stream),
                Err(cause) => causes.push(cause),
            },
            () = time::sleep(NEXT_AFTER), if has_more => {}
        }
    }
}

/// The addresses, each once, with one of each family in turn; the family of the first goes first.
fn alternating(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    let different = addresses.iter().filter(|address| seen.insert(**address)).copied();
    let first_is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = different.partition(|address| address.is_ipv4() == first_is_ipv4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let turns = std::iter::from_fn(|| {
        let turn: Vec<SocketAddr> = first.next().into_iter().chain(second.next()).collect();
        (!turn.is_empty()).then_some(turn)
    });
    turns.flatten().take(ADDRESSES_MAX).collect()
}

#[cfg(test)]
#[path = "../../../tests/support/silent.rs"]
mod silent;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::time::Instant;

    use super::silent::Silent;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn names(addresses: Vec<SocketAddr>) -> DnsResolver {
        DnsResolver::resolved_by(move |_| Ok(addresses.clone()))
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns_and_no_address_comes_twice() {
        let given =
            ["10.0.0.1:0", "10.0.0.2:0", "10.0.0.1:0", "10.0.0.3:0", "[::1]:0", "[::2]:0"].map(address);
        let tried = ["10.0.0.1:0", "[::1]:0", "10.0.0.2:0", "[::2]:0", "10.0.0.3:0"].map(address);
        assert_eq!(alternating(&given), tried);
        let six_first = ["[::1]:0", "[::2]:0", "10.0.0.1:0"].map(address);
        assert_eq!(alternating(&six_first), ["[::1]:0", "10.0.0.1:0", "[::2]:0"].map(address));
        let many: Vec<_> = (1..100).map(|number| address(&format!("10.0.0.{number}:0"))).collect();
        assert_eq!(alternating(&many)[..], many[..ADDRESSES_MAX]);
    }

    #[tokio::test]
    async fn an_address_that_is_silent_is_passed_by_while_it_is_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent: Vec<Silent> = ["127.0.0.2", "127.0.0.3"].map(Silent::at).into();
        // The port is that of the listener at its own address alone.
        let mut addresses: Vec<_> = silent.iter().map(Silent::address).collect();
        addresses.push(listener.local_addr().unwrap());
        let began = Instant::now();
        let stream = race(addresses, PATIENCE).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), port);
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        assert!(began.elapsed() >= 2 * NEXT_AFTER, "those before it had their chance");
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_passed_by_at_once_and_all_are_named_when_none_answers() {
        let refusing = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (first, second) = (refusing(), refusing());
        let error = race(vec![first, second], PATIENCE).await.unwrap_err().to_string();
        for address in [first, second] {
            assert!(error.contains(&format!("{address}: Connection refused")), "{error}");
        }
        let error = race(vec![first], PATIENCE).await.unwrap_err().to_string();
        assert!(error.starts_with("Connection refused"), "{error}");
    }

    #[tokio::test]
    async fn every_step_has_the_deadline() {
        let timeout = Duration::from_millis(100);
        let silent = Silent::at("127.0.0.4");
        let error = connect(&silent.address().to_string(), timeout, &names(Vec::new())).await.unwrap_err();
        assert_eq!(error.to_string(), "no connection within 100 ms, as upstream_connect_timeout says");
        let mute = DnsResolver::resolved_by(|_| {
            std::thread::sleep(Duration::from_secs(2));
            Ok(Vec::new())
        });
        let error = connect("redis:6379", timeout, &mute).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "the name \"redis\" was not looked up within 100 ms, as upstream_connect_timeout says"
        );
    }

    #[tokio::test]
    async fn names_are_looked_up_and_numbers_never_are() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let known = names(vec![address("127.0.0.1:0")]);
        connect(&format!("redis:{port}"), PATIENCE, &known).await.unwrap();
        let unasked = DnsResolver::resolved_by(|name| unreachable!("{name} is a number"));
        connect(&format!("127.0.0.1:{port}"), PATIENCE, &unasked).await.unwrap();
        // Nobody listens there, which is found out without asking for the name.
        assert!(connect(&format!("[::1]:{port}"), PATIENCE, &unasked).await.is_err());
        let error = connect(&format!("redis:{port}"), PATIENCE, &names(Vec::new())).await.unwrap_err();
        assert_eq!(error.to_string(), "the name has no address");
        for wrong in ["redis", "redis:x", "redis:70000"] {
            assert!(connect(wrong, PATIENCE, &unasked).await.is_err());
        }
    }
}
