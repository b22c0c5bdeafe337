//! The nearsides behind this one, if any: a circle of them would pass a command round for ever.
//!
//! Each process has a random name. A nearside that greets another one gets this name and the names of the
//! nearsides behind it (the field `nearside` of HELLO), and refuses a connection that leads back to itself.
//! Each heartbeat asks again: nearsides of a circle that start at the same instant know no names behind each
//! other yet.

use parking_lot::Mutex;

use crate::protocol::resp::cursor;

/// Nearsides in a chain at most.
const LENGTH_MAX: usize = 8;

/// Digits of a name.
const NAME_DIGITS: usize = 32;

/// What answered a greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum PeerKind {
    /// A server, or what is taken for one.
    Server,
    /// Another nearside.
    Nearside,
}

/// This process and the nearsides behind it.
#[derive(Debug)]
pub struct ProxyChain {
    own: String,
    behind: Mutex<Vec<String>>,
}

// === impl ProxyChain ===

impl Default for ProxyChain {
    fn default() -> ProxyChain {
        let own = (0..NAME_DIGITS).map(|_| fastrand::digit(16)).collect();
        ProxyChain { own, behind: Mutex::default() }
    }
}

impl ProxyChain {
    /// The field of HELLO, for a client of this name.
    pub const FIELD: &str = "nearside";

    /// The names, with spaces between them. The name of this process is the first.
    pub fn names(&self) -> String {
        let behind = self.behind.lock();
        std::iter::once(&self.own).chain(behind.iter()).cloned().collect::<Vec<_>>().join(" ")
    }

    /// Notes the nearsides that `hello`, the reply to a greeting, names.
    ///
    /// # Errors The chain leads back to this process, or is too long; the text says which.
    pub(in crate::upstream) fn meet(&self, hello: &[u8]) -> Result<PeerKind, String> {
        let said =
            cursor::field(hello, ProxyChain::FIELD.as_bytes()).and_then(cursor::text).unwrap_or_default();
        let names: Vec<String> = said
            .split(|byte| *byte == b' ')
            .filter(|name| name.len() == NAME_DIGITS)
            .take(LENGTH_MAX)
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        if names.first() == Some(&self.own) {
            return Err("it is this nearside itself: the upstream, or a node that it names, is at an address \
                        that listen or unix has; let nearside listen elsewhere, or correct upstream or address_map"
                .to_owned());
        }
        if names.contains(&self.own) {
            return Err(
                "it is a nearside whose upstream leads back to this one: correct the upstream of either"
                    .to_owned(),
            );
        }
        if names.len() == LENGTH_MAX {
            return Err(format!("more than {LENGTH_MAX} nearsides stand one behind the other"));
        }
        let met = if names.is_empty() { PeerKind::Server } else { PeerKind::Nearside };
        *self.behind.lock() = names;
        Ok(met)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(chain: &ProxyChain) -> Vec<u8> {
        let names = chain.names();
        format!("%2\r\n$2\r\nid\r\n:7\r\n$8\r\nnearside\r\n${}\r\n{names}\r\n", names.len()).into()
    }

    #[test]
    fn a_circle_is_noticed_and_a_row_is_none() {
        let [one, two, three] = [(); 3].map(|()| ProxyChain::default());
        assert_eq!(three.meet(b"%1\r\n$2\r\nid\r\n:7\r\n"), Ok(PeerKind::Server));
        assert_eq!(two.meet(&hello(&three)), Ok(PeerKind::Nearside));
        assert_eq!(one.meet(&hello(&two)), Ok(PeerKind::Nearside));
        assert_eq!(one.names(), [&*one.own, &two.own, &three.own].join(" "));
        assert!(one.meet(&hello(&one)).unwrap_err().starts_with("it is this nearside itself"));
        for from in [&two, &three] {
            assert!(from.meet(&hello(&one)).unwrap_err().contains("leads back to this one"));
        }
        // A nearside with another server behind it leads back no more.
        assert_eq!(one.meet(b"%1\r\n$2\r\nid\r\n:7\r\n"), Ok(PeerKind::Server));
        assert_eq!(three.meet(&hello(&one)), Ok(PeerKind::Nearside));
    }

    #[test]
    fn those_of_a_circle_that_greet_each_other_at_once_hear_of_it_when_they_ask_again() {
        for length in 2..LENGTH_MAX {
            let circle: Vec<ProxyChain> = (0..length).map(|_| ProxyChain::default()).collect();
            let next = |at: usize| &circle[(at + 1) % length];
            // All greet before anybody has met anybody.
            let hellos: Vec<_> = (0..length).map(|at| hello(next(at))).collect();
            for (at, hello) in hellos.iter().enumerate() {
                assert_eq!(circle[at].meet(hello), Ok(PeerKind::Nearside));
            }
            // With each heartbeat each hears of one more, or of several.
            let hears = |at: usize| circle[at].meet(&hello(next(at))).is_err();
            let beats = (1..=length).find(|_| (0..length).filter(|at| hears(*at)).count() > 0);
            assert!(beats.is_some(), "{length}");
        }
    }

    #[test]
    fn a_row_has_an_end() {
        let mut last = ProxyChain::default();
        for _ in 1..LENGTH_MAX {
            let next = ProxyChain::default();
            assert_eq!(next.meet(&hello(&last)), Ok(PeerKind::Nearside));
            last = next;
        }
        assert!(ProxyChain::default().meet(&hello(&last)).unwrap_err().starts_with("more than 8"));
        let odd = "x ".repeat(1_000_000);
        let odd = format!("%1\r\n$8\r\nnearside\r\n${}\r\n{odd}\r\n", odd.len());
        assert_eq!(ProxyChain::default().meet(odd.as_bytes()), Ok(PeerKind::Server));
    }
}
