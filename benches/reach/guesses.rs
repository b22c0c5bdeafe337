//! How many passwords a second one connection can try.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Address, Standalone};
use tokio::time::Instant;

use crate::figures::print;
use crate::probe::patient;
use crate::support::daemon::Daemon;
use crate::support::servers::sandbox;

const TIME: Duration = Duration::from_secs(10);

/// Tried in one go.
const DEPTH: usize = 16;

pub(crate) fn measure() {
    let server = Standalone::launch(&["--requirepass".to_owned(), "password".to_owned()]).unwrap();
    let password = sandbox().path().join("password-of-guesses");
    fs::write(&password, "password").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let file = password.to_str().unwrap();
    let url = format!("redis://{}", server.server().address());
    let daemon =
        Daemon::start(&["--upstream", &url, "--upstream-password-file", file, "--password-file", file]);
    let plain = guesses(&Address::Tcp(server.server().address()));
    let own = guesses(daemon.address());
    let what = "passwords that one connection tries in a second (calm: a plain server)";
    print(what, format!("{plain:.0}"), format!("{own:.1}"), "-", "under 10");
}

fn guesses(address: &Address) -> f64 {
    let mut client = patient(address);
    let many = encode(&["AUTH", "guess"]).repeat(DEPTH);
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < TIME {
        client.send_raw(&many).unwrap();
        for _ in 0..DEPTH {
            assert!(client.receive().unwrap().is_error());
            count += 1;
        }
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}
