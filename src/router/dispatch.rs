//! The router of a worker: takes a request to the family that answers it, by the class that the table says.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::answer::{Answer, ExclusiveEnd};
use super::blocking::replicas::ReplicaWaits;
use super::blocking::waits::Blocking;
use super::caller::Caller;
use super::coherence::shadow::ShadowVerifier;
use super::coherence::swap_count::SwapCount;
use super::command_info::unknown::UnknownCommands;
use super::command_info::very_many_names::CommandQueries;
use super::context::{RouterCache, RouterContext, RouterSettings};
use super::control_queries::ControlQueries;
use super::database::is_of_missing_database;
use super::forward::default_ttl::DefaultTtl;
use super::forward::forwarder::Forwarder;
use super::forward::reply_sizes::ReplySizes;
use super::memory::RouterMemory;
use super::messages::publish::Publisher;
use super::messages::settled::until_settled;
use super::messages::subscriptions::SubscriptionQueries;
use super::multi_key::commands::MultiKey;
use super::namespace_keys::commands::NamespaceKeys;
use super::primaries::all_primaries::AllPrimaries;
use super::primaries::random_key::random_key;
use super::reads::cached_read::CachedReads;
use super::replies::out_of_place;
use super::request_route::{KeyAccess, RequestRoute};
use super::scan::walk::KeyWalks;
use super::scripting::eval::Scripting;
use super::scripting::functions::FunctionCalls;
use super::scripting::namespaced::NamespacedScripts;
use super::transactions::execute::Transactions;
use super::transactions::watch::Watches;
use crate::cache::policy::CurrentPolicies;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{
    Class, CommandError, Database, Flags, Gather, Keyspace, ModuleCommand, RequiredState, Spec,
};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::request::Request;
use crate::pubsub::Hub;
use crate::stats::WorkerStats;
use crate::upstream::Upstream;

/// The router of one worker: one struct for each family of commands.
#[derive(Debug)]
pub struct Router {
    context: Rc<RouterContext>,
    reads: Rc<CachedReads>,
    forwarder: Rc<Forwarder>,
    primaries: Rc<AllPrimaries>,
    scripting: Rc<Scripting>,
    scan: Rc<KeyWalks>,
    publisher: Rc<Publisher>,
    subscriptions: Rc<SubscriptionQueries>,
    hub: Arc<Hub>,
    /// Commands on many keys.
    pub multi_key: Rc<MultiKey>,
    /// What clients in namespaces ask about all their keys.
    pub namespace_keys: NamespaceKeys,
    /// Commands that the table does not know.
    pub unknown_commands: Rc<UnknownCommands>,
    /// COMMAND INFO and COMMAND DOCS of very many names.
    pub command_queries: Rc<CommandQueries>,
    /// The scripts of clients in namespaces.
    pub namespaced_scripts: Arc<NamespacedScripts>,
    /// What the daemon itself asks servers.
    pub queries: ControlQueries,
    /// What EXEC carries out.
    pub transactions: Rc<Transactions>,
    /// WATCH and UNWATCH.
    pub watches: Rc<Watches>,
    /// Commands that block.
    pub blocking: Rc<Blocking>,
    /// WAIT and WAITAOF.
    pub replica_waits: Rc<ReplicaWaits>,
}

// === impl Router ===

impl Router {
    /// A router between `cache` and `upstream`.
    pub fn new(
        cache: Option<RouterCache>,
        upstream: Rc<Upstream>,
        pubsub: Arc<Hub>,
        memory: Arc<RouterMemory>,
        policies: Arc<CurrentPolicies>,
        stats: Arc<WorkerStats>,
        settings: RouterSettings,
    ) -> Rc<Router> {
        let context = Rc::new(RouterContext {
            cache,
            upstream,
            policies,
            stats,
            settings,
            swaps: SwapCount::default(),
            pause: memory.pause.clone(),
        });
        let default_ttl = DefaultTtl::new(context.clone());
        let reply_sizes = ReplySizes::new(context.clone());
        let forwarder = Forwarder::new(context.clone(), default_ttl.clone(), reply_sizes.clone());
        let reads = CachedReads::new(context.clone(), forwarder.clone(), reply_sizes);
        let functions = FunctionCalls::new(context.clone(), forwarder.clone());
        let primaries = AllPrimaries::new(context.clone(), functions.clone());
        let scan = KeyWalks::new(context.clone(), memory.walks.clone());
        let multi_key =
            Rc::new(MultiKey::new(context.clone(), forwarder.clone(), default_ttl.clone(), reads.clone()));
        Rc::new(Router {
            unknown_commands: UnknownCommands::new(context.clone(), forwarder.clone()),
            command_queries: CommandQueries::new(context.clone()),
            namespaced_scripts: memory.namespaced_scripts.clone(),
            queries: ControlQueries::new(context.upstream.clone()),
            transactions: Transactions::new(context.clone(), default_ttl.clone(), memory.scripts.clone()),
            watches: Watches::new(context.clone()),
            namespace_keys: NamespaceKeys::new(context.clone(), scan.clone(), multi_key.clone()),
            multi_key,
            reads,
            scripting: Scripting::new(
                context.clone(),
                forwarder.clone(),
                primaries.clone(),
                functions,
                memory.scripts.clone(),
            ),
            scan,
            publisher: Publisher::new(context.clone(), pubsub.clone()),
            subscriptions: SubscriptionQueries::new(context.clone(), pubsub.clone()),
            blocking: Blocking::new(context.clone(), default_ttl),
            replica_waits: ReplicaWaits::new(context.clone()),
            hub: pubsub,
            context,
            forwarder,
            primaries,
        })
    }

