//! The names in a request, on its way out: each gets the prefix of the client's database.
//!
//! Where keys stand is in the command table. Patterns and channels stand where the class of the command says.
//! A request whose names cannot be found is refused, so that no request leaves its namespace.

use std::cell::OnceCell;

use bytes::Bytes;
use smallvec::SmallVec;

use super::channels::NotificationName;
use super::rewriter::Rewriter;
use super::scope::{DATABASES, Scope};
use crate::protocol::command::{
    self, Class, Database, Flags, Keys, Keyspace, Local, RequiredState, Spec, SubscriptionQuery,
};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};

/// What becomes of a request of a client in a namespace.
#[derive(Debug)]
pub enum Outward {
    /// It has no names.
    Same,
    /// The rewriter has it with the names that the servers have.
    Rewritten,
    /// The rewriter has what does the same in the namespace; this is the row of that command.
    As(&'static Spec),
    /// No server is asked: the reply.
    Answered(Bytes),
    /// The error for what is not available in a namespace.
    Refused(Bytes),
}

/// The error for a key that is to go to another database of a cluster.
const APART: &str = "ERR nearside: MOVE and COPY do not reach another database of a cluster, where each is a namespace of its own";

// === impl Scope ===

impl Scope {
    /// A read that L1 may answer, with the prefix in front of its key. If a copy of it is needed, it is made
    /// once, in `copy`.
    pub fn outward_read<'a>(
        &self,
        spec: &'static Spec,
        request: &Request<'a>,
        rewriter: &'a mut Rewriter,
        copy: &'a OnceCell<OwnedRequest>,
    ) -> Request<'a> {
        // The server says what it thinks of a read without a key.
        let Some(at) = spec.keys.only(request) else { return *request };
        rewriter.prefix(request, std::iter::once((at, &self.prefix()[..])));
        rewriter.request(copy)
    }

    /// As [`Scope::outward`], for a command of a module with its keys at `keys`.
    pub fn outward_learned(
        &self,
        name: &str,
        keys: Keys,
        request: &Request<'_>,
        rewriter: &mut Rewriter,
    ) -> Outward {
        match keys {
            Keys::Movable => Outward::Refused(unknown_places(name)),
            keys => self.prefix_keys(keys, request, rewriter),
        }
    }

    /// Puts the prefix in front of the names in `request`, whose command has the row `spec`.
    pub fn outward(&self, spec: &'static Spec, request: &Request<'_>, rewriter: &mut Rewriter) -> Outward {
        if spec.flags.has(Flags::SHARED) {
            return Outward::Refused(shared(spec));
        }
        match spec.class {
            Class::Forward if spec.flags.has(Flags::UNNAMED) => self.prefix_sort(spec, request, rewriter),
            Class::CacheableRead
            | Class::Forward
            | Class::FanOut(_)
            | Class::AnyNode
            | Class::AboutCommands(_)
            | Class::OfServer(_)
            | Class::Refused(_)
            | Class::EveryPrimary(_)
            | Class::Keyspace(Keyspace::RandomKey | Keyspace::Count | Keyspace::Flush)
            | Class::Session(
                RequiredState::Blocking
                | RequiredState::Monitor
                | RequiredState::Reset
                | RequiredState::Transaction(_)
                | RequiredState::Wait
                // The prefixes of BCAST are those of several databases: see `Namespaces::prefixes_of`.
                | RequiredState::Tracking(_),
            ) => self.prefix_keys(spec.keys, request, rewriter),
            Class::Script(_) => Outward::Refused(shared(spec)),
            Class::Keyspace(Keyspace::Keys) => at(&[1], &self.prefix()[..], request, rewriter),
            Class::Keyspace(Keyspace::Scan) => self.prefix_scan(request, rewriter),
            Class::Database(database) => self.within_namespace(database, request, rewriter),
            Class::Local(Local::NearsideExplain) => at(&[2], self.prefix(), request, rewriter),
            Class::Local(Local::NearsideFlush) if request.len() < 3 => {
                self.extended(request, &[self.prefix()], rewriter)
            }
            Class::Local(Local::NearsideFlush) => at(&[2], self.prefix(), request, rewriter),
            Class::Local(_) => Outward::Same,
            Class::Publish if spec.keys == Keys::None => self.prefix_publication(request, rewriter),
            Class::Publish => at(&[1], self.channel_prefix(), request, rewriter),
            // What is subscribed to keeps the names of the client beside those of the servers: see
            // [`Scope::topics`].
            Class::Session(RequiredState::Subscribe(_) | RequiredState::Unsubscribe(_)) => Outward::Same,
            Class::Session(RequiredState::PubSub(SubscriptionQuery::Counts(_))) if request.len() > 2 => {
                let channels = (2..request.len()).map(|at| (at, self.prefix_of_channel(request.arg(at))));
                rewriter.prefix(request, channels);
                Outward::Rewritten
            }
            Class::Session(RequiredState::PubSub(SubscriptionQuery::Counts(_))) => Outward::Same,
            Class::Session(RequiredState::PubSub(SubscriptionQuery::Patterns)) => {
                match self.channel_prefix().is_empty() {
                    true => Outward::Same,
                    false => self.extended(request, &[self.channel_prefix()], rewriter),
                }
            }
            Class::Session(RequiredState::PubSub(SubscriptionQuery::Names(_))) => match request.len() {
                2 if !self.channel_prefix().is_empty() => {
                    self.extended(request, &[&[self.channel_prefix(), b"*"].concat()], rewriter)
                }
                2 => Outward::Same,
                _ => at(&[2], self.channel_prefix(), request, rewriter),
            },
        }
    }

    #[inline]
    fn prefix_keys(&self, keys: Keys, request: &Request<'_>, rewriter: &mut Rewriter) -> Outward {
        let prefix = &self.prefix()[..];
        if let Some(only) = keys.only(request) {
            rewriter.prefix(request, std::iter::once((only, prefix)));
            return Outward::Rewritten;
        }
        self.prefix_several(keys, request, rewriter)
    }

    fn prefix_several(&self, keys: Keys, request: &Request<'_>, rewriter: &mut Rewriter) -> Outward {
        match keys.positions(request) {
            Ok(positions) if positions.len() == 0 => Outward::Same,
            Ok(positions) => {
                rewriter.prefix(request, positions.ascending().map(|at| (at, &self.prefix()[..])));
                Outward::Rewritten
            }
            // A server that has options which this daemon does not know could find keys there.
            Err(_) if keys == Keys::Streams && !keys.names_streams(request) => {
                Outward::Refused(encode::error_reply("ERR syntax error"))
            }
            // No server finds them either: it answers with an error.
            Err(_) => Outward::Same,
        }
    }

    /// SORT: the keys, and the patterns of BY and GET that lead to keys.
    fn prefix_sort(&self, spec: &Spec, request: &Request<'_>, rewriter: &mut Rewriter) -> Outward {
        let Ok(positions) = spec.keys.positions(request) else { return Outward::Same };
        let mut places: SmallVec<[usize; 8]> = positions.collect();
        let mut index = 2;
        while index < request.len() {
            let option = request.arg(index);
            index += if option.eq_ignore_ascii_case(b"limit") {
                3
            } else if option.eq_ignore_ascii_case(b"by") {
                // Without a star it leads to no key.
                places.extend(request.arg(index + 1).contains(&b'*').then_some(index + 1));
                2
            } else if option.eq_ignore_ascii_case(b"get") {
                // A cluster takes `#` and what is in the slot of the key, also without a star.
                places.extend(
                    (index + 1 < request.len() && !is(request, index + 1, b"#")).then_some(index + 1),
                );
                2
            } else if option.eq_ignore_ascii_case(b"store") {
                2
            } else {
                1
            };
        }
        places.sort_unstable();
        at(&places, self.prefix(), request, rewriter)
    }

    /// SCAN: each pattern, or one for all names. Of several the last counts.
    fn prefix_scan(&self, request: &Request<'_>, rewriter: &mut Rewriter) -> Outward {
        let patterns = || (2..request.len()).step_by(2).filter(|at| is(request, *at, b"match"));
        let places: SmallVec<[usize; 4]> = patterns().map(|at| at + 1).collect();
        match places.last() {
            None => {
                let all = [&self.prefix()[..], b"*"].concat();
                let own = [&b"MATCH"[..], &all];
                // Behind an option without its value it would be taken for that. In front it counts: no other
                // pattern follows.
                let is_first =
                    request.len() % 2 == 1 && !(2..request.len()).any(|at| is(request, at, b"match"));
                if !is_first {
                    return self.extended(request, &own, rewriter);
                }
                let head = [request.arg(0), request.arg(1)].into_iter().chain(own);
                rewriter.replace(OwnedRequest::from_args(head.chain(request.args_from(2))));
                Outward::Rewritten
            }
            // The server says what it thinks of it.
            Some(last) if *last >= request.len() => Outward::Same,
            Some(_) => at(&places, self.prefix(), request, rewriter),
        }
    }

    /// PUBLISH: the channel and, where a notification about a key is made up, the key.
    fn prefix_publication(&self, request: &Request<'_>, rewriter: &mut Rewriter) -> Outward {
        let (channel, message) = (request.arg(1), request.arg(2));
        let name = NotificationName::read(channel);
        let Some((name, renamed)) = name.and_then(|name| Some((name, self.notification(&name)?))) else {
            return at(&[1], self.prefix_of_channel(channel), request, rewriter);
        };
        let prefix = name.database().filter(|_| name.is_of_event());
        let prefix = prefix.and_then(|number| self.prefix_of_number(number)).unwrap_or_default();
        let message = [prefix.as_bytes(), message].concat();
        rewriter.replace(OwnedRequest::from_args([request.arg(0), &renamed, &message]));
        Outward::Rewritten
    }

    /// COPY and MOVE, to another database of the namespace: its names have another prefix.
    fn within_namespace(
        &self,
        database: Database,
        request: &Request<'_>,
        rewriter: &mut Rewriter,
    ) -> Outward {
        let target = match database {
            Database::Copy => self.target_of_copy(request),
            Database::Move => self.target(request.arg(2)).map(Some),
            // The table says that it is refused.
            Database::Swap => return Outward::Same,
        };
        let target = match target {
            Ok(target) => target.unwrap_or_else(|| self.database()),
            Err(error) => return Outward::Refused(encode::error_reply(error)),
        };
        let name = |prefix: &[u8], key: &[u8]| [prefix, key].concat();
        let there = self.namespace().prefix(target);
        let mut args: Vec<Vec<u8>> = vec![request.arg(0).to_vec(), name(self.prefix(), request.arg(1))];
        match database {
            Database::Copy => {
                args.push(name(there.as_bytes(), request.arg(2)));
                args.extend(
                    (3..request.len()).filter(|at| is(request, *at, b"replace")).map(|_| b"REPLACE".to_vec()),
                );
                rewriter.replace(OwnedRequest::from_args(args));
                Outward::Rewritten
            }
            Database::Move | Database::Swap if target == self.database() => {
                let error = "ERR source and destination objects are the same";
                Outward::Refused(encode::error_reply(error))
            }
            Database::Move | Database::Swap => match command::numbered(command::number_of("renamenx")) {
                Some(spec) => {
                    args[0] = b"RENAMENX".to_vec();
                    args.push(name(there.as_bytes(), request.arg(1)));
                    rewriter.replace(OwnedRequest::from_args(args));
                    Outward::As(spec)
                }
                None => Outward::Same,
            },
        }
    }

    /// The database that COPY names, if it does.
    fn target_of_copy(&self, request: &Request<'_>) -> Result<Option<DbIndex>, &'static str> {
        let (mut target, mut index) = (None, 3);
        while index < request.len() {
            if is(request, index, b"db") && index + 1 < request.len() {
                target = Some(self.target(request.arg(index + 1))?);
                index += 1;
            } else if !is(request, index, b"replace") {
                return Err("ERR syntax error");
            }
            index += 1;
        }
        Ok(target)
    }

    /// The database of the namespace with this number, or the error of Redis.
    fn target(&self, text: &[u8]) -> Result<DbIndex, &'static str> {
        let number = DbIndex::number_in(text)?;
        let number = u32::try_from(number).ok().filter(|number| *number < DATABASES);
        let number = number.ok_or("ERR DB index is out of range")?;
        match self.only_number() {
            Some(own) if own.number() == number => Ok(self.database()),
            Some(_) => Err(APART),
            None => Ok(DbIndex::new(number)),
        }
    }

    /// The request with more arguments at its end.
    fn extended(&self, request: &Request<'_>, more: &[&[u8]], rewriter: &mut Rewriter) -> Outward {
        rewriter.replace(OwnedRequest::from_args(request.args().chain(more.iter().copied())));
        Outward::Rewritten
    }
}

/// Prefixes the arguments at `places`, in ascending order.
fn at(places: &[usize], prefix: &[u8], request: &Request<'_>, rewriter: &mut Rewriter) -> Outward {
    if prefix.is_empty() || places.is_empty() {
        return Outward::Same;
    }
    rewriter.prefix(request, places.iter().map(|at| (*at, prefix)));
    Outward::Rewritten
}

fn is(request: &Request<'_>, at: usize, option: &[u8]) -> bool {
    request.arg(at).eq_ignore_ascii_case(option)
}

/// The error for a command about what all namespaces share.
fn shared(spec: &Spec) -> Bytes {
    encode::error_reply(format!(
        "ERR nearside: {} is not available in a namespace, because it acts on what all namespaces share",
        spec.name.to_ascii_uppercase().replace('|', " ")
    ))
}

/// The error for a command whose names nothing tells.
fn unknown_places(name: &str) -> Bytes {
    encode::error_reply(format!(
        "ERR nearside: {} is not available in a namespace, because only its server knows which arguments are keys",
        name.to_ascii_uppercase()
    ))
}
