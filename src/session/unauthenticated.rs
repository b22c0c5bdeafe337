//! The commands that a client may send before it has authenticated.

use bytes::Bytes;

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

/// The error for a request that the table does not recognise, of a client that has not authenticated. Nothing
/// is known of a module's command that no other client has used.
pub(super) fn refuse_unrecognised(
    fault: CommandError,
    request: &Request<'_>,
    context: &SessionContext,
) -> Answer {
    let is_of_module =
        || fault == CommandError::Unknown && context.router.unknown_commands.known(request.arg(0)).is_some();
    if matches!(fault, CommandError::Denied(_)) || is_of_module() {
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
    Answer::Now(fault.reply(request))
}
