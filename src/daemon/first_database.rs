//! The database of the URL, in which clients begin: whether the server has it.

use std::rc::Rc;
use std::time::Duration;

use crate::protocol::db::DbIndex;
use crate::router::Router;

/// Time between two questions to a server that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks the server for `database` until there is an answer, and logs an error if it does not have it.
pub(super) async fn verify(router: Rc<Router>, database: DbIndex) {
    while let Err(error) = router.queries.ask_in(database).await {
        if error.starts_with(b"-ERR DB index is out of range") {
            let database = database.number();
            tracing::error!(
                database,
                "the server does not have the database that upstream names: clients get errors until they SELECT another one"
            );
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    router.queries.note_database(database);
}
