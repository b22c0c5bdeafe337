//! Scripts: what a client made known once runs on every node, also on one that joined later or was restarted.
//!
//! Where it is not certain that a node has a script whose body is known, EVAL with the body goes out in the
//! place of EVALSHA: one command, in its order, whatever the node has.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::functions::FunctionCalls;
use super::script_cache::{ScriptCache, Sha, with_body};
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Gather, ScriptAction, Spec};
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::Hold;
use crate::router::context::RouterContext;
use crate::router::forward::forwarder::Forwarder;
use crate::router::node_instance::NodeInstance;
use crate::router::primaries::all_primaries::AllPrimaries;
use crate::router::replies::{failure_reply, odd_reply, render, stopped};
use crate::router::request_route::{Destination, RequestRoute};
use crate::upstream::{Call, NodeIndex, Outcome, Right, UpstreamError, UpstreamReply};

/// How long the nodes are asked for a script that is not known here.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(1);

/// Carries out the commands on scripts.
#[derive(Debug)]
pub(in crate::router) struct Scripting {
    context: Rc<RouterContext>,
    forwarder: Rc<Forwarder>,
    primaries: Rc<AllPrimaries>,
    functions: Rc<FunctionCalls>,
    scripts: Arc<ScriptCache>,
}

// === impl Scripting ===

impl Scripting {
    /// Sends to `context`, and remembers scripts in `scripts`.
    pub(in crate::router) fn new(
        context: Rc<RouterContext>,
        forwarder: Rc<Forwarder>,
        primaries: Rc<AllPrimaries>,
        functions: Rc<FunctionCalls>,
        scripts: Arc<ScriptCache>,
    ) -> Rc<Scripting> {
        Rc::new(Scripting { context, forwarder, primaries, functions, scripts })
    }

    /// Whether a request to run a script says that the script does not write: `#!lua flags=no-writes`. What a
    /// function may do, only the server knows.
    pub(in crate::router) fn only_reads(&self, script: ScriptAction, request: &Request<'_>) -> bool {
        match script {
            ScriptAction::Eval => has_no_writes(request.arg(1)),
            ScriptAction::EvalSha => {
                self.scripts.named(request.arg(1)).is_some_and(|body| has_no_writes(&body))
            }
            ScriptAction::Function | ScriptAction::Load | ScriptAction::Exists | ScriptAction::Flush => false,
        }
    }

    /// Carries out `script`, the action of a command.
    pub(in crate::router) fn execute(
        self: &Rc<Scripting>,
        spec: &'static Spec,
        script: ScriptAction,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        let route = RequestRoute::of(spec);
        match script {
            ScriptAction::Eval => self.eval(route, request, caller),
            ScriptAction::EvalSha => self.eval_sha(route, request, caller),
            ScriptAction::Function => self.functions.call(route, request, caller),
            ScriptAction::Load => self.load_script(request),
            ScriptAction::Exists => self.scripts_exist(request),
            ScriptAction::Flush => {
                self.scripts.flush();
                self.primaries.ask(spec, Gather::AllOk, request, caller)
            }
        }
    }

    fn eval(self: &Rc<Scripting>, route: RequestRoute, request: &Request<'_>, caller: Caller<'_>) -> Answer {
        let to = match self.context.destination(route, request) {
            Ok(to) => to,
            Err(reply) => return Answer::Now(reply),
        };
        let owned = request.to_owned();
        let call = self.forwarder.begin(route, route.write_set_of_code(), to, request, owned.bytes(), caller);
        let (host, flushes) = (self.instance(to), self.scripts.flushes());
        let (this, resp) = (self.clone(), caller.resp);
        // A wrong number of keys is found before the script is looked at.
        let is_read = route.keys.positions(request).is_ok();
        Answer::Later(Box::pin(async move {
            let outcome = call.finish().await;
            let body = owned.arg_bytes(1);
            if is_read && was_compiled(&outcome, &body) {
                this.scripts.learn(&body, flushes, still_there(host, &outcome));
            }
            render(outcome, route.form, &owned, resp)
        }))
    }

