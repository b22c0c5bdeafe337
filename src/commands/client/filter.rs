//! The filters of CLIENT LIST and CLIENT KILL, of Redis and of newer servers. A client must pass all of them.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::clients::{Client, ClientFlag};
use crate::clock::Nanos;
use crate::protocol::resp::encode;
use crate::protocol::resp::parse_integer;
use crate::protocol::resp::reply::printed;
use crate::protocol::resp::request::Request;

/// The command that has a filter; some errors differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FilterUser {
    List,
    Kill,
}

/// The rules that a client must pass.
#[derive(Debug)]
pub(super) struct Filter {
    rules: Vec<FilterRule>,
    skip_me: bool,
}

#[derive(Debug)]
struct FilterRule {
    negated: bool,
    test: Test,
}

#[derive(Debug)]
enum Test {
    /// In their order: each client is looked for in them, and there may be many of both.
    Ids(Vec<u64>),
    Kind(ClientKind),
    Address(Vec<u8>),
    LocalAddress(Vec<u8>),
    /// The address without its port.
    Ip(Vec<u8>),
    User,
    Name(Vec<u8>),
    Library(Vec<u8>),
    LibraryVersion(Vec<u8>),
    /// Letters of CLIENT LIST; the client has all of them.
    Flags(Vec<u8>),
    /// Database 0, which all clients are in.
    Database,
    /// Connected for this many seconds.
    Age(u64),
    /// Silent for this many seconds.
    Idle(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientKind {
    Normal,
    PubSub,
    /// Replicas and primaries; the daemon has none.
    Replication,
}

/// The letters that CLIENT LIST of any server may show.
const LETTERS: &[u8] = b"AbBcdeEiMNOPrRStTuUx";

// === impl Filter ===

impl Filter {
    /// Reads what follows `CLIENT LIST` or `CLIENT KILL`; the error reply when it is none.
    pub(super) fn read(request: &Request<'_>, asker: FilterUser) -> Result<Filter, Bytes> {
        let mut filter = Filter { rules: Vec::new(), skip_me: asker == FilterUser::Kill };
        let mut at = 2;
        while at < request.len() {
            let option = request.arg(at).to_ascii_lowercase();
            if at + 1 == request.len() {
                return Err(error("syntax error"));
            }
            let value = request.arg(at + 1);
            at += 2;
            if option == b"skipme" {
                filter.skip_me = yes_or_no(value)?;
                continue;
            }
            let (negated, name) = match option.strip_prefix(b"not-") {
                Some(name) => (true, name),
                None => (false, &option[..]),
            };
            let test = if name == b"id" {
                Test::Ids(ids(request, &mut at, asker)?)
            } else {
                test(name, value, negated)?
            };
            filter.rules.push(FilterRule { negated, test });
        }
        Ok(filter)
    }

    /// Whether `client` is one that the client `me` means.
    pub(super) fn matches(&self, client: &Client, me: u64, now: Nanos) -> bool {
        let skipped = self.skip_me && client.id == me;
        !skipped && self.rules.iter().all(|rule| rule.test.holds(client, now) != rule.negated)
    }
}

/// The ids that begin right before `at`, up to the first argument that is no number.
fn ids(request: &Request<'_>, at: &mut usize, asker: FilterUser) -> Result<Vec<u64>, Bytes> {
    let invalid = || match asker {
        FilterUser::List => error("Invalid client ID"),
        FilterUser::Kill => error("client-id should be greater than 0"),
    };
    let id = |argument| parse_integer(argument).ok_or_else(invalid);
    let mut ids = vec![id(request.arg(*at - 1))?];
    while *at < request.len() && !is_option(request.arg(*at)) {
        ids.push(id(request.arg(*at))?);
        *at += 1;
    }
    if asker == FilterUser::Kill && ids.iter().any(|id| *id <= 0) {
        return Err(invalid());
    }
    let mut ids: Vec<u64> = ids.into_iter().filter_map(|id| u64::try_from(id).ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn is_option(argument: &[u8]) -> bool {
    let lower = argument.to_ascii_lowercase();
    let name = lower.strip_prefix(b"not-").unwrap_or(&lower);
    let names = [
        "id", "type", "addr", "laddr", "ip", "user", "name", "lib-name", "lib-ver", "flags", "db", "maxage",
        "idle", "skipme",
    ];
    names.iter().any(|known| known.as_bytes() == name)
}

fn test(name: &[u8], value: &[u8], negated: bool) -> Result<Test, Bytes> {
    Ok(match name {
        b"type" => Test::Kind(kind(value)?),
        b"addr" => Test::Address(value.to_vec()),
        b"laddr" => Test::LocalAddress(value.to_vec()),
        b"ip" => Test::Ip(value.to_vec()),
        b"user" if value == b"default" => Test::User,
        b"user" => return Err(encode::error_reply([b"ERR No such user '", printed(value), b"'"].concat())),
        b"name" => Test::Name(value.to_vec()),
        b"lib-name" => Test::Library(value.to_vec()),
        b"lib-ver" => Test::LibraryVersion(value.to_vec()),
        b"flags" => Test::Flags(flags(value)?),
        b"db" => database(value)?,
        b"maxage" if !negated => Test::Age(seconds(value, "maxage")?),
        b"idle" if !negated => Test::Idle(seconds(value, "idle")?),
        _ => return Err(error("syntax error")),
    })
}

fn kind(value: &[u8]) -> Result<ClientKind, Bytes> {
    match &value.to_ascii_lowercase()[..] {
        b"normal" => Ok(ClientKind::Normal),
        b"pubsub" => Ok(ClientKind::PubSub),
        b"master" | b"primary" | b"replica" | b"slave" => Ok(ClientKind::Replication),
        _ => Err(encode::error_reply([b"ERR Unknown client type '", printed(value), b"'"].concat())),
    }
}

fn flags(value: &[u8]) -> Result<Vec<u8>, Bytes> {
    if value.iter().all(|letter| LETTERS.contains(letter)) {
        return Ok(value.to_vec());
    }
    Err(encode::error_reply([b"ERR Unknown flags found in the provided filter: ", value].concat()))
}

fn database(value: &[u8]) -> Result<Test, Bytes> {
    match parse_integer(value) {
        Some(0) => Ok(Test::Database),
        Some(_) => Err(error("DB number should be between 0 and 0")),
        None => Err(error("DB is not an integer or out of range")),
    }
}

fn seconds(value: &[u8], name: &str) -> Result<u64, Bytes> {
    let Some(number) = parse_integer(value) else {
        return Err(error(&format!("{name} is not an integer or out of range")));
    };
    u64::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| error(&format!("{name} should be greater than 0")))
}

fn yes_or_no(value: &[u8]) -> Result<bool, Bytes> {
    match () {
        () if value.eq_ignore_ascii_case(b"yes") => Ok(true),
        () if value.eq_ignore_ascii_case(b"no") => Ok(false),
        () => Err(error("syntax error")),
    }
}

fn error(text: &str) -> Bytes {
    encode::error_reply(format!("ERR {text}"))
}

// === impl Test ===

impl Test {
    fn holds(&self, client: &Client, now: Nanos) -> bool {
        let seconds = |since: Nanos| now.saturating_sub(since) / 1_000_000_000;
        match self {
            Test::Ids(ids) => ids.binary_search(&client.id).is_ok(),
            Test::Kind(kind) => *kind == ClientKind::of(client),
            Test::Address(address) => client.endpoints.address.as_bytes() == address,
            Test::LocalAddress(address) => client.endpoints.local_address.as_bytes() == address,
            Test::Ip(ip) => ip_of(&client.endpoints.address).as_bytes() == ip,
            Test::User | Test::Database => true,
            Test::Name(name) => client.names().client == *name,
            Test::Library(name) => client.names().library == *name,
            Test::LibraryVersion(version) => client.names().library_version == *version,
            Test::Flags(letters) => {
                let present = client.letters();
                letters.iter().all(|letter| present.as_bytes().contains(letter))
            }
            Test::Age(least) => seconds(client.connected_at) >= *least,
            Test::Idle(least) => seconds(client.last_request().1) >= *least,
        }
    }
}

// === impl Kind ===

impl ClientKind {
    fn of(client: &Client) -> ClientKind {
        let subscriptions = [&client.channels, &client.patterns, &client.shard_channels];
        let subscribed = subscriptions.iter().any(|count| count.load(Relaxed) > 0);
        if subscribed || client.has(ClientFlag::PubSub) { ClientKind::PubSub } else { ClientKind::Normal }
    }
}

/// The host of `address`, an IPv6 address without its brackets.
fn ip_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
