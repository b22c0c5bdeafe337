//! Reads the upstream's password again when a login is refused: it may have been rotated. Connections that
//! are open stay, and L1 with them.

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{self, Instant};

use super::secret_files::SecretFiles;
use crate::config::{self, SecretFile};
use crate::upstream::{Credentials, Login};

/// From one reading to the next at least: logins are refused as often as connections are tried.
const GAP: Duration = Duration::from_secs(1);

/// The path of a file with a password.
pub(super) fn path_of(file: &Option<SecretFile>) -> Option<PathBuf> {
    file.as_ref().map(|file| file.path.clone())
}

/// The login, and where its password comes from.
#[derive(Debug)]
pub(super) struct Relogin {
    login: Login,
    /// The setting that names the file.
    setting: &'static str,
    file: Mutex<Option<PathBuf>>,
}

// === impl Relogin ===

impl Relogin {
    /// Reads the password of `login` from `file`, which `setting` names; without one there is nowhere to
    /// look.
    pub(super) fn new(login: Login, setting: &'static str, file: Option<PathBuf>) -> Relogin {
        Relogin { login, setting, file: Mutex::new(file) }
    }

    /// Takes what a reload has read.
    pub(super) fn take(&self, credentials: Option<Credentials>, file: Option<PathBuf>) {
        *self.file.lock() = file;
        if self.login.replace(credentials) {
            tracing::info!(
                password = self.setting,
                "the upstream login was replaced: connections that are opened from now on use it"
            );
        }
    }

    /// Reads the password again after each login that was refused. Does not end by itself.
    pub(super) async fn at_each_refusal(&self) {
        let mut reading = SecretFiles::new("the password");
        let mut said = String::new();
        loop {
            self.login.refused().await;
            let begun = Instant::now();
            let file = self.file.lock().clone();
            let outcome = match file {
                Some(file) => {
                    let read = reading.again(move || config::read_secret(&file)).await;
                    read.and_then(|secret| secret).map(|secret| self.replace_password(secret.expose()))
                }
                None => Err(format!(
                    "its password comes from no file ({}), which could be read again",
                    self.setting
                )),
            };
            // Once for each trouble, not for each attempt.
            let says = match outcome {
                Ok(true) => {
                    tracing::info!(
                        password = self.setting,
                        "the upstream refused the login, and the password in its file is another: using it"
                    );
                    String::new()
                }
                Ok(false) => "the password in its file is the one that was refused".to_owned(),
                Err(error) => error,
            };
            if said != says && !says.is_empty() {
                tracing::error!(
                    password = self.setting,
                    why = says,
                    "the upstream refuses the login; the former password is kept"
                );
            }
            said = says;
            time::sleep_until(begun + GAP).await;
        }
    }

    /// Whether `password` is another than before.
    fn replace_password(&self, password: &str) -> bool {
        let username = self.login.present().and_then(|present| present.username);
        self.login.replace(Some(Credentials { username, password: password.to_owned() }))
    }
}