    fn eval_sha(
        self: &Rc<Scripting>,
        route: RequestRoute,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        let scripts = &self.scripts;
        let Some(sha) = Sha::named(request.arg(1)) else {
            return self.forwarder.forward(route, route.write_set_of_code(), request, caller);
        };
        let Some(body) = scripts.body(sha) else {
            if scripts.may_be_asked_for(sha, caller.now) {
                let search = self.search_script(sha);
                let (this, request, caller) = (self.clone(), request.to_owned(), caller.to_owned());
                return Answer::Exclusive(Box::pin(async move {
                    search.await;
                    this.context.pause.pass(route.flags).await;
                    let answer = this.eval_sha(route, &request.as_request(), caller.as_caller());
                    answer.end(&mut WriteQueue::default()).await
                }));
            }
            return self.forwarder.forward(route, route.write_set_of_code(), request, caller);
        };
        let to = match self.context.destination(route, request) {
            Ok(to) => to,
            Err(reply) => return Answer::Now(reply),
        };
        let (host, flushes) = (self.instance(to), scripts.flushes());
        let moving = to.slots.one().is_some_and(|slot| self.context.upstream.is_moving(slot, caller.now));
        let owned = request.to_owned();
        let certain = !moving && host.as_ref().is_some_and(|host| scripts.is_on(sha, host));
        let bytes = if certain { owned.bytes() } else { with_body(route.flags, request, &body).bytes() };
        let call = self.forwarder.begin(route, route.write_set_of_code(), to, request, bytes, caller);
        let (this, resp, now) = (self.clone(), caller.resp, caller.now);
        let coverage = caller.coverage.cloned();
        let (inflight, sent) = (caller.inflight.clone(), caller.inflight.sent());
        Answer::Later(Box::pin(async move {
            let mut outcome = call.finish().await;
            // Unless these are words of the script itself, which has run.
            let said_by = said_no_script(&outcome);
            // What the session asks while the node is asked comes behind the script, which may be sent again
            // (I6).
            let _hold = said_by.map(|_| Hold::of(&inflight));
            if let Some(node) = said_by
                && this.lacks_script(node, sha).await
            {
                host.iter().for_each(|host| this.scripts.gone_from(sha, host));
                // The script did not run. It must not come behind later commands of its session: then the
                // client gets the error.
                if inflight.sent() == sent {
                    let caller = Caller { resp, inflight: &inflight, now, coverage: coverage.as_ref() };
                    let request = owned.as_request();
                    let with_body = with_body(route.flags, &request, &body).bytes();
                    outcome = this
                        .forwarder
                        .begin(route, route.write_set_of_code(), to, &request, with_body, caller)
                        .finish()
                        .await;
                }
            }
            if was_compiled(&outcome, &body) {
                let hosts = still_there(host, &outcome);
                hosts.into_iter().for_each(|host| this.scripts.note(sha, flushes, host));
            }
            render(outcome, route.form, &owned, resp)
        }))
    }

    fn instance(&self, to: Destination) -> Option<NodeInstance> {
        NodeInstance::of(&self.context.upstream, to.node?)
    }

    /// Whether a node itself says that it does not have a script.
    async fn lacks_script(self: &Rc<Scripting>, node: NodeIndex, sha: Sha) -> bool {
        let bytes = encode::request(&[&b"SCRIPT"[..], b"EXISTS", sha.as_bytes()]);
        let call = Call::question(bytes);
        let outcome = self.context.upstream.send_to(node, call).reply.await.unwrap_or_else(stopped);
        outcome.is_ok_and(|reply| {
            self.context.is_refused(Some(node), Right::ScriptExists, &reply.frame);
            &reply.frame[..] == b"*1\r\n:0\r\n"
        })
    }

    /// Asks the nodes for a script that is not known here (SCRIPT SHOW of Valkey 8).
    fn search_script(self: &Rc<Scripting>, sha: Sha) -> impl Future<Output = ()> + use<> {
        let bytes = encode::request(&[&b"SCRIPT"[..], b"SHOW", sha.as_bytes()]);
        let call = Call::question(bytes);
        let mut asked: FuturesUnordered<_> = self
            .context
            .ask_every(&call)
            .into_iter()
            .map(|(node, outcome)| async move { (node, outcome.await) })
            .collect();
        let (this, flushes) = (self.clone(), self.scripts.flushes());
        async move {
            let scripts = &this.scripts;
            let search = async {
                let mut silent = true;
                while let Some((node, outcome)) = asked.next().await {
                    let Ok(reply) = outcome else {
                        silent = false;
                        continue;
                    };
                    this.context.is_refused(Some(node), Right::ScriptShow, &reply.frame);
                    if let Some(ReplyHead::Blob { kind: b'$', body }) = cursor::head(&reply.frame) {
                        scripts.learn(body, flushes, []);
                        return;
                    }
                    silent &= reply.frame.to_ascii_lowercase().starts_with(b"-err unknown subcommand");
                }
                if silent {
                    scripts.note_no_bodies();
                }
            };
            // A node that is too slow to answer is not waited for: the client gets that no node knew the
            // script.
            let _ = tokio::time::timeout(SEARCH_TIME_MAX, search).await;
            if scripts.body(sha).is_none() {
                scripts.note_unknown(sha, crate::clock::now());
            }
        }
    }

