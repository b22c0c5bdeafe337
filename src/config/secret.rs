//! Passwords: hidden from every log, and read from files.

use std::fmt;
use std::path::{Path, PathBuf};

use super::bounded_file;
use super::units::KIB;
use super::value;

/// A text that no log may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A secret and the file that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Where it is read again.
    pub path: PathBuf,
    /// What was in the file.
    pub secret: Secret,
}

/// Bytes of a file with a secret.
const SECRET_BYTES_MAX: usize = 64 * KIB;

// === impl Secret ===

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for a login with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Reads the secret in the file that `text` names.
pub(super) fn secret_file(text: &str) -> Result<SecretFile, String> {
    let path = value::path(text)?;
    read_secret(&path).map(|secret| SecretFile { path, secret })
}

/// Reads the secret in `file`, as it is now, without one newline at its end.
///
/// # Errors
/// The file cannot be read, or is empty or too long; the text says which.
pub fn read_secret(file: &Path) -> Result<Secret, String> {
    let secret = bounded_file::read(file, SECRET_BYTES_MAX)
        .map_err(|error| format!("cannot read the file: {error}"))?;
    let secret =
        secret.strip_suffix('\n').map_or(&*secret, |secret| secret.strip_suffix('\r').unwrap_or(secret));
    if secret.is_empty() { Err("the file is empty".to_owned()) } else { Ok(Secret::new(secret)) }
}
