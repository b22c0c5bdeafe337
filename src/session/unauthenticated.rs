//! What a client may do before it has authenticated.

use bytes::{Bytes, BytesMut};

use crate::commands::SessionContext;
use crate::protocol::command::{CommandError, Flags, Spec};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::Answer;

const NO_AUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
const EXEC_ABORT: &[u8] = b"-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n";

/// The error for a command of a client that has not authenticated; `None` for commands that are open to it.
pub(super) fn refuse(spec: &Spec) -> Option<Bytes> {
    let refused = !spec.flags.has(Flags::NO_AUTH);
    refused.then(|| Bytes::from_static(if spec.is_exec() { EXEC_ABORT } else { NO_AUTH }))
}

/// The error for what is no command, of a client that has not authenticated. No server is asked whether one
/// of its modules knows the command.
pub(super) fn refuse_unrecognised(
    fault: CommandError,
    request: &Request<'_>,
    context: &SessionContext,
) -> Answer {
    if let Some(wait) = context.router.wait_for_upstream() {
        // Redis and Valkey say different things: the first clients wait a moment until it is known which it
        // is.
        return wait;
    }
    if matches!(fault, CommandError::Denied(_)) {
        return Answer::Now(Bytes::from_static(NO_AUTH));
    }
    if context.report.is_valkey() && !fault.is_open() {
        let error = if fault.is_of_exec() { EXEC_ABORT } else { NO_AUTH };
        return Answer::Now(Bytes::from_static(error));
    }
    if fault.is_of_exec() {
        let cause = "wrong number of arguments for 'exec' command";
        let error = format!("EXECABORT Transaction discarded because of: {cause}");
        return Answer::Now(encode::error_reply(error));
    }
    let mut out = BytesMut::new();
    fault.write(request, &mut out);
    Answer::Now(out.freeze())
}