    /// Begins to read into the processor's caches what the lookups for the requests in `bytes` will need.
    /// `prefix` comes in front of their keys.
    #[inline]
    pub fn prefetch(&self, prefix: &[u8], bytes: &[u8]) {
        self.reads.prefetch(prefix, bytes);
    }

    /// Verifies samples of hits, one `lease` after a difference was found. Does not end by itself.
    pub fn verify_samples(&self, lease: Duration) -> impl Future<Output = ()> + use<> {
        ShadowVerifier::new(self.context.clone()).run(lease)
    }

    /// The upstream, for reports.
    pub fn upstream(&self) -> &Rc<Upstream> {
        &self.context.upstream
    }

    /// L1, for reports.
    pub fn cache(&self) -> Option<&RouterCache> {
        self.context.cache.as_ref()
    }

    /// Answers a request whose command is in the table and is about data, but is not split over slots
    /// ([`MultiKey::answer`]): `class` is what the table says of it. A reply that is here already is appended
    /// to `out`.
    #[inline(always)]
    pub fn call(
        &self,
        spec: &'static Spec,
        class: Class,
        request: &Request<'_>,
        caller: Caller<'_>,
        out: &mut WriteQueue,
    ) -> Answer {
        if matches!(class, Class::CacheableRead) {
            return self.reads.read(spec, request, caller, out);
        }
        self.call_otherwise(spec, class, request, caller, out)
    }

    /// Answers a read whose only argument is its key, if its reply is in L1 where it is looked for first;
    /// `name` is what the servers call that key. Otherwise nothing was done, and [`Router::call`] answers.
    #[inline(always)]
    pub fn read_at_once(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        name: &[u8],
        caller: Caller<'_>,
        out: &mut WriteQueue,
    ) -> Option<Answer> {
        self.reads.read_at_once(spec, request, name, caller, out)
    }

    /// What is no read that L1 may answer. Apart, so that the way of a hit is no call more.
    #[inline(never)]
    fn call_otherwise(
        &self,
        spec: &'static Spec,
        class: Class,
        request: &Request<'_>,
        caller: Caller<'_>,
        out: &mut WriteQueue,
    ) -> Answer {
        caller.inflight.note_sent();
        let route = RequestRoute::of(spec);
        match class {
            Class::CacheableRead => self.reads.read(spec, request, caller, out),
            Class::EveryPrimary(gather) => self.primaries.ask(spec, gather, request, caller),
            Class::Script(script) => self.scripting.execute(spec, script, request, caller),
            Class::Database(database) if !self.context.upstream.is_cluster() => match database {
                // The server pushes no invalidation of what was swapped.
                Database::Swap => self.primaries.ask(spec, Gather::AllOk, request, caller),
                Database::Copy | Database::Move => {
                    self.forwarder.forward(route, KeyAccess::Declared, request, caller)
                }
            },
            Class::Database(command) => self.of_cluster_databases(command, route, request, caller),
            // The cursor of one server is its own, also in a script or a transaction.
            Class::Keyspace(Keyspace::Scan) if !self.context.upstream.is_cluster() => {
                self.forwarder.forward(route, KeyAccess::Declared, request, caller)
            }
            Class::Keyspace(Keyspace::Scan) => self.scan.scan(request, None, caller),
            Class::Keyspace(Keyspace::Keys) => self.scan.keys(request, None, caller),
            Class::Keyspace(Keyspace::RandomKey) => random_key(&self.context, caller),
            Class::Keyspace(Keyspace::Count) => self.primaries.ask(spec, Gather::Sum, request, caller),
            Class::Keyspace(Keyspace::Flush) => self.primaries.ask(spec, Gather::AllOk, request, caller),
            Class::Refused(refusal) => Answer::Now(refusal.reply(spec)),
            Class::Publish => self.publisher.publish(spec, request, caller),
            Class::Session(RequiredState::PubSub(query)) => self.subscriptions.answer(spec, query, request),
            // The session answers these.
            Class::Session(
                RequiredState::Blocking
                | RequiredState::Monitor
                | RequiredState::Reset
                | RequiredState::Subscribe(_)
                | RequiredState::Tracking(_)
                | RequiredState::Transaction(_)
                | RequiredState::Unsubscribe(_)
                | RequiredState::Wait,
            )
            | Class::FanOut(_)
            | Class::OfServer(_) => Answer::Now(out_of_place(spec)),
            // What is local never comes here; any node answers it truthfully.
            Class::Forward | Class::AnyNode | Class::AboutCommands(_) | Class::Local(_) => {
                self.forwarder.forward(route, KeyAccess::Declared, request, caller)
            }
        }
    }

