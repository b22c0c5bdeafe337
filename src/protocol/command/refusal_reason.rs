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
    /// It would change one server's settings and leave the others.
    SingleServers,
    /// Replication is between the servers of the cluster.
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
            RefusalReason::SingleServers => "it would change one server of the cluster and leave the others",
            RefusalReason::Replication => "replication is between the servers of the cluster",
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
        let reply = RefusalReason::SingleServers.reply(recognise(&request.as_request()).unwrap());
        assert_eq!(
            &reply[..],
            b"-ERR MODULE LOAD is not available through nearside: \
              it would change one server of the cluster and leave the others\r\n"
        );
    }
}
