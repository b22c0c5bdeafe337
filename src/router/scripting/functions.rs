//! KnownFunctions: a node that joined later, or lost what it had, gets the library of a function before it is
//! called there.
//!
//! A node is asked once whether it has a function, before the first call of it goes there. The session waits
//! for that, so its order is kept.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::clock::{self, Nanos};
use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::router::answer::{Answer, ExclusiveEnd};
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::forward::forwarder::Forwarder;
use crate::router::node_instance::NodeInstance;
use crate::router::replies::{render, stopped};
use crate::router::request_route::{Destination, RequestRoute};
use crate::upstream::{Call, NodeIndex, Right};

/// KnownFunctions that are remembered to be on a node; beyond it all are forgotten, since clients can make
/// names up.
const FUNCTIONS_MAX: usize = 1024;

/// A longer name is not looked for, nor remembered: the node that the call goes to says that it does not have
/// it.
const NAME_BYTES_MAX: usize = 128;

/// How long it is remembered that no node has a function.
const ABSENT_NANOS_MAX: Nanos = 1_000_000_000;

/// The least time between two searches for a function that seems to be absent.
const LOOK_AGAIN_NANOS: Nanos = 1_000_000_000;

/// Nodes on which a call whose slot moves meanwhile looks for its function.
const LOOKS_MAX: u32 = 3;

/// Which functions were looked for on which nodes.
#[derive(Debug, Default)]
struct KnownFunctions {
    seen: HashMap<(NodeIndex, Vec<u8>), LastSeen>,
}

#[derive(Debug)]
struct LastSeen {
    host: NodeInstance,
    /// Until when it counts as absent on all nodes; `None` when it exists.
    absent_until: Option<Nanos>,
    /// Until when no answer of a call starts a new search: the text may come from the function.
    settled_until: Nanos,
}

/// Calls functions.
#[derive(Debug)]
pub(in crate::router) struct FunctionCalls {
    context: Rc<RouterContext>,
    forwarder: Rc<Forwarder>,
    known: RefCell<KnownFunctions>,
}

// === impl FunctionCalls ===

impl FunctionCalls {
    /// Knows no function yet.
    pub(in crate::router) fn new(context: Rc<RouterContext>, forwarder: Rc<Forwarder>) -> Rc<FunctionCalls> {
        Rc::new(FunctionCalls { context, forwarder, known: RefCell::default() })
    }

    /// FCALL and FCALL_RO.
    pub(in crate::router) fn call(
        self: &Rc<FunctionCalls>,
        route: RequestRoute,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        let to = match self.context.destination(route, request) {
            Ok(to) => to,
            Err(reply) => return Answer::Now(reply),
        };
        let (host, name) = self.looked_for(to, request);
        let Some(host) = host.filter(|host| !self.known.borrow().covers(host, &name, caller.now)) else {
            return Answer::Later(self.send(route, to, request.to_owned(), caller));
        };
        let (this, request, caller) = (self.clone(), request.to_owned(), caller.to_owned());
        Answer::Exclusive(Box::pin(async move {
            this.provide(host, name).await;
            let mut looks = 1;
            loop {
                this.context.pause.pass(route.flags).await;
                let to = match this.context.destination(route, &request.as_request()) {
                    Ok(to) => to,
                    Err(reply) => return ExclusiveEnd::Reply(reply),
                };
                // The slot may have another owner by now, or its owner may have restarted.
                let (host, name) = this.looked_for(to, &request.as_request());
                let host = host.filter(|host| !this.known.borrow().covers(host, &name, clock::now()));
                if let Some(host) = host.filter(|_| looks < LOOKS_MAX) {
                    looks += 1;
                    this.provide(host, name).await;
                    continue;
                }
                return ExclusiveEnd::Sent(this.send(route, to, request, caller.as_caller()));
            }
        }))
    }

    /// Where a function is looked for before a call of it goes `to` a node, and its name.
    fn looked_for(&self, to: Destination, request: &Request<'_>) -> (Option<NodeInstance>, Vec<u8>) {
        // The names of functions are case-insensitive.
        let name = request.arg(1).to_ascii_lowercase();
        let host = to.node.and_then(|node| NodeInstance::of(&self.context.upstream, node));
        (host.filter(|_| name.len() <= NAME_BYTES_MAX), name)
    }

