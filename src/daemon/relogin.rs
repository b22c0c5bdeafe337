//! Reads the upstream's password again when a login is refused: it may have been rotated. Connections that
//! are open stay, and L1 with them.

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{self, Instant};

use super::secret_files::SecretFiles;
use crate::config::{self, Secret, SecretFile, SettingValues};
use crate::upstream::{Credentials, Login};

/// From one reading to the next at least: logins are refused as often as connections are tried.
const GAP: Duration = Duration::from_secs(1);

/// The logins of the daemon upstream. The servers never get the password of the Sentinels, and the Sentinels
/// never get the password of the servers.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) servers: Relogin,
    pub(super) sentinels: Relogin,
}

/// A login, and the file that its password comes from.
#[derive(Debug)]
pub(super) struct Relogin {
    pub(super) login: Login,
    /// The setting that names the file.
    setting: &'static str,
    file: Mutex<Option<PathBuf>>,
}

// === impl Logins ===

impl Logins {
    /// The logins that the configuration gives.
    pub(super) fn new(values: &SettingValues) -> Logins {
        let [servers, sentinels] = logins_of(values);
        Logins {
            servers: Relogin::new("upstream_password_file", servers),
            sentinels: Relogin::new("sentinel_password_file", sentinels),
        }
    }

    /// Takes what a reload has read.
    pub(super) fn take(&self, values: &SettingValues) {
        let [servers, sentinels] = logins_of(values);
        self.servers.take(servers);
        self.sentinels.take(sentinels);
    }

    /// Reads a password again after each login with it that was refused. Does not end by itself.
    pub(super) async fn renew_at_each_refusal(&self) {
        tokio::join!(self.servers.at_each_refusal(), self.sentinels.at_each_refusal());
    }
}

/// The logins at the servers and at the Sentinels, each with the file that the password comes from.
fn logins_of(values: &SettingValues) -> [(Option<Credentials>, Option<PathBuf>); 2] {
    let login = |username: &Option<String>, password: Option<&Secret>, file: &Option<SecretFile>| {
        let credentials = password.map(|password| Credentials {
            username: username.clone(),
            password: password.expose().to_owned(),
        });
        (credentials, file.as_ref().map(|file| file.path.clone()))
    };
    let url = &values.upstream;
    let sentinel = &values.sentinel_password_file;
    [
        login(&url.username, url.password.as_ref(), &values.upstream_password_file),
        login(&values.sentinel_username, sentinel.as_ref().map(|file| &file.secret), sentinel),
    ]
}

// === impl Relogin ===

impl Relogin {
    fn new(setting: &'static str, (credentials, file): (Option<Credentials>, Option<PathBuf>)) -> Relogin {
        Relogin { login: Login::new(credentials), setting, file: Mutex::new(file) }
    }

    fn take(&self, (credentials, file): (Option<Credentials>, Option<PathBuf>)) {
        *self.file.lock() = file;
        if self.login.replace(credentials) {
            tracing::info!(
                password = self.setting,
                "the upstream login was replaced: connections that are opened from now on use it"
            );
        }
    }

    /// Reads the password again after each login that was refused. Does not end by itself.
    async fn at_each_refusal(&self) {
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
