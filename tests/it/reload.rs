//! SIGHUP: what is read again beside the policies and the login upstream, and what is only told of.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nearside::sandbox::Standalone;

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

const SOON: Duration = Duration::from_secs(30);

struct Setup {
    upstream: Standalone,
    daemon: Daemon,
    file: PathBuf,
    secret: PathBuf,
}

impl Setup {
    /// A daemon that reads its password, and `more`, from a configuration file.
    fn new(more: &str) -> Setup {
        let upstream = Standalone::launch(&[]).unwrap();
        let directory = upstream.server().directory();
        let (file, secret) = (directory.join("nearside.toml"), directory.join("clients-password"));
        fs::write(&secret, "old\n").unwrap();
        let url = format!("redis://{}", upstream.server().address());
        fs::write(&file, format!("upstream = {url:?}\npassword_file = {secret:?}\n{more}")).unwrap();
        let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
        Setup { upstream, daemon, file, secret }
    }

    /// What AUTH with this password is answered on a new connection.
    fn auth(&self, password: &str) -> String {
        self.daemon.client().command(&["AUTH", password]).unwrap().text()
    }
}

const WRONG: &str = "WRONGPASS invalid username-password pair or user is disabled.";

#[test]
fn the_password_of_clients_is_read_again_and_who_is_in_stays_in() {
    let setup = Setup::new("");
    let mut before = setup.daemon.client();
    assert!(before.command(&["AUTH", "old"]).unwrap().is_ok());
    let listed = before.command(&["ACL", "LIST"]).unwrap();
    fs::write(&setup.secret, "new\n").unwrap();
    setup.daemon.reload();
    setup.daemon.assert_logged("INFO", "the password of clients was replaced");
    assert_eq!(setup.auth("old"), WRONG);
    assert_eq!(setup.auth("new"), "OK");
    let hello = setup.daemon.client().command(&["HELLO", "3", "AUTH", "default", "new"]).unwrap();
    assert!(!hello.is_error(), "{hello:?}");
    assert!(before.command(&["SET", "key", "value"]).unwrap().is_ok(), "who is in stays in");
    assert_ne!(before.command(&["ACL", "LIST"]).unwrap(), listed, "it shows the digest of the new one");
    // The same once more changes nothing, and is not told as if it did.
    setup.daemon.reload();
    eventually("it was read again", SOON, || setup.daemon.times_logged("reload: the policies are as") == 2);
    setup.daemon.assert_times_logged("the password of clients was replaced", 1);
    drop(setup.upstream);
}

#[test]
fn a_password_that_cannot_be_read_or_is_gone_leaves_the_former_one() {
    let setup = Setup::new("");
    fs::remove_file(&setup.secret).unwrap();
    setup.daemon.reload();
    setup.daemon.assert_logged("ERROR", "reload: nothing was changed");
    assert_eq!(setup.auth("old"), "OK");
    // Nobody comes in without one because a line is gone.
    let text = fs::read_to_string(&setup.file).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("password_file")).collect();
    fs::write(&setup.file, without.join("\n")).unwrap();
    setup.daemon.reload();
    setup.daemon.assert_logged("WARN", "reload: whether clients need a password changes with a restart");
    let locked = setup.daemon.client().command(&["GET", "key"]).unwrap().text();
    assert_eq!(locked, "NOAUTH Authentication required.");
    assert_eq!(setup.auth("old"), "OK");
}

#[test]
fn what_takes_a_restart_is_named() {
    let setup = Setup::new("log_level = \"info\"\nl1_ttl = \"50s\"\n");
    let text = fs::read_to_string(&setup.file).unwrap();
    fs::write(&setup.file, text.replace("\"info\"", "\"warn\"").replace("50s", "40s")).unwrap();
    setup.daemon.reload();
    setup.daemon.assert_logged("WARN", "reload: these settings differ in the configuration");
    let told = setup.daemon.logged_field("reload: these settings", "settings");
    let mut told: Vec<&str> = told.split(", ").collect();
    told.sort_unstable();
    assert_eq!(told, ["l1_ttl", "log_level"], "and no others, such as the address that is listened on");
}