    /// Sends the call now; the reply will come.
    fn send(
        self: &Rc<FunctionCalls>,
        route: RequestRoute,
        to: Destination,
        owned: OwnedRequest,
        caller: Caller<'_>,
    ) -> LocalBoxFuture<'static, Bytes> {
        let request = owned.as_request();
        let (host, name) = self.looked_for(to, &request);
        let call =
            self.forwarder.begin(route, route.write_set_of_code(), to, &request, owned.bytes(), caller);
        let (this, resp) = (self.clone(), caller.resp);
        Box::pin(async move {
            let outcome = call.finish().await;
            let lost = |frame: &Bytes| frame.starts_with(b"-ERR Function not found");
            if let (Some(host), true) = (host, outcome.as_ref().is_ok_and(|reply| lost(&reply.frame))) {
                this.known.borrow_mut().lost(&host, &name);
            }
            render(outcome, route.form, &owned, resp)
        })
    }

    /// Forgets all functions, because libraries change: each is searched again.
    pub(in crate::router) fn forget(&self) {
        self.known.borrow_mut().seen.clear();
    }

    /// Looks whether a node has a function and, if it does not, brings the library from one that does.
    async fn provide(&self, host: NodeInstance, name: Vec<u8>) {
        let mut found = library_of(&self.libraries(host.node, false).await, &name).is_some();
        if !found {
            for other in self.context.upstream.primaries().iter().filter(|other| **other != host.node) {
                let Some(code) = library_of(&self.libraries(*other, true).await, &name) else { continue };
                let request = encode::request(&[&b"FUNCTION"[..], b"LOAD", b"REPLACE", &code]);
                let call = Call::without_keys(request, false);
                let outcome =
                    self.context.upstream.send_to(host.node, call).reply.await.unwrap_or_else(stopped);
                if let Ok(reply) = &outcome {
                    self.context.is_refused(Some(host.node), Right::FunctionLoad, &reply.frame);
                }
                found = outcome.is_ok_and(|reply| !reply.frame.starts_with(b"-"));
                tracing::info!(node = %self.context.upstream.node(host.node), found, "a library of functions was brought to a node");
                break;
            }
        }
        self.known.borrow_mut().looked_for(host, name, found);
    }

    /// FUNCTION LIST of one node; empty when it did not answer.
    async fn libraries(&self, node: NodeIndex, with_code: bool) -> Bytes {
        let words = ["FUNCTION", "LIST", "WITHCODE"];
        let words = if with_code { &words[..] } else { &words[..2] };
        let call = Call::question(encode::request(words));
        let outcome = self.context.upstream.send_to(node, call).reply.await.unwrap_or_else(stopped);
        let list = outcome.map_or_else(|_| Bytes::new(), |reply| reply.frame);
        self.context.is_refused(Some(node), Right::FunctionList, &list);
        list
    }
}

// === impl KnownFunctions ===

impl KnownFunctions {
    /// Whether a call of a function may go to `host` without looking for it first.
    fn covers(&self, host: &NodeInstance, name: &[u8], now: Nanos) -> bool {
        self.seen
            .get(&(host.node, name.to_vec()))
            .is_some_and(|seen| seen.host == *host && seen.absent_until.is_none_or(|until| now < until))
    }

    fn looked_for(&mut self, host: NodeInstance, name: Vec<u8>, found: bool) {
        if self.seen.len() >= FUNCTIONS_MAX {
            self.seen.clear();
        }
        let now = clock::now();
        let absent_until = (!found).then(|| now + ABSENT_NANOS_MAX);
        let settled_until = now + LOOK_AGAIN_NANOS;
        self.seen.insert((host.node, name), LastSeen { host, absent_until, settled_until });
    }

    /// A node did not have a function that it was believed to have.
    fn lost(&mut self, host: &NodeInstance, name: &[u8]) {
        let key = (host.node, name.to_vec());
        let is_old = |seen: &LastSeen| seen.absent_until.is_none() && seen.settled_until <= clock::now();
        if self.seen.get(&key).is_some_and(is_old) {
            self.seen.remove(&key);
        }
    }
}

/// The code of the library that has the function `name`, in a reply to FUNCTION LIST; empty when that was
/// without code.
fn library_of(list: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    cursor::elements(list)?.flatten().find_map(|library| {
        let mut functions = cursor::elements(cursor::field(library, b"functions")?)?.flatten();
        let is_it = |function: &[u8]| {
            cursor::field(function, b"name")
                .and_then(cursor::text)
                .is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        functions.any(is_it).then(|| {
            cursor::field(library, b"library_code").and_then(cursor::text).unwrap_or_default().to_vec()
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::node::NodeId;
    use crate::upstream::SlotTable;

    #[test]
    fn the_library_of_a_function_is_found_in_the_list() {
        let list =
            b"*1\r\n%3\r\n$12\r\nlibrary_name\r\n$3\r\nlib\r\n$9\r\nfunctions\r\n*1\r\n%1\r\n$4\r\nname\r\n\
                     $2\r\nFn\r\n$12\r\nlibrary_code\r\n$4\r\ncode\r\n";
        assert_eq!(library_of(list, b"fn").unwrap(), b"code");
        assert_eq!(library_of(list, b"other"), None);
        for other in [&b"*0\r\n"[..], b"", b"-ERR no\r\n", b"*1\r\n:1\r\n"] {
            assert_eq!(library_of(other, b"fn"), None);
        }
    }

    #[test]
    fn only_so_many_functions_are_remembered_and_what_nobody_has_for_a_moment() {
        let node = SlotTable::default().index_of(&NodeId::new("a:1"));
        let host = NodeInstance { node, run_id: Arc::from("1") };
        let mut functions = KnownFunctions::default();
        for number in 0..=FUNCTIONS_MAX {
            functions.looked_for(host.clone(), number.to_string().into_bytes(), false);
            assert!(functions.seen.len() <= FUNCTIONS_MAX);
        }
        let (now, name) = (clock::now(), FUNCTIONS_MAX.to_string());
        assert!(functions.covers(&host, name.as_bytes(), now));
        assert!(!functions.covers(&host, name.as_bytes(), now + ABSENT_NANOS_MAX));
        let restarted = NodeInstance { node, run_id: Arc::from("2") };
        assert!(!functions.covers(&restarted, name.as_bytes(), now));
    }
}
