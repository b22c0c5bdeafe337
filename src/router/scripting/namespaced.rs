//! The scripts of namespaces: a client names a script by the SHA1 of its body, and the servers have it with a
//! prologue, under another name. One memory for all workers, with a bound.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::script_cache::{ScriptCache, Sha};
use crate::namespace::{Outward, Rewriter, Scope};
use crate::protocol::command::{ScriptAction, Spec};
use crate::protocol::resp::cursor::{Cursor, ReplyHead};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};

/// What keeping a script takes beside its body, roughly.
const OVERHEAD_BYTES: usize = 512;

/// The name that is sent for a script that is not known: no script has it, so the server answers as it does
/// for an unknown one.
const UNKNOWN: [u8; 40] = [b'0'; 40];

/// How a server's error begins that found a body not to be Lua.
const NOT_COMPILED: &[u8] = b"-ERR Error compiling script";

/// The scripts of namespaces.
#[derive(Debug)]
pub struct NamespacedScripts {
    /// What the servers have.
    sent: Arc<ScriptCache>,
    known: Mutex<ClientScripts>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct ClientScripts {
    /// By the namespace and the name that its clients use.
    scripts: HashMap<(Box<str>, Sha), NamespacedScript>,
    /// The name that clients use, by that of the servers.
    names: HashMap<Sha, Sha>,
    bytes: usize,
    /// Counts uses, so that the one that was not used for longest goes first.
    turn: u64,
}

#[derive(Debug)]
struct NamespacedScript {
    body: Bytes,
    used: u64,
    /// Its name on the servers, by the prefix of each database.
    sent: Vec<(Bytes, Sha)>,
}

/// A script as it is sent.
struct Sent {
    sha: Sha,
    /// Its body, if it is too large to be remembered.
    body: Option<Bytes>,
}

// === impl NamespacedScripts ===

impl NamespacedScripts {
    /// Remembers bodies of `bytes_max` bytes; the scripts that servers get are in `sent`.
    pub(in crate::router) fn new(sent: Arc<ScriptCache>, bytes_max: usize) -> NamespacedScripts {
        NamespacedScripts { sent, known: Mutex::default(), bytes_max }
    }

    /// What becomes of a command on scripts of a client in `scope`, and the name of the script that it
    /// brings or asks for.
    pub fn outward(
        &self,
        scope: &Scope,
        spec: &'static Spec,
        action: Option<ScriptAction>,
        request: &Request<'_>,
        rewriter: &mut Rewriter,
    ) -> (Outward, Option<Sha>) {
        let mut args: Vec<Bytes> = Vec::new();
        let shown;
        match action {
            Some(ScriptAction::Eval) => {
                let body = request.arg(1);
                let sha = Sha::of(body);
                return match self.known(scope, sha).map_or_else(|| self.learn(scope, sha, body), Ok) {
                    Ok(sent) => (run(scope, spec, request, &sent, rewriter), Some(sha)),
                    Err(error) => (Outward::Refused(error), None),
                };
            }
            Some(ScriptAction::EvalSha) if request.arg(1).len() != UNKNOWN.len() => {
                // It is the name of no script, which the server says before it looks for keys.
                let words = [request.arg(0), request.arg(1), &b"0"[..]];
                rewriter.replace(OwnedRequest::from_args(words));
                return (Outward::Rewritten, None);
            }
            Some(ScriptAction::EvalSha) => {
                let sent = Sha::named(request.arg(1)).and_then(|sha| self.known(scope, sha));
                let unknown =
                    || Sent { sha: Sha::named(&UNKNOWN).unwrap_or_else(|| Sha::of(b"")), body: None };
                return (run(scope, spec, request, &sent.unwrap_or_else(unknown), rewriter), None);
            }
            Some(ScriptAction::Load) => {
                let body = request.arg(2);
                let sha = Sha::of(body);
                if let Err(error) = self.learn(scope, sha, body) {
                    return (Outward::Refused(error), None);
                }
                match scope.wrap_script(body) {
                    Ok(wrapped) => args.push(wrapped),
                    Err(error) => return (Outward::Refused(error), None),
                }
                rewriter.replace(OwnedRequest::from_args([&b"SCRIPT"[..], b"LOAD", &args[0]]));
                return (Outward::Rewritten, Some(sha));
            }
            Some(ScriptAction::Flush) => {
                let option = request.arg(2);
                let is_known = request.len() == 2
                    || request.len() == 3
                        && (option.eq_ignore_ascii_case(b"sync") || option.eq_ignore_ascii_case(b"async"));
                if !is_known {
                    let error = "ERR SCRIPT FLUSH only support SYNC|ASYNC option";
                    return (Outward::Answered(encode::error_reply(error)), None);
                }
                self.forget_all(&scope.namespace().name);
                return (Outward::Answered(Bytes::from_static(b"+OK\r\n")), None);
            }
            // SCRIPT EXISTS and SCRIPT SHOW name scripts.
            Some(ScriptAction::Exists) | None => {
                shown = Sha::named(request.arg(2)).filter(|_| shows_script(spec));
                for name in request.args_from(2) {
                    let sent = Sha::named(name).and_then(|sha| self.known(scope, sha));
                    let name = sent.map_or(UNKNOWN, |sent| *sent.sha.as_bytes());
                    args.push(Bytes::copy_from_slice(&name));
                }
            }
            Some(ScriptAction::Function) => return (scope.outward(spec, request, rewriter), None),
        }
        let head = [request.arg(0), request.arg(1)];
        rewriter.replace(OwnedRequest::from_args(head.into_iter().chain(args.iter().map(|arg| &arg[..]))));
        (Outward::Rewritten, shown)
    }

