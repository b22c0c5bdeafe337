//! The password of the daemon's own clients, and what one may do before it has said it.

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use subtle::ConstantTimeEq;

use super::SessionContext;
use super::server_state::ServerState;
use super::state::SessionState;
use super::transaction::is_valkey;
use crate::clock;
use crate::protocol::command::{CommandError, Flags, Local, Spec};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::Answer;

const NO_AUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
const EXEC_ABORT: &[u8] = b"-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n";

/// What is remembered of the password: its SHA-256, which is what ACL LIST shows of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Password([u8; 32]);

// === impl Password ===

impl Password {
    /// Remembers `password`.
    pub fn new(password: &[u8]) -> Password {
        Password(hmac_sha256::Hash::hash(password))
    }

    /// Whether `text` is the password. How long that takes tells nothing of either.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        hmac_sha256::Hash::hash(text).ct_eq(&self.0).into()
    }

    /// The SHA-256 in hexadecimal digits.
    pub(super) fn digest(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What must be waited for before the password in `request` is looked at: where some were wrong, those who
/// come from one address take turns. Whoever is in knows the password already, and has nothing to guess.
pub(super) fn wait_for_turn(
    local: Local,
    request: &Request<'_>,
    state: &mut SessionState,
    desk: &ServerState,
) -> Option<LocalBoxFuture<'static, ()>> {
    let says_one = match local {
        Local::Auth => true,
        Local::Hello => request.args().skip(2).any(|option| option.eq_ignore_ascii_case(b"auth")),
        _ => false,
    };
    if !state.is_locked() || !says_one || std::mem::take(&mut state.has_turn) {
        return None;
    }
    let wait = desk.gate.turn(&state.client.endpoints, state.was_wrong, clock::now())?;
    state.has_turn = true;
    Some(Box::pin(tokio::time::sleep(wait)))
}

/// Notes whether the password was right; `None` when none was looked at.
pub(super) fn note(right: Option<bool>, state: &mut SessionState, context: &SessionContext) {
    if !context.desk.asks_password() {
        return;
    }
    if right == Some(false) {
        state.was_wrong = true;
        context.stats.auth_failures.bump();
        context.desk.gate.note_wrong(&state.client.endpoints, clock::now());
    } else {
        context.desk.gate.note_right(&state.client.endpoints);
    }
}

/// What a client that has not said the password is told of a command; `None` for those that are open to it.
pub(super) fn refuse(spec: &Spec) -> Option<Bytes> {
    let refused = !spec.flags.has(Flags::NO_AUTH);
    refused.then(|| Bytes::from_static(if spec.name == "exec" { EXEC_ABORT } else { NO_AUTH }))
}

/// What it is told of what is no command. No server is asked whether a module of it knows it.
pub(super) fn refuse_unrecognised(
    fault: CommandError,
    request: &Request<'_>,
    context: &SessionContext,
) -> Answer {
    if let Some(wait) = context.proxy.wait_for_upstream() {
        // Redis and Valkey say different things: the first clients wait a moment until it is known which it
        // is.
        return wait;
    }
    if matches!(fault, CommandError::Denied(_)) {
        return Answer::Now(Bytes::from_static(NO_AUTH));
    }
    let open = matches!(fault, CommandError::Arity("auth" | "hello" | "quit" | "reset"));
    if is_valkey(context) && !open {
        let error = if fault == CommandError::Arity("exec") { EXEC_ABORT } else { NO_AUTH };
        return Answer::Now(Bytes::from_static(error));
    }
    if fault == CommandError::Arity("exec") {
        let cause = "wrong number of arguments for 'exec' command";
        let error = format!("EXECABORT Transaction discarded because of: {cause}");
        return Answer::Now(encode::error_reply(error));
    }
    let mut out = BytesMut::new();
    fault.write(request, &mut out);
    Answer::Now(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::Password;

    #[test]
    fn only_the_password_is_the_password() {
        let password = Password::new(b"secret");
        assert!(password.is(b"secret"));
        for wrong in [&b""[..], b"secre", b"secret\n", b"Secret", b"secret\0"] {
            assert!(!password.is(wrong), "{wrong:?}");
        }
        let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(password.digest(), digest, "as ACL LIST of Redis has it");
    }
}