    /// Carries out a command that names databases in front of a cluster: most have one database.
    fn of_cluster_databases(
        &self,
        command: Database,
        route: RequestRoute,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        let Some(reply) = self.queries.without_database(command, request, caller.inflight.database()) else {
            return self.forwarder.forward(route, KeyAccess::Declared, request, caller);
        };
        if !is_of_missing_database(&reply) {
            return Answer::Now(reply);
        }
        let (asked, forwarder) = (self.queries.ask_in(DbIndex::new(1)), self.forwarder.clone());
        let (request, caller) = (request.to_owned(), caller.to_owned());
        Answer::Exclusive(Box::pin(async move {
            if asked.await.is_err() {
                return ExclusiveEnd::Reply(reply);
            }
            let request = request.as_request();
            let answer = forwarder.forward(route, KeyAccess::Declared, &request, caller.as_caller());
            answer.end(&mut WriteQueue::default()).await
        }))
    }

    /// Lasts until the first attempt to discover the topology has ended; `None` if it has. Before that, a
    /// request about data would meet an error.
    pub fn wait_for_topology(&self) -> Option<LocalBoxFuture<'static, ()>> {
        let (upstream, timeout) = (self.context.upstream.clone(), self.context.settings.request_timeout);
        (!upstream.is_settled()).then(|| -> LocalBoxFuture<'static, ()> {
            Box::pin(async move { upstream.settled(timeout).await })
        })
    }

    /// Empties L1, and keeps no reply that is in flight.
    pub fn invalidate_all(&self) {
        self.context.invalidate_all();
    }

    /// Lasts until every node has answered what our clients began or ended to subscribe to; `None` if all
    /// have.
    pub fn wait_for_subscriptions(&self) -> Option<LocalBoxFuture<'static, ()>> {
        until_settled(&self.hub, self.context.settings.request_timeout, None)
    }

    /// The policies that hold now.
    pub fn policies(&self) -> &CurrentPolicies {
        &self.context.policies
    }

    /// What is done with a request whose command is in the table.
    #[inline]
    pub fn class_of(&self, spec: &Spec, request: &Request<'_>) -> Class {
        match spec.class_of(request) {
            class @ Class::OfServer(_) => class.before(self.context.upstream.is_cluster(), request),
            class => class,
        }
    }

    /// The flags that decide whether a pause holds back a request: none of a script that says it does not
    /// write.
    pub fn flags_in_pause(&self, spec: &Spec, request: &Request<'_>) -> Flags {
        match spec.class {
            Class::Script(script) if self.scripting.only_reads(script, request) => Flags::NONE,
            _ => spec.flags,
        }
    }

    /// Whether nothing keeps a request in its place among others of its session: it has to begin when they
    /// have been answered, and to be answered before others begin. So has a message: a client that gets it
    /// may look at what was written before it, whatever the slot.
    pub fn may_overtake(&self, spec: &Spec, request: &Request<'_>) -> bool {
        let has_no_place = matches!(spec.class, Class::Publish)
            || self.context.lacks_slot_order(RequestRoute::of(spec), request);
        has_no_place && self.context.upstream.is_split(request.raw().len())
    }

    /// As [`Router::may_overtake`], for a command of a module.
    pub fn may_overtake_learned(&self, learned: &ModuleCommand, request: &Request<'_>) -> bool {
        self.context.lacks_slot_order(RequestRoute::learned(learned), request)
            && self.context.upstream.is_split(request.raw().len())
    }

    /// The keys whose values a reply may contain. For a script these are the keys that it declares.
    pub fn keys_read(
        &self,
        recognised: Result<&'static Spec, CommandError>,
        request: &Request<'_>,
    ) -> Vec<Bytes> {
        let route = match recognised {
            Ok(spec) if spec.flags.has(Flags::READ) || matches!(spec.class, Class::Script(_)) => {
                RequestRoute::of(spec)
            }
            Err(CommandError::Unknown) => match self.unknown_commands.known(request.arg(0)) {
                Some(learned) if learned.flags.has(Flags::READ) => RequestRoute::learned(&learned),
                _ => return Vec::new(),
            },
            _ => return Vec::new(),
        };
        route.copied_keys_of(request)
    }
}
