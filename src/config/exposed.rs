//! Warnings about passwords that other users of this machine can read. They do not keep the daemon from
//! starting.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::settings::KEYS;
use super::source::Source;
use super::upstream_url::UpstreamUrl;
use super::validator::Validator;

/// Others may read it.
const OTHERS_READ: u32 = 0o004;

/// What is to be said of the passwords that `read` was given.
pub(super) fn warnings(read: &Validator<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((text, source)) = read.given("upstream")
        && UpstreamUrl::parse(text).is_ok_and(|url| url.password.is_some())
    {
        let better = "better name a file in upstream_password_file";
        match source {
            Source::Flag(flag) => warnings.push(format!(
                "--{flag}: the password stands on the command line, where everybody on this machine can read it; {better}"
            )),
            Source::File(path, _) if others_read(path) => warnings.push(format!(
                "upstream ({source}): everybody on this machine can read that file, and the password in it; {better}, or \
                 chmod o-r"
            )),
            Source::File(..) | Source::Variable(_) | Source::Default => {}
        }
    }
    for key in KEYS.iter().filter(|key| key.name.ends_with("password_file")) {
        if let Some((path, source)) = read.given(key.name)
            && others_read(Path::new(path))
        {
            warnings.push(format!(
                "{} = {path:?} ({source}): everybody on this machine can read that file; chmod o-r",
                key.name
            ));
        }
    }
    warnings
}

/// Whether others than its owner and its group may read the file. A pipe is there for its reader.
fn others_read(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & OTHERS_READ != 0)
}
