//! ACL: the daemon has one user, `default`, that may do everything; what Redis says when that is so.

use bytes::{Bytes, BytesMut};

use super::password::Password;
use crate::protocol::command::{CommandError, Denied, recognise};
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{MapReply, bulk, null, ok, printed, wrong_number};
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::{Resp, parse_integer};

/// ACL LIST.
pub(super) fn list(password: Option<Password>) -> Bytes {
    let password = password.map_or_else(|| "nopass".to_owned(), |password| format!("#{}", password.digest()));
    let mut out = BytesMut::new();
    encode::strings(&mut out, &[format!("user default on {password} ~* &* +@all")]);
    out.freeze()
}

/// ACL GETUSER.
pub(super) fn get_user(name: &[u8], password: Option<Password>, resp: Resp) -> Bytes {
    if name != b"default" {
        return null(resp);
    }
    let mut fields = MapReply::new(resp);
    let flags: &[&str] = if password.is_none() { &["on", "nopass"] } else { &["on"] };
    encode::set(fields.value("flags"), resp, flags);
    let digests: Vec<String> = password.iter().map(Password::digest).collect();
    encode::strings(fields.value("passwords"), &digests);
    fields.text("commands", "+@all");
    fields.text("keys", "~*");
    fields.text("channels", "&*");
    encode::array(fields.value("selectors"), 0);
    fields.into_map()
}

/// ACL LOG: nothing is refused to the one user.
pub(super) fn log(request: &Request<'_>) -> Bytes {
    match request.arg(2) {
        _ if request.len() == 2 => Bytes::from_static(b"*0\r\n"),
        _ if request.len() > 3 => wrong_number(request, "ACL"),
        option if option.eq_ignore_ascii_case(b"reset") => ok(),
        count if parse_integer(count).is_some() => Bytes::from_static(b"*0\r\n"),
        _ => encode::error_reply("ERR value is not an integer or out of range"),
    }
}

/// ACL DRYRUN user command: the one user may do it, if there is such a command and `deny_commands` does not
/// deny it.
pub(super) fn dry_run(request: &Request<'_>, denied: &Denied) -> Bytes {
    let user = request.arg(2);
    if user != b"default" {
        return encode::error_reply([b"ERR User '", printed(user), b"' not found"].concat());
    }
    let tried = OwnedRequest::from_args(request.args().skip(3));
    match recognise(&tried.as_request()) {
        Ok(spec) if denied.has(spec) => {
            bulk(format!("User default has no permissions to run the '{}' command", spec.name).as_bytes())
        }
        Ok(_) => ok(),
        Err(fault @ CommandError::Arity(_)) => fault.reply(&tried.as_request()),
        Err(_) => encode::error_reply([b"ERR Command '", printed(request.arg(3)), b"' not found"].concat()),
    }
}
