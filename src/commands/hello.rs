//! HELLO and AUTH: the version of the protocol, and authentication.
//!
//! The daemon has one user, with the password of `password_file` or without one, as a Redis with
//! `requirepass` or a fresh one.

use bytes::Bytes;

use super::client::about_itself::{NAME_BYTES_MAX, TOO_LONG, is_valid_name};
use super::client_state::ClientState;
use super::context::SessionContext;
use super::login;
use super::report::ServerReport;
use super::server_state::ServerState;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{MapReply, ok, printed};
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{Resp, parse_integer};
use crate::upstream::ProxyChain;

const NAME_REFUSED: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const HELLO_NO_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
const VALKEY_HELLO_NO_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";

/// HELLO with its options. But for the name, nothing changes unless all of it is right.
pub(super) fn hello(request: &Request<'_>, client: &mut ClientState, context: &SessionContext) -> Bytes {
    let report = &context.report;
    // Redis 7.0 acts on each option when it reads it, whatever is wrong behind it; Valkey does so at the end.
    let at_once = report.server_facts().valkey_version.is_none();
    let mut options = HelloOptions::default();
    let mut read = read_options(request, client.resp(), at_once, &context.server, &mut options);
    let right = options.login.unwrap_or(false);
    if request.args().skip(2).any(|option| option.eq_ignore_ascii_case(b"auth")) {
        login::note(options.login, client, context);
    }
    if right && (read.is_ok() || at_once) {
        client.unlock();
    }
    if options.login == Some(false) && read.is_ok() {
        read = Err(WRONG_PASSWORD.into());
    }
    if client.is_locked() && read.is_ok() {
        read = Err(if at_once { HELLO_NO_AUTH } else { VALKEY_HELLO_NO_AUTH }.into());
    }
    if let Some(name) = options.name
        && (read.is_ok() || at_once)
    {
        client.entry.names().client = name;
    }
    match read {
        Ok(resp) => {
            client.set_resp(resp);
            greeting(client, report)
        }
        Err(error) => encode::error_reply(error),
    }
}

/// AUTH password, and AUTH user password.
pub(super) fn auth(request: &Request<'_>, client: &mut ClientState, context: &SessionContext) -> Bytes {
    let server = &context.server;
    let admitted = match request.len() {
        2 if !server.asks_password() => return encode::error_reply(NO_PASSWORD),
        2 => server.admits(b"default", request.arg(1)),
        3 => server.admits(request.arg(1), request.arg(2)),
        _ => {
            login::note(None, client, context);
            return encode::error_reply("ERR syntax error");
        }
    };
    login::note(Some(admitted), client, context);
    if !admitted {
        return encode::error_reply(WRONG_PASSWORD);
    }
    client.unlock();
    ok()
}

/// What the options of HELLO want.
#[derive(Debug, Default)]
struct HelloOptions {
    name: Option<Vec<u8>>,
    /// Whether user and password are right, if they were given.
    login: Option<bool>,
}

/// The version that is wanted; what else is, goes to `options`.
fn read_options(
    request: &Request<'_>,
    present: Resp,
    at_once: bool,
    server: &ServerState,
    options: &mut HelloOptions,
) -> Result<Resp, Vec<u8>> {
    if request.len() == 1 {
        return Ok(present);
    }
    let version =
        parse_integer(request.arg(1)).ok_or("ERR Protocol version is not an integer or out of range")?;
    let resp = match version {
        2 => Resp::Two,
        3 => Resp::Three,
        _ => return Err("NOPROTO unsupported protocol version".into()),
    };
    let mut at = 2;
    while at < request.len() {
        let option = request.arg(at);
        let following = request.len() - 1 - at;
        if option.eq_ignore_ascii_case(b"auth") && following >= 2 {
            let admitted = server.admits(request.arg(at + 1), request.arg(at + 2));
            options.login = Some(admitted);
            if !admitted && at_once {
                break;
            }
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && following >= 1 {
            let wanted = request.arg(at + 1);
            if !is_valid_name(wanted) {
                return Err(NAME_REFUSED.into());
            }
            if wanted.len() > NAME_BYTES_MAX {
                return Err(TOO_LONG.into());
            }
            options.name = Some(wanted.to_vec());
            at += 2;
        } else {
            return Err([&b"ERR Syntax error in HELLO option '"[..], printed(option), b"'"].concat());
        }
    }
    Ok(resp)
}

fn greeting(client: &ClientState, report: &ServerReport) -> Bytes {
    let facts = report.server_facts();
    let (server, version) = match (&facts.server_name, &facts.valkey_version) {
        (Some(name), Some(version)) => (&**name, version),
        _ => ("redis", &facts.redis_version),
    };
    let mut fields = MapReply::new(client.resp());
    fields.text("server", server);
    fields.text("version", version);
    fields.number("proto", if client.resp() == Resp::Three { 3 } else { 2 });
    fields.number("id", client.entry.id as i64);
    fields.text("mode", "standalone");
    fields.text("role", "master");
    encode::array(fields.value("modules"), 0);
    if client.entry.names().client == ProxyChain::FIELD.as_bytes() {
        fields.text(ProxyChain::FIELD, &report.upstream.proxy_chain.names());
    }
    fields.into_map()
}
