//! The credentials upstream: one value that all connections read when they log in, and that is replaced when
//! the password changes. Open connections stay open: a server asks for a login once.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::Notify;

/// The name and password that the daemon itself uses upstream.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `None` is the user `default`.
    pub username: Option<String>,
    /// The password.
    pub password: String,
}

/// The credentials that hold now, if any; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Login(Arc<SharedLogin>);

#[derive(Debug, Default)]
struct SharedLogin {
    present: RwLock<Option<Credentials>>,
    refused: Notify,
}

/// What a server answers to a login with a wrong password, or by a user that is unknown or disabled.
const WRONG: &str = "WRONGPASS";

// === impl Login ===

impl Login {
    /// The credentials that the daemon begins with.
    pub fn new(credentials: Option<Credentials>) -> Login {
        Login(Arc::new(SharedLogin { present: RwLock::new(credentials), refused: Notify::new() }))
    }

    /// The credentials that hold now.
    pub fn present(&self) -> Option<Credentials> {
        self.0.present.read().clone()
    }

    /// Replaces the credentials, for connections that are opened from now on; returns whether they differ.
    pub fn replace(&self, credentials: Option<Credentials>) -> bool {
        let mut present = self.0.present.write();
        let differ = *present != credentials;
        *present = credentials;
        differ
    }

    /// Notes an error in the answer to a login. Call it only for that answer: a later error may have the text
    /// of a client.
    pub fn note(&self, error: &str) {
        if error.starts_with(WRONG) {
            self.0.refused.notify_one();
        }
    }

    /// Ends when a login was refused since the last time.
    pub async fn refused(&self) {
        self.0.refused.notified().await;
    }
}

// === impl Credentials ===

impl fmt::Debug for Credentials {
    /// Hides the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(username: {:?})", self.username)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn credentials(password: &str) -> Option<Credentials> {
        Some(Credentials { username: None, password: password.to_owned() })
    }

    #[test]
    fn what_is_replaced_is_replaced_for_all() {
        let login = Login::new(credentials("old"));
        let other = login.clone();
        assert!(!login.replace(credentials("old")));
        assert!(login.replace(credentials("new")));
        assert_eq!(other.present(), credentials("new"));
        assert!(!format!("{other:?}").contains("new"));
    }

    #[test]
    fn only_a_login_that_was_refused_is_a_reason_to_look_again() {
        let login = Login::default();
        login.note("NOPERM this user has no permissions to run the 'hello' command");
        login.note("ERR unknown command 'HELLO' WRONGPASS");
        assert_eq!(login.refused().now_or_never(), None);
        login.note("WRONGPASS invalid username-password pair or user is disabled.");
        login.note("WRONGPASS invalid username-password pair or user is disabled.");
        assert_eq!(login.refused().now_or_never(), Some(()));
        assert_eq!(login.refused().now_or_never(), None, "several are one reason");
    }
}