    /// The reply to a command on scripts, with the names that clients use. `sha` is the script that it
    /// brought or asked for.
    pub fn inward(&self, scope: &Scope, spec: &Spec, sha: Option<Sha>, reply: Bytes) -> Bytes {
        if shows_script(spec) && !reply.starts_with(b"-ERR") {
            // The servers may have it under the names of other databases alone.
            return self.body(scope, sha).map_or(reply, |body| encode_bulk(&body));
        }
        match (reply.first(), sha) {
            (Some(b'-'), sha) => {
                if let Some(sha) = sha.filter(|_| reply.starts_with(NOT_COMPILED)) {
                    self.forget(&scope.namespace().name, sha);
                }
                self.renamed(reply)
            }
            (_, Some(sha)) if spec.name == "script|load" => encode_bulk(sha.as_bytes()),
            _ => reply,
        }
    }

    /// The reply to EXEC, with the names that clients use for scripts.
    pub fn inward_of_exec(&self, reply: Bytes) -> Bytes {
        if reply.first() == Some(&b'-') || !reply.contains(&b'-') {
            return reply;
        }
        let mut cursor = Cursor::new(&reply);
        let Some(ReplyHead::Aggregate { count, .. }) = cursor.head_of_value() else { return reply };
        let head = reply.len() - cursor.rest().len();
        let mut out = BytesMut::from(&reply[..head]);
        for _ in 0..count {
            let Some(element) = cursor.element() else { return reply };
            if element.first() == Some(&b'-') {
                out.extend_from_slice(&self.renamed(Bytes::copy_from_slice(element)));
            } else {
                out.extend_from_slice(element);
            }
        }
        out.freeze()
    }

    /// An error, in which scripts have the names that clients use.
    fn renamed(&self, error: Bytes) -> Bytes {
        let known = self.known.lock();
        let mut out: Option<BytesMut> = None;
        let mut at = 0;
        while at + 40 <= error.len() {
            let name = Sha::named(&error[at..at + 40]).and_then(|sha| known.names.get(&sha));
            if let Some(name) = name {
                out.get_or_insert_with(|| BytesMut::from(&error[..]))[at..at + 40]
                    .copy_from_slice(name.as_bytes());
                at += 39;
            }
            at += 1;
        }
        out.map_or(error, BytesMut::freeze)
    }

    /// The script that clients of `scope` name `sha`.
    fn known(&self, scope: &Scope, sha: Sha) -> Option<Sent> {
        let (body, sent) = {
            let mut known = self.known.lock();
            known.turn += 1;
            let turn = known.turn;
            let script = known.scripts.get_mut(&(scope.namespace().name.clone(), sha))?;
            script.used = turn;
            let sent = script.sent.iter().find(|(prefix, _)| prefix == scope.prefix()).map(|(_, sha)| *sha);
            (script.body.clone(), sent)
        };
        match sent.filter(|sent| self.sent.body(*sent).is_some()) {
            Some(sha) => Some(Sent { sha, body: None }),
            None => self.learn(scope, sha, &body).ok(),
        }
    }

    /// Remembers the script `body`, which clients name `sha`.
    fn learn(&self, scope: &Scope, sha: Sha, body: &[u8]) -> Result<Sent, Bytes> {
        let wrapped = scope.wrap_script(body)?;
        let sent = Sha::of(&wrapped);
        self.sent.learn(&wrapped, self.sent.flushes(), []);
        let body_if_large = self.sent.body(sent).is_none().then_some(wrapped);
        let bytes = body.len() + OVERHEAD_BYTES;
        if bytes <= self.bytes_max {
            let mut known = self.known.lock();
            let key = (scope.namespace().name.clone(), sha);
            if !known.scripts.contains_key(&key) {
                while known.bytes + bytes > self.bytes_max && known.forget_oldest() {}
                known.bytes += bytes;
            }
            known.turn += 1;
            let turn = known.turn;
            known.names.insert(sent, sha);
            let fresh =
                || NamespacedScript { body: Bytes::copy_from_slice(body), used: turn, sent: Vec::new() };
            let script = known.scripts.entry(key).or_insert_with(fresh);
            if !script.sent.iter().any(|(prefix, _)| prefix == scope.prefix()) {
                script.sent.push((scope.prefix().clone(), sent));
            }
        }
        Ok(Sent { sha: sent, body: body_if_large })
    }

