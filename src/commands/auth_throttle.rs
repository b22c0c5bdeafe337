//! Limits attempts to log in: after wrong passwords, the clients of one address take turns.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clients::Endpoints;
use crate::clock::{self, LogThrottle, Nanos};

/// From one turn of an address to the next.
const INTERVAL: Nanos = 125_000_000;

/// Passwords that may be wrong before a client waits for a turn.
const BURST: Nanos = 4;

/// A connection on which none was wrong yet waits no longer than this: a client with the right
/// password comes in, however many guess beside it.
const FIRST_WAIT_MAX: Nanos = 2_000_000_000;

/// No connection waits longer.
const WAIT_MAX: Nanos = 10_000_000_000;

/// Addresses that are distinguished; all others take turns together.
const ORIGINS_MAX: usize = 4096;

/// The turns of all addresses.
#[derive(Debug, Default)]
pub(super) struct AuthThrottle(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    /// When the next turn is, where that is still to come.
    next_at: HashMap<Origin, Nanos>,
    /// Wrong passwords, for the log.
    wrong: LogThrottle,
}

/// The clients that take turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4([u8; 4]),
    /// The network of an IPv6 address: a machine has many addresses.
    V6([u8; 8]),
    Unix,
    Others,
}

// === impl AuthThrottle ===

impl AuthThrottle {
    /// Takes the next turn of the client at `endpoints`; returns how long to wait for it. `was_wrong` says
    /// whether a password was wrong on this connection already.
    pub(super) fn delay(&self, endpoints: &Endpoints, was_wrong: bool, now: Nanos) -> Option<Duration> {
        let mut turns = self.0.lock();
        let origin = turns.origin(endpoints, now);
        let next_at = turns.next_at.entry(origin).or_default();
        let at = (*next_at).max(now);
        *next_at = (at + INTERVAL).min(now + WAIT_MAX);
        let wait = (at - now).saturating_sub(BURST * INTERVAL).min(if was_wrong {
            WAIT_MAX
        } else {
            FIRST_WAIT_MAX
        });
        (wait > 0).then(|| Duration::from_nanos(wait))
    }

    /// The password was right: it took no turn from the others.
    pub(super) fn note_right(&self, endpoints: &Endpoints) {
        let mut turns = self.0.lock();
        let origin = turns.origin(endpoints, clock::now());
        if let Some(next_at) = turns.next_at.get_mut(&origin) {
            *next_at = next_at.saturating_sub(INTERVAL);
        }
    }

    /// The password was wrong.
    pub(super) fn note_wrong(&self, endpoints: &Endpoints, now: Nanos) {
        let due = self.0.lock().wrong.note(now);
        if let Some(count) = due {
            tracing::warn!(count, last = endpoints.address, "clients gave a wrong password");
        }
    }
}

// === impl Turns ===

impl Turns {
    fn origin(&mut self, endpoints: &Endpoints, now: Nanos) -> Origin {
        let origin = Origin::of(endpoints);
        if self.next_at.len() >= ORIGINS_MAX && !self.next_at.contains_key(&origin) {
            self.next_at.retain(|_, next_at| *next_at > now);
            if self.next_at.len() >= ORIGINS_MAX {
                return Origin::Others;
            }
        }
        origin
    }
}

// === impl Origin ===

impl Origin {
    fn of(endpoints: &Endpoints) -> Origin {
        if endpoints.unix.is_some() {
            return Origin::Unix;
        }
        match endpoints.address.parse().map(|address: SocketAddr| address.ip().to_canonical()) {
            // A process of this machine has them all.
            Ok(IpAddr::V4(address)) if address.is_loopback() => Origin::V4(Ipv4Addr::LOCALHOST.octets()),
            Ok(IpAddr::V4(address)) => Origin::V4(address.octets()),
            Ok(IpAddr::V6(address)) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Origin::V6([a, b, c, d, e, f, g, h])
            }
            Err(_) => Origin::Others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Endpoints {
        Endpoints { address: address.to_owned(), ..Endpoints::default() }
    }

    #[test]
    fn wrong_passwords_of_an_address_take_turns_and_those_of_others_do_not() {
        let throttle = AuthThrottle::default();
        let (guesser, other) = (at("10.0.0.1:1"), at("10.0.0.2:1"));
        let waits: Vec<_> = (0..200).map(|_| throttle.delay(&guesser, true, 0)).collect();
        assert_eq!(waits.iter().filter(|wait| wait.is_none()).count() as u64, BURST + 1);
        assert!(waits.is_sorted());
        assert!(waits[199] <= Some(Duration::from_nanos(WAIT_MAX)));
        // Another port is the same address.
        assert!(throttle.delay(&at("10.0.0.1:2"), true, 0).is_some());
        assert_eq!(throttle.delay(&other, true, 0), None);
        assert_eq!(throttle.delay(&at("[2001:db8::1]:1"), false, 0), None);
        // A client that was never wrong waits a little, and no client waits for those that left long ago.
        assert_eq!(throttle.delay(&at("10.0.0.1:3"), false, 0), Some(Duration::from_nanos(FIRST_WAIT_MAX)));
        assert_eq!(throttle.delay(&guesser, true, 2 * WAIT_MAX), None);
    }

    #[test]
    fn right_passwords_cost_no_turn() {
        let throttle = AuthThrottle::default();
        let pool = at("127.0.0.1:1");
        for _ in 0..1000 {
            assert_eq!(throttle.delay(&pool, false, 0), None);
            throttle.note_right(&pool);
        }
    }

    #[test]
    fn only_so_many_addresses_are_told_apart() {
        let throttle = AuthThrottle::default();
        for number in 0..2 * ORIGINS_MAX as u32 {
            let address = std::net::Ipv4Addr::from(number);
            throttle.delay(&at(&format!("{address}:1")), true, 0);
            assert!(throttle.0.lock().next_at.len() <= ORIGINS_MAX + 1);
        }
        // When their turns are over they are forgotten.
        throttle.delay(&at("255.0.0.1:1"), true, WAIT_MAX);
        assert!(throttle.0.lock().next_at.len() <= 2);
    }
}
