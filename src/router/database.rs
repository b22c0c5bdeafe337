//! COPY, MOVE and SWAPDB, which name databases, in front of a cluster with one database: the answers are
//! those of a Redis with `databases 1`.

use bytes::Bytes;

use crate::protocol::command::Database;
use crate::protocol::db::DbIndex;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;

const NO_SUCH_DATABASE: &str = "ERR DB index is out of range";

/// The answer to a request that no server must carry out, because it names another database or changes
/// nothing.
pub(super) fn without_server(database: Database, request: &Request<'_>) -> Option<Bytes> {
    let error = match database {
        Database::Copy => copy_error(request)?,
        Database::Move => match DbIndex::number_in(request.arg(2)) {
            Ok(0) => "ERR source and destination objects are the same",
            Ok(_) => NO_SUCH_DATABASE,
            Err(error) => error,
        },
        Database::Swap => match (DbIndex::number_in(request.arg(1)), DbIndex::number_in(request.arg(2))) {
            (Err(_), _) => "ERR invalid first DB index",
            (_, Err(_)) => "ERR invalid second DB index",
            (Ok(0), Ok(0)) => return Some(Bytes::from_static(b"+OK\r\n")),
            _ => NO_SUCH_DATABASE,
        },
    };
    Some(encode::error_reply(error))
}

/// Whether a reply says that a server does not have a database. Redis has one in a cluster, Valkey as many as
/// its `cluster-databases`.
pub fn is_of_missing_database(reply: &[u8]) -> bool {
    reply.starts_with(b"-ERR DB index is out of range")
        || reply.starts_with(b"-ERR SELECT is not allowed in cluster mode")
}

/// What is wrong with the database that COPY names, as far as a server of a cluster says it in other words.
fn copy_error(request: &Request<'_>) -> Option<&'static str> {
    let mut at = 3;
    while at < request.len() {
        if request.arg(at).eq_ignore_ascii_case(b"db") && at + 1 < request.len() {
            match DbIndex::number_in(request.arg(at + 1)) {
                Ok(0) => at += 1,
                Ok(_) => return Some(NO_SUCH_DATABASE),
                Err(error) => return Some(error),
            }
        } else if !request.arg(at).eq_ignore_ascii_case(b"replace") {
            // The server says what it thinks of it.
            return None;
        }
        at += 1;
    }
    None
}
