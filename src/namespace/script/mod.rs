//! Scripts in a namespace: what is put in front of their bodies, so that the names they use get the prefix.
//!
//! The prologue is Lua in one line, at the beginning of the body's first line, so the numbers of lines stay.
//! The body sees a `redis` and `KEYS` of the prologue's, which shadow the global ones. What else could lead
//! to the bare ones (`_G`, `load`, ...) is shadowed too in bodies that mention it: a name that a body does
//! not mention cannot be used by it.
//!
//! Must never know: who runs a script, and what the servers have of it.
//!
//! Begin with `prologue.lua`, then `table.rs` (what it knows of commands).

mod table;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use bytes::Bytes;

use super::outward::Outward;
use super::rewriter::Rewriter;
use super::scope::Scope;
use crate::protocol::command::{self, Spec};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};

/// Names that lead to the bare `redis`, beside `redis` itself.
const WAYS_OUT: [&[u8]; 6] = [b"server", b"_G", b"load", b"loadstring", b"getfenv", b"setfenv"];

/// Names through which a body may catch an error of `redis.call`.
const CATCHERS: [&[u8]; 5] = [b"xpcall", b"coroutine", b"_G", b"load", b"loadstring"];

/// What is shadowed in a body that mentions a way out, beside `redis` and `KEYS`.
const SHADOWED: &str = ",server,_G,loadstring,load";

/// The error for a command that a script in a namespace may not use.
const REFUSED: &str = "ERR nearside: {command} is not available to scripts in a namespace";

/// The error for a script that would go to another database of a cluster, where each is a namespace.
const APART: &str = "ERR nearside: a script does not reach another database of a cluster, where each is a \
                     namespace of its own";

/// The error for a script that mentions a way out, on a server where functions have environments.
const OLD: &str = "ERR nearside: a script in a namespace cannot use _G, load, loadstring, getfenv or setfenv \
                   before Redis 7.0";

/// The prologues: without and with the ways out, and each for bodies that may and may not catch errors.
static PROLOGUES: LazyLock<[String; 4]> =
    LazyLock::new(|| [(false, false), (false, true), (true, false), (true, true)].map(prologue));

// === impl Scope ===

impl Scope {
    /// The script that does in the namespace what `body` does on a Redis of its own.
    ///
    /// # Errors
    /// It is in another language than Lua: the error for the client.
    pub fn wrap_script(&self, body: &[u8]) -> Result<Bytes, Bytes> {
        let (shebang, lua) = match body.strip_prefix(b"#!") {
            None => (&body[..0], body),
            Some(rest) => {
                let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                    return Err(encode::error_reply("ERR Invalid script shebang"));
                };
                let engine = rest[..end].split(u8::is_ascii_whitespace).next().unwrap_or_default();
                if !engine.eq_ignore_ascii_case(b"lua") {
                    return Err(encode::error_reply(
                        "ERR nearside: scripts in a namespace have to be in Lua",
                    ));
                }
                body.split_at(end + 3)
            }
        };
        let has_ways_out = WAYS_OUT.iter().any(|name| mentions(lua, name));
        let catches = CATCHERS.iter().any(|name| mentions(lua, name)) || mentions_global(lua, b"pcall");
        let prologue = &PROLOGUES[usize::from(has_ways_out) * 2 + usize::from(catches)];
        let prefix = self.namespace().prefix(DbIndex::default());
        let prologue = prologue
            .replace("@PREFIX@", &String::from_utf8_lossy(self.prefix()))
            .replace("@CHANNELS@", &String::from_utf8_lossy(self.channel_prefix()))
            .replace("@NAME@", prefix.trim_end_matches(':'))
            .replace("@ONLY@", &self.only_number().map_or("nil".to_owned(), |number| number.to_string()))
            .replace("@LINE@", if shebang.is_empty() { "1" } else { "2" });
        Ok([shebang, prologue.as_bytes(), lua].concat().into())
    }

    /// Runs `script` in the place of what `request` names, which is EVAL or EVALSHA; it is the name of a
    /// script, or if `is_body` its text.
    pub fn outward_script(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        script: &[u8],
        is_body: bool,
        rewriter: &mut Rewriter,
    ) -> Outward {
        let name = match (is_body, spec.name.ends_with("_ro")) {
            (true, true) => "eval_ro",
            (true, false) => "eval",
            (false, true) => "evalsha_ro",
            (false, false) => "evalsha",
        };
        let positions: Vec<usize> = spec.keys.positions(request).into_iter().flatten().collect();
        // Its keys say where it runs. What has none runs anywhere, but where all keys of the namespace lie.
        let home = (self.slot().is_some() && request.arg(2) == b"0").then(|| self.home_key());
        let count: &[u8] = if home.is_some() { b"1" } else { request.arg(2) };
        let keys = request.args().enumerate().skip(3).map(|(at, arg)| match positions.contains(&at) {
            true => [self.prefix(), arg].concat(),
            false => arg.to_vec(),
        });
        let head = [name.to_ascii_uppercase().into_bytes(), script.to_vec(), count.to_vec()];
        let row = command::numbered(command::number_of(name)).unwrap_or(spec);
        rewriter.replace(OwnedRequest::from_args(head.into_iter().chain(home).chain(keys)));
        Outward::As(row)
    }

    /// A key that no client can name, in the slot of the others: no prefix begins like it.
    fn home_key(&self) -> Vec<u8> {
        let prefix = self.namespace().prefix(DbIndex::default());
        format!("{}!", prefix.trim_end_matches(':')).into_bytes()
    }
}

/// Whether `text` has the word `name`.
fn mentions(text: &[u8], name: &[u8]) -> bool {
    places(text, name).next().is_some()
}

/// Whether `text` has the word `name`, but as a field.
fn mentions_global(text: &[u8], name: &[u8]) -> bool {
    places(text, name).any(|at| at == 0 || text[at - 1] != b'.')
}

fn places(text: &[u8], name: &[u8]) -> impl Iterator<Item = usize> {
    let is_part = |at: Option<usize>| {
        at.and_then(|at| text.get(at)).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    memchr::memmem::find_iter(text, name)
        .filter(move |at| !is_part(at.checked_sub(1)) && !is_part(Some(at + name.len())))
}

fn prologue((has_ways_out, catches): (bool, bool)) -> String {
    let call = if catches { include_str!("call_caught.lua") } else { include_str!("call_final.lua") };
    let rest = if has_ways_out { include_str!("rest.lua") } else { "return R,k" };
    let text = include_str!("prologue.lua").replace("@CALL@", call).replace("@REST@", rest);
    let lines = text.lines().filter(|line| !line.starts_with("--"));
    lines
        .collect::<Vec<_>>()
        .join(" ")
        .replace("@LOCALS@", if has_ways_out { SHADOWED } else { "" })
        .replace("@TABLE@", table::text())
        .replace("@REFUSED@", REFUSED)
        .replace("@APART@", APART)
        .replace("@OLD@", OLD)
        + " "
}
