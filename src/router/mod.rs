//! Where L1 meets L2: what is done with a command that is about data.
//!
//! A hit is answered on the spot. Everything else is handed to the upstream on the spot as well, in the order
//! in which the session asked, and answered later. The proxy knows commands, the near cache and the upstream;
//! it must never know sockets or what a session is beside its version of the protocol and its own unanswered
//! writes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;

mod about_commands;
mod all_primaries;
mod block_timeout;
mod blocked_call;
mod blocking;
pub mod coherence;
mod command_info_cache;
mod control_queries;
mod coverage;
mod database;
mod default_ttl;
mod fan_out;
mod forward;
mod functions;
mod large_apart;
mod many_keys;
mod memory;
mod policy;
mod publish;
mod random_key;
mod read;
mod replicas;
mod scan;
mod scan_cursors;
mod script;
mod scripts;
mod slices;
mod subscriptions;
mod transaction;
mod ttl_probe;
mod watch;
mod written_slots;

pub use about_commands::names_very_many;
pub use coherence::inflight::{Hold, Inflight};
pub use control_queries::QueryReply;
pub use coverage::Coverage;
pub use database::without_server;
pub use fan_out::ReplyBound;
pub use memory::{MemoryLimits, RouterMemory};
pub use transaction::{ExecElement, NotAPart, TransactionPart};
pub use watch::Watched;

use crate::cache::policy::CurrentPolicies;
use crate::cache::{MissReason, NearCache, VersionedReply};
use crate::clock::Nanos;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{
    Class, CommandError, Flags, Keys, Keyspace, Learned, RequiredState, ScriptAction, Spec, TtlEffect,
};
use crate::protocol::resp::Resp;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::resp2::{self, Form};
use crate::pubsub::Hub;
use crate::stats::WorkerStats;
use crate::upstream::{Outcome, Upstream, UpstreamError};
use coherence::inflight::{InflightKeys, InflightRead, InflightWrite};
use command_info_cache::CommandInfoCache;
use default_ttl::Misses;
use forward::WriteSet;
use functions::Functions;
use large_apart::KeySizes;

/// The near cache, whose fills end with a reply or with why there is none.
pub type RouterCache = NearCache<Result<FillResult, UpstreamError>>;

/// What a fill brought in.
#[derive(Clone, Debug)]
pub struct FillResult {
    reply: VersionedReply,
    /// As in [`UpstreamReply`](crate::upstream::UpstreamReply).
    tracked: bool,
}

/// What the proxy needs to know of the session that asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The version of the protocol that replies must have.
    pub resp: Resp,
    /// The session's writes that have not been answered yet.
    pub own_writes: &'a Rc<Inflight>,
    /// The time as of which lookups are made: all of the request had arrived by then.
    pub now: Nanos,
    /// Learns whether changes to what a reply said will be told, if the session has to know.
    pub coverage: Option<&'a Rc<Coverage>>,
}

