//! The router of a worker: takes a request to the family that answers it, by the class that the table says.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::answer::Answer;
use super::caller::Caller;
use super::command_info_cache::CommandInfoCache;
use super::forward::default_ttl::DefaultTtl;
use super::forward::forwarder::Forwarder;
use super::forward::large_replies::LargeReplies;
use super::functions::Functions;
use super::memory::RouterMemory;
use super::replies::{fault_reply, out_of_place};
use super::request_route::{RequestRoute, WriteSet};
use super::tiers::{RouterCache, RouterSettings, Tiers};
use crate::cache::policy::CurrentPolicies;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Class, CommandError, Keyspace, Learned, RequiredState, Spec};
use crate::protocol::resp::request::Request;
use crate::pubsub::Hub;
use crate::stats::WorkerStats;
use crate::upstream::Upstream;

/// The proxy of one worker.
#[derive(Debug)]
pub struct Router {
    tiers: Rc<Tiers>,
    /// What our own clients are subscribed to.
    pub(super) pubsub: Arc<Hub>,
    pub(super) lessons: RefCell<CommandInfoCache>,
    pub(super) functions: RefCell<Functions>,
    pub(super) memory: Arc<RouterMemory>,
    pub(super) default_ttl: Rc<DefaultTtl>,
    pub(super) large_replies: Rc<LargeReplies>,
    pub(super) forwarder: Rc<Forwarder>,
}

impl std::ops::Deref for Router {
    type Target = Rc<Tiers>;

    fn deref(&self) -> &Rc<Tiers> {
        &self.tiers
    }
}

// === impl Proxy ===

impl Router {
    /// A proxy between `cache` and `upstream`.
    pub fn new(
        cache: Option<RouterCache>,
        upstream: Rc<Upstream>,
        pubsub: Arc<Hub>,
        memory: Arc<RouterMemory>,
        policies: Arc<CurrentPolicies>,
        stats: Arc<WorkerStats>,
        settings: RouterSettings,
    ) -> Rc<Router> {
        let (lessons, functions) = Default::default();
        let tiers = Rc::new(Tiers { cache, upstream, policies, stats, settings });
        let default_ttl = DefaultTtl::new(tiers.clone());
        let large_replies = LargeReplies::new(tiers.clone());
        let forwarder = Forwarder::new(tiers.clone(), default_ttl.clone(), large_replies.clone());
        Rc::new(Router { tiers, pubsub, lessons, functions, memory, default_ttl, large_replies, forwarder })
    }

    /// The upstream, for whoever reports about it.
    pub fn upstream(&self) -> &Rc<Upstream> {
        &self.upstream
    }

    /// The near cache, for whoever reports about it.
    pub fn cache(&self) -> Option<&RouterCache> {
        self.cache.as_ref()
    }

    /// Answers a request whose command is in the table and is about data, but is not split over slots
    /// ([`Router::fan_out`]): `class` is what the table says of it. A reply that is here already is appended
    /// to `out`.
    #[inline]
    pub fn call(
        self: &Rc<Router>,
        spec: &'static Spec,
        class: Class,
        request: &Request<'_>,
        caller: Caller<'_>,
        out: &mut WriteQueue,
    ) -> Answer {
        if class == Class::CacheableRead {
            return self.read(spec, request, caller, out);
        }
        if let Some(wait) = self.wait_for_upstream() {
            return wait;
        }
        if let Some(reply) = caller.own_writes.take_answer() {
            return Answer::Now(reply);
        }
        caller.own_writes.note_sent();
        let route = RequestRoute::of(spec);
        match class {
            Class::CacheableRead => self.read(spec, request, caller, out),
            Class::EveryPrimary(gather) => self.ask_all_primaries(spec, gather, request, caller),
            Class::Script(script) => self.script(spec, script, request, caller),
            Class::Database(database) => self.database(spec, database, request, caller),
            Class::Keyspace(Keyspace::Scan) => self.scan(request, caller),
            Class::Keyspace(Keyspace::Keys) => self.keys(request, caller),
            Class::Keyspace(Keyspace::RandomKey) => self.random_key(caller.resp),
            Class::Refused(refusal) => {
                let mut out = BytesMut::new();
                refusal.write(spec, &mut out);
                Answer::Now(out.freeze())
            }
            Class::Publish => self.publish(spec, request, caller),
            Class::Session(RequiredState::PubSub) => self.subscriptions(spec, request, caller),
            Class::Session(_) | Class::FanOut(_) => Answer::Now(out_of_place(spec)),
            // What is local never comes here; any node answers it truthfully.
            Class::Forward | Class::AnyNode | Class::Local(_) => {
                self.forwarder.forward(route, WriteSet::Named, request, caller)
            }
        }
    }

    /// Answers a request that the table does not recognise.
    pub fn fault(
        self: &Rc<Router>,
        fault: CommandError,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        if fault == CommandError::Unknown {
            caller.own_writes.note_sent();
            return self.wait_for_upstream().unwrap_or_else(|| self.unknown(request, caller));
        }
        Answer::Now(fault_reply(fault, request))
    }

    /// Has the first requests wait until the topology is discovered.
    pub fn wait_for_upstream(&self) -> Option<Answer> {
        self.tiers.wait_for_upstream()
    }

    /// Empties L1, and keeps no reply that is in flight.
    pub fn invalidate_all(&self) {
        self.tiers.invalidate_all();
    }

    /// The policies that hold now.
    pub fn policies(&self) -> &CurrentPolicies {
        &self.tiers.policies
    }

    /// Whether a request names no keys, so that nothing keeps it in its place among others of its session: it
    /// has to begin when they have been answered, and to be answered before others begin. So has a
    /// message: whoever gets it may look at what was written before it, whatever the slot.
    pub fn may_overtake(&self, spec: &Spec, request: &Request<'_>) -> bool {
        let names_none = spec.class == Class::Publish || spec.keys.first(request).is_none();
        names_none && self.upstream.is_split()
    }

    /// The same of a request whose command is not in the table.
    pub fn may_overtake_unknown(&self, request: &Request<'_>) -> bool {
        let names_none = |learned: &Learned| learned.keys.first(request).is_none();
        self.upstream.is_split() && self.lessons.borrow().known(request.arg(0)).is_some_and(names_none)
    }

    /// Carries out `work` before anything else of the session begins; the session shows the request again for
    /// the answer.
    pub(super) fn alone(&self, caller: Caller<'_>, work: impl Future<Output = Bytes> + 'static) -> Answer {
        let own_writes = caller.own_writes.clone();
        Answer::NotYet(Box::pin(async move { own_writes.put_answer(work.await) }))
    }
}
