//! Looks host names up: on a limited number of threads, and once for all connections that wait for one name.
//!
//! The resolver of the system blocks its thread until the name servers have answered or it has given up,
//! which takes many seconds and cannot be cancelled. So it has threads of its own. A waiting task keeps its
//! own deadline; a thread for which no task waits any more still counts until the resolver returns.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Threads that look names up at the same time. When all of them wait for silent name servers, further names
/// wait.
const LOOKUPS_MAX: usize = 8;

/// Asks the resolver of the system for the host with this name; the port of each address is 0.
type Resolve = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Addresses in the order in which they are to be tried, or why there are none.
type Addresses = Result<Arc<[SocketAddr]>, String>;

/// The names that are looked up at the moment.
#[derive(Clone)]
pub struct DnsResolver(Arc<LookupShare>);

struct LookupShare {
    resolve: Box<Resolve>,
    asked: Mutex<LookupRequest>,
}

#[derive(Default)]
struct LookupRequest {
    /// The tasks that wait, by name.
    waiters: HashMap<String, watch::Sender<Option<Addresses>>>,
    /// The names of these that no thread has taken on yet.
    queue: VecDeque<String>,
    /// Threads that run.
    threads: usize,
}

// === impl DnsResolver ===

impl DnsResolver {
    /// Names that `resolve` looks up; it may block.
    pub(in crate::upstream) fn resolved_by(
        resolve: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> DnsResolver {
        DnsResolver(Arc::new(LookupShare { resolve: Box::new(resolve), asked: Mutex::default() }))
    }

    /// How many threads look a name up at the moment.
    pub fn lookups(&self) -> usize {
        self.0.asked.lock().threads
    }

    /// The addresses of the host called `name`, with port 0. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// There is no such host, or no name server can be asked.
    pub(in crate::upstream) async fn look_up(&self, name: &str) -> io::Result<Arc<[SocketAddr]>> {
        let mut answer = self.ask(name);
        let answer = answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        let answer = answer.unwrap_or_else(|| Err("nobody looks it up any more".to_owned()));
        answer.map_err(|cause| io::Error::other(format!("the name {name:?} was not found: {cause}")))
    }

    fn ask(&self, name: &str) -> watch::Receiver<Option<Addresses>> {
        let mut asked = self.0.asked.lock();
        if let Some(waiters) = asked.waiters.get(name) {
            return waiters.subscribe();
        }
        asked.forget_abandoned();
        let (sender, answer) = watch::channel(None);
        asked.waiters.insert(name.to_owned(), sender);
        asked.queue.push_back(name.to_owned());
        if asked.threads < LOOKUPS_MAX {
            let shared = Arc::clone(&self.0);
            match thread::Builder::new().name("dns".to_owned()).spawn(move || shared.work()) {
                Ok(_) => asked.threads += 1,
                Err(_) if asked.threads > 0 => {}
                Err(error) => {
                    asked.queue.pop_back();
                    asked.resolve(name, Err(format!("no thread for it: {error}")));
                }
            }
        }
        answer
    }
}

impl Default for DnsResolver {
    /// Names that the system looks up.
    fn default() -> DnsResolver {
        DnsResolver::resolved_by(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsResolver(lookups: {})", self.lookups())
    }
}

// === impl LookupShare ===

impl LookupShare {
    /// Looks up one name after the other, until none is left.
    fn work(&self) {
        loop {
            let mut asked = self.asked.lock();
            asked.forget_abandoned();
            let Some(name) = asked.queue.pop_front() else {
                asked.threads -= 1;
                return;
            };
            drop(asked);
            let found = (self.resolve)(&name);
            let answer = found.map(|addresses| addresses.into()).map_err(|error| error.to_string());
            self.asked.lock().resolve(&name, answer);
        }
    }
}

// === impl LookupRequest ===

impl LookupRequest {
    fn resolve(&mut self, name: &str, answer: Addresses) {
        if let Some(waiters) = self.waiters.remove(name) {
            waiters.send_replace(Some(answer));
        }
    }

    /// Removes the names for which no task waits any more. So there are never more names than connection
    /// attempts.
    fn forget_abandoned(&mut self) {
        let waiters = &mut self.waiters;
        self.queue.retain(|name| {
            let is_wanted = waiters.get(name).is_some_and(|waiters| waiters.receiver_count() > 0);
            if !is_wanted {
                waiters.remove(name);
            }
            is_wanted
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Names whose look-ups end when, and as, the sender says; the receiver tells which have begun.
    fn held() -> (DnsResolver, mpsc::Sender<io::Result<Vec<SocketAddr>>>, mpsc::Receiver<String>) {
        let (answer, answers) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let answers = Mutex::new(answers);
        let names = DnsResolver::resolved_by(move |name| {
            begin.send(name.to_owned()).unwrap();
            answers.lock().recv().unwrap()
        });
        (names, answer, begun)
    }

    fn address() -> SocketAddr {
        "10.0.0.1:0".parse().unwrap()
    }

    /// What a thread that is not held would have said long ago.
    fn next(begun: &mpsc::Receiver<String>) -> String {
        begun.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    #[tokio::test]
    async fn one_lookup_serves_all_that_wait_for_the_name() {
        let (names, answer, begun) = held();
        let waiting: Vec<_> = (0..100).map(|_| names.ask("a")).collect();
        assert_eq!(next(&begun), "a");
        assert_eq!(names.lookups(), 1);
        answer.send(Ok(vec![address()])).unwrap();
        for mut waiting in waiting {
            let answer = waiting.wait_for(Option::is_some).await.unwrap().clone();
            assert_eq!(&answer.unwrap().unwrap()[..], [address()]);
        }
        assert!(begun.try_recv().is_err(), "it was looked up once");
        answer.send(Ok(vec![address()])).unwrap();
        assert_eq!(&names.look_up("a").await.unwrap()[..], [address()]);
        assert_eq!(next(&begun), "a", "and once more for whoever comes later");
    }

    #[tokio::test]
    async fn only_so_many_names_are_looked_up_at_a_time_and_none_that_nobody_waits_for() {
        let (names, answer, begun) = held();
        let mut waiting: Vec<_> =
            (0..2 * LOOKUPS_MAX).map(|number| names.ask(&format!("host{number}"))).collect();
        for _ in 0..LOOKUPS_MAX {
            next(&begun);
        }
        assert_eq!(names.lookups(), LOOKUPS_MAX);
        assert!(begun.recv_timeout(Duration::from_millis(50)).is_err(), "all threads are held");
        // All who waited give up, but for the last. The threads are still held, and still count.
        let mut last = waiting.pop().unwrap();
        drop(waiting);
        assert_eq!(names.lookups(), LOOKUPS_MAX);
        // One is let go: of the names in the queue, it takes on the only one that is waited for.
        answer.send(Err(io::Error::other("silent"))).unwrap();
        assert_eq!(next(&begun), "host15");
        for _ in 0..LOOKUPS_MAX {
            answer.send(Err(io::Error::other("silent"))).unwrap();
        }
        let said = last.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(said.unwrap_err(), "silent");
        assert!(begun.recv_timeout(Duration::from_millis(50)).is_err(), "nobody waits for the others");
    }

    #[tokio::test]
    async fn a_name_that_is_not_found_is_named() {
        let names = DnsResolver::resolved_by(|_| Err(io::Error::other("no such host")));
        let error = names.look_up("redis").await.unwrap_err().to_string();
        assert_eq!(error, "the name \"redis\" was not found: no such host");
    }
}