    /// The body of the script that clients of `scope` name `sha`.
    fn body(&self, scope: &Scope, sha: Option<Sha>) -> Option<Bytes> {
        let key = (scope.namespace().name.clone(), sha?);
        self.known.lock().scripts.get(&key).map(|script| script.body.clone())
    }

    fn forget(&self, namespace: &str, sha: Sha) {
        self.known.lock().remove(&(namespace.into(), sha));
    }

    /// SCRIPT FLUSH: the servers keep theirs, which others may use.
    fn forget_all(&self, namespace: &str) {
        let mut known = self.known.lock();
        let own: Vec<_> = known.scripts.keys().filter(|(name, _)| &**name == namespace).cloned().collect();
        own.iter().for_each(|key| known.remove(key));
    }
}

// === impl ClientScripts ===

impl ClientScripts {
    fn remove(&mut self, key: &(Box<str>, Sha)) {
        let Some(script) = self.scripts.remove(key) else { return };
        self.bytes -= script.body.len() + OVERHEAD_BYTES;
        for (_, sent) in script.sent {
            self.names.remove(&sent);
        }
    }

    /// Forgets the script that was not used for longest; whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.scripts.iter().min_by_key(|(_, script)| script.used).map(|(key, _)| key.clone());
        oldest.inspect(|key| self.remove(key)).is_some()
    }
}

fn run(
    scope: &Scope,
    spec: &'static Spec,
    request: &Request<'_>,
    sent: &Sent,
    rewriter: &mut Rewriter,
) -> Outward {
    match &sent.body {
        Some(body) => scope.outward_script(spec, request, body, true, rewriter),
        None => scope.outward_script(spec, request, sent.sha.as_bytes(), false, rewriter),
    }
}

/// Whether the reply to a command is the body of a script.
fn shows_script(spec: &Spec) -> bool {
    spec.name == "script|show"
}

fn encode_bulk(text: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(text.len() + 16);
    encode::bulk(&mut out, text);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{ChannelRule, Namespace};
    use crate::protocol::db::DbIndex;

    fn scope(name: &str, database: u32) -> Scope {
        let namespace = Namespace { name: name.into(), pinned: false, channels: ChannelRule::Own };
        Scope::new(Arc::new(namespace), DbIndex::new(database))
    }

    #[test]
    fn the_scripts_of_namespaces_stay_within_their_bound() {
        let bytes_max = 3 * (OVERHEAD_BYTES + 8);
        let scripts = NamespacedScripts::new(Arc::new(ScriptCache::new(1 << 20)), bytes_max);
        let scope = scope("app", 0);
        for number in 0..10 {
            let body = format!("return {number}").into_bytes();
            scripts.learn(&scope, Sha::of(&body), &body).unwrap();
            let known = scripts.known.lock();
            assert!(known.bytes <= bytes_max && known.names.len() == known.scripts.len());
        }
        assert!(scripts.known(&scope, Sha::of(b"return 9")).is_some());
        assert!(scripts.known(&scope, Sha::of(b"return 0")).is_none());
    }

    #[test]
    fn a_script_has_a_name_on_the_servers_for_each_database() {
        let scripts = NamespacedScripts::new(Arc::new(ScriptCache::new(1 << 20)), 1 << 20);
        let (body, sha) = (b"return 1", Sha::of(b"return 1"));
        let zero = scripts.learn(&scope("app", 0), sha, body).unwrap().sha;
        let three = scripts.known(&scope("app", 3), sha).unwrap().sha;
        assert!(zero != three && scripts.known(&scope("app", 0), sha).unwrap().sha == zero);
        assert!(scripts.known(&scope("other", 0), sha).is_none());
        let text = |sha: Sha| String::from_utf8(sha.as_bytes().to_vec()).unwrap();
        let error = format!("-ERR x script: {}, on @user_script:1.\r\n", text(three));
        assert_eq!(
            scripts.renamed(error.into()),
            format!("-ERR x script: {}, on @user_script:1.\r\n", text(sha))
        );
        scripts.forget_all("other");
        assert!(scripts.known(&scope("app", 0), sha).is_some());
        scripts.forget_all("app");
        assert!(scripts.known(&scope("app", 0), sha).is_none() && scripts.known.lock().bytes == 0);
    }
}