    /// SCRIPT LOAD: known once one node took it, since the others get it when they need it.
    fn load_script(self: &Rc<Scripting>, request: &Request<'_>) -> Answer {
        let owned = request.to_owned();
        let asked = self.context.ask_every(&Call::without_keys(owned.bytes(), false));
        if asked.is_empty() {
            return Answer::Now(failure_reply(&self.context.upstream.no_topology()));
        }
        let (this, flushes) = (self.clone(), self.scripts.flushes());
        Answer::Later(Box::pin(async move {
            let (mut first, mut failed) = (None, None);
            let mut hosts = Vec::new();
            for (node, outcome) in asked {
                match outcome.await {
                    Ok(reply) if !reply.frame.starts_with(b"-") => {
                        first.get_or_insert(reply.frame);
                        hosts.extend(NodeInstance::of(&this.context.upstream, node));
                    }
                    Ok(reply) => drop(failed.get_or_insert(reply.frame)),
                    Err(failure) => drop(failed.get_or_insert(failure_reply(&failure))),
                }
            }
            let Some(first) = first else {
                return failed.unwrap_or_else(|| failure_reply(&UpstreamError::Stopped));
            };
            let body = owned.arg_bytes(2);
            this.scripts.learn(&body, flushes, hosts);
            // A script too large to be remembered here is known to those nodes alone that took it.
            let is_remembered = this.scripts.body(Sha::of(&body)).is_some();
            failed.filter(|_| !is_remembered).unwrap_or(first)
        }))
    }

    /// SCRIPT EXISTS: whether EVALSHA will find each script, wherever its keys are.
    fn scripts_exist(self: &Rc<Scripting>, request: &Request<'_>) -> Answer {
        let scripts = &self.scripts;
        let known: Vec<bool> = request
            .args()
            .skip(2)
            .map(|sha| Sha::named(sha).is_some_and(|sha| scripts.body(sha).is_some()))
            .collect();
        let call = Call::question(request.to_owned().bytes());
        let asked = if known.iter().all(|known| *known) { Vec::new() } else { self.context.ask_every(&call) };
        Answer::Later(Box::pin(async move {
            let mut everywhere = vec![!asked.is_empty(); known.len()];
            for (_, outcome) in asked {
                let frame = match outcome.await {
                    Ok(reply) => reply.frame,
                    Err(failure) => return failure_reply(&failure),
                };
                let bits: Option<Vec<i64>> =
                    cursor::elements(&frame).and_then(|bits| bits.map(|bit| cursor::integer(bit?)).collect());
                let Some(bits) = bits.filter(|bits| bits.len() == known.len()) else {
                    return odd_reply("SCRIPT EXISTS", &frame);
                };
                for (everywhere, bit) in everywhere.iter_mut().zip(bits) {
                    *everywhere &= bit == 1;
                }
            }
            let mut out = BytesMut::new();
            encode::array(&mut out, known.len());
            for (known, everywhere) in known.into_iter().zip(everywhere) {
                encode::integer(&mut out, i64::from(known || everywhere));
            }
            out.freeze()
        }))
    }
}

/// The node that said, as it reads, that it does not have the script.
fn said_no_script(outcome: &Outcome) -> Option<NodeIndex> {
    outcome.as_ref().ok().filter(|reply| reply.frame.starts_with(b"-NOSCRIPT"))?.by
}

/// Whether the reply shows that the server took the script in. Errors that may have come before that do not
/// count: of a script with flags (`#!lua flags=`) those that do not name the script.
fn was_compiled(outcome: &Outcome, body: &[u8]) -> bool {
    outcome.as_ref().is_ok_and(|UpstreamReply { frame, .. }| {
        let is_running = frame.starts_with(b"-ERR") && !frame.starts_with(b"-ERR Error compiling");
        let is_named = || frame.windows(8).any(|part| part == b"script: ");
        !frame.starts_with(b"-") || is_running && (!body.starts_with(b"#!") || is_named())
    })
}

/// The host that a reply came from, unless it was another one than the command was first sent to.
fn still_there(host: Option<NodeInstance>, outcome: &Outcome) -> Option<NodeInstance> {
    host.filter(|_| outcome.as_ref().is_ok_and(|reply| !reply.rerouted))
}
/// Whether the first line of a script has the flag `no-writes`.
fn has_no_writes(body: &[u8]) -> bool {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(line) = line.strip_prefix(b"#!") else { return false };
    let flags = line.split(|byte| *byte == b' ').find_map(|word| word.strip_prefix(b"flags="));
    flags.is_some_and(|flags| flags.split(|byte| *byte == b',').any(|flag| flag == b"no-writes"))
}