/// What becomes of a request.
pub enum Answer {
    /// The reply was appended to the output.
    Appended,
    /// The reply.
    Now(Bytes),
    /// The reply will come. The request was sent upstream already; dropping the future drops only the reply.
    Later(LocalBoxFuture<'static, Bytes>),
    /// The reply will come, whatever the client says of replies. What is pushed to the client meanwhile comes
    /// behind it.
    Confirmation(LocalBoxFuture<'static, Bytes>),
    /// The reply is in the mailbox of the client, behind what came before it, and goes out before another is
    /// given.
    Mailed,
    /// Nothing can be done yet: whoever asked must wait, and then ask the same again before anything else.
    NotYet(LocalBoxFuture<'static, ()>),
}

/// The proxy of one worker.
#[derive(Debug)]
pub struct Router {
    /// Absent when L1 is turned off.
    cache: Option<RouterCache>,
    upstream: Rc<Upstream>,
    /// What our own clients are subscribed to.
    pubsub: Arc<Hub>,
    lessons: RefCell<CommandInfoCache>,
    functions: RefCell<Functions>,
    memory: Arc<RouterMemory>,
    policies: Arc<CurrentPolicies>,
    missed_ttl: Misses,
    sizes: RefCell<KeySizes>,
    stats: Arc<WorkerStats>,
    settings: RouterSettings,
}

/// What the proxy is told.
#[derive(Clone, Copy, Debug)]
pub struct RouterSettings {
    /// How long the first requests wait for the upstream to be known.
    pub patience: Duration,
    /// Whether other workers have upstream connections of their own.
    pub alone: bool,
    /// Bytes of the names of keys that are gathered for one KEYS, or for one page of SCAN.
    pub keyspace_bytes_max: usize,
}

/// How to go on with a request, from the table or from what the upstream said of it.
#[derive(Clone, Copy, Debug)]
struct RequestRoute {
    keys: Keys,
    lasting: TtlEffect,
    flags: Flags,
    form: Form,
    /// Code that is not the server's own may answer it.
    foreign: bool,
}

// === impl Route ===

impl RequestRoute {
    /// That of a command of the table.
    fn of(spec: &Spec) -> RequestRoute {
        let foreign = matches!(
            spec.class,
            Class::Script(ScriptAction::Eval | ScriptAction::EvalSha | ScriptAction::Function)
        );
        RequestRoute { keys: spec.keys, lasting: spec.lasting, flags: spec.flags, form: spec.form, foreign }
    }

    /// Whether it changes its keys. PFCOUNT is a read that may: it leaves in the key what it counted.
    fn may_write(self) -> bool {
        self.flags.has(Flags::WRITE) || self.flags.has(Flags::READ.with(Flags::MAY_REPLICATE))
    }

    /// That of a command that a module brought: which of the keys it writes nobody says.
    fn learned(learned: &Learned) -> RequestRoute {
        let Learned { keys, flags } = *learned;
        let lasting = if flags.has(Flags::WRITE) { TtlEffect::Keys(keys) } else { TtlEffect::Nothing };
        RequestRoute { keys, lasting, flags, form: Form::ByRule, foreign: true }
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
        let (lessons, functions, missed_ttl) = Default::default();
        Rc::new(Router {
            cache,
            upstream,
            pubsub,
            lessons,
            functions,
            memory,
            policies,
            missed_ttl,
            sizes: RefCell::default(),
            stats,
            settings,
        })
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
                self.forward(route, WriteSet::Named, request, caller)
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

    /// The first requests wait until it is known who owns what, so that a client that is there before the
    /// upstream was asked meets no error.
    pub fn wait_for_upstream(&self) -> Option<Answer> {
        if self.upstream.is_settled() {
            return None;
        }
        let (upstream, patience) = (self.upstream.clone(), self.settings.patience);
        Some(Answer::NotYet(Box::pin(async move { upstream.settled(patience).await })))
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
    fn alone(&self, caller: Caller<'_>, work: impl Future<Output = Bytes> + 'static) -> Answer {
        let own_writes = caller.own_writes.clone();
        Answer::NotYet(Box::pin(async move { own_writes.put_answer(work.await) }))
    }

    /// Nothing older may be read in L1 while this is on its way. Nobody has to know where there is no L1.
    fn begin_read(&self, keys: InflightKeys, caller: Caller<'_>) -> Option<InflightRead> {
        let cache = self.cache.as_ref().filter(|_| !keys.is_empty())?;
        Some(InflightRead::begin(caller.own_writes, keys, cache.next_number()))
    }

    /// Remembers why a read of `key` is not answered from L1.
    fn note(&self, key: &[u8], why: MissReason) {
        if let Some(cache) = &self.cache {
            cache.shared().note(key, why);
        }
    }

    fn begin_write(&self, keys: InflightKeys, caller: Caller<'_>) -> InflightWrite {
        InflightWrite::begin(caller.own_writes, keys, self.cache.as_ref().map(|cache| cache.shared().clone()))
    }
}

/// What a client gets for what came from upstream.
fn render(outcome: Outcome, form: Form, request: &OwnedRequest, resp: Resp) -> Bytes {
    match outcome {
        Ok(reply) => match resp {
            Resp::Three => reply.frame,
            Resp::Two => in_resp2(&reply.frame, form, request).unwrap_or(reply.frame),
        },
        Err(failure) => failure_reply(&failure),
    }
}

/// The reply in RESP2, when that differs.
fn in_resp2(frame: &Bytes, form: Form, request: &OwnedRequest) -> Option<Bytes> {
    if !resp2::needs_conversion(frame, form) {
        return None;
    }
    let mut out = BytesMut::with_capacity(frame.len());
    resp2::to_resp2(frame, form, &request.as_request(), &mut out).ok()?;
    Some(out.freeze())
}

fn failure_reply(failure: &UpstreamError) -> Bytes {
    encode::error_reply(failure.to_string())
}

/// In the place of what a node answered to `command`: its error, or one that says that it answered nothing
/// like a reply to that. Whoever put such a thing together with others would tell a client what nobody said,
/// or too little to read on.
fn odd_reply(command: &str, frame: &Bytes) -> Bytes {
    match frame.first() {
        Some(b'-') => frame.clone(),
        _ => encode::error_reply(format!(
            "ERR nearside: a node answered {command} with something that is no reply to it; it may or may not have been executed"
        )),
    }
}

fn fault_reply(fault: CommandError, request: &Request<'_>) -> Bytes {
    let mut out = BytesMut::new();
    fault.write(request, &mut out);
    out.freeze()
}

fn out_of_place(spec: &Spec) -> Bytes {
    let name = spec.name.to_ascii_uppercase().replace('|', " ");
    encode::error_reply(format!(
        "ERR {name} is not available here through nearside: it needs state that outlives the request"
    ))
}

/// The reply to a request for which nobody will send one any more.
fn stopped<T>(_: T) -> Outcome {
    Err(UpstreamError::Stopped)
}

// === impl Answer ===

impl Answer {
    /// Whether the reply is still to come.
    pub fn is_later(&self) -> bool {
        matches!(self, Answer::Later(_))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Answer::Appended => "Appended",
            Answer::Now(_) => "Now",
            Answer::Later(_) => "Later",
            Answer::Confirmation(_) => "Confirmation",
            Answer::Mailed => "Mailed",
            Answer::NotYet(_) => "NotYet",
        })
    }
}
