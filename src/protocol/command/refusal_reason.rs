//! Why some commands of Redis are not for clients of this daemon, and the errors that they get.

use bytes::Bytes;

use super::Spec;
use crate::protocol::resp::encode;

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// For its clients the daemon is a standalone Redis, which has no cluster.
    NoCluster,
    /// It acts on the one server that it is sent to, and the upstream may have many.
    OneServer,
    /// It would end the server, or change data in a way that the server does not tell of.
    Harmful,
    /// It would change the users of the server, but clients of the daemon do not log in there.
    Users,
    /// What a server loads and runs is its operator's.
    Modules,
    /// The server would wait for the next word of this client alone.
    Debugger,
    /// Replication is between the servers.
    Replication,
    /// The file that the daemon was configured from is the operator's.
    OwnFile,
}

// === impl RefusalReason ===

impl RefusalReason {
    /// The error reply to `spec`'s command.
    pub fn reply(self, spec: &Spec) -> Bytes {
        let why = match self {
            RefusalReason::NoCluster => {
                return encode::error_reply("ERR This instance has cluster support disabled");
            }
            RefusalReason::OneServer => "it acts on one server, and many stand behind nearside",
            RefusalReason::Harmful => {
                "it would end the server, or change data behind the back of all its clients"
            }
            RefusalReason::Users => {
                "it is about those who log in at the servers, and clients log in at nearside"
            }
            RefusalReason::Modules => "the code that servers load is left to their operator",
            RefusalReason::Debugger => "a server that is debugged serves one client alone",
            RefusalReason::Replication => "replication is between the servers",
            RefusalReason::OwnFile => "it does not write its own configuration file",
        };
        let name = spec.name.to_ascii_uppercase().replace('|', " ");
        encode::error_reply(format!("ERR {name} is not available through nearside: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::command::recognise;
    use crate::protocol::resp::request::OwnedRequest;

    #[test]
    fn a_refusal_names_the_command_and_the_reason() {
        let request = OwnedRequest::from_args(["module", "load", "path"]);
        let reply = RefusalReason::Modules.reply(recognise(&request.as_request()).unwrap());
        assert_eq!(
            &reply[..],
            b"-ERR MODULE LOAD is not available through nearside: \
              the code that servers load is left to their operator\r\n"
        );
    }
}
