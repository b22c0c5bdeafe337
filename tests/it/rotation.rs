//! The upstream's password is rotated: what is open stays, L1 too, and what comes later uses the new one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nearside::sandbox::{Cluster, Reply, SandboxClient, Server};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries};

/// Connections come again with a backoff, and the password is looked at once a second.
const RECOVERY: Duration = Duration::from_secs(15);

struct Setup {
    cluster: Cluster,
    daemon: Daemon,
    secret: PathBuf,
}

impl Setup {
    fn new() -> Setup {
        let cluster = own_primaries(1);
        let server = cluster.nodes()[0].server();
        let acl = ["ACL", "SETUSER", "app", "on", ">old", "~*", "&*", "+@all"];
        assert!(server.command(&acl).unwrap().is_ok());
        let secret = server.directory().join("password");
        fs::write(&secret, "old\n").unwrap();
        let (url, file) = (upstream_url(&cluster), secret.to_str().unwrap());
        let daemon = Daemon::start(&[
            "--upstream",
            &url,
            "--upstream-username",
            "app",
            "--upstream-password-file",
            file,
            "--heartbeat-interval",
            "200ms",
            "--topology-refresh-interval",
            "500ms",
            "--upstream-backoff-max",
            "200ms",
        ]);
        daemon.until_tracked(1);
        Setup { cluster, daemon, secret }
    }

    fn server(&self) -> &Server {
        self.cluster.nodes()[0].server()
    }

    /// The old password does not hold any more.
    fn rotate(&self) {
        assert!(self.server().command(&["ACL", "SETUSER", "app", ">new", "<old"]).unwrap().is_ok());
    }

    /// All connections of the daemon end, as they do when a node is restarted.
    fn cut(&self) {
        assert!(self.server().command(&["CLIENT", "KILL", "USER", "app"]).unwrap().text() != "0");
    }

    /// A connection of every kind is opened and serves.
    fn assert_recovers(&self) {
        let mut client = self.daemon.client();
        eventually("writes succeed", RECOVERY, || client.command(&["SET", "key", "new"]).unwrap().is_ok());
        self.daemon.until_tracked(1);
        assert_eq!(client.command(&["GET", "key"]).unwrap().text(), "new");
        assert!(client.command(&["RPUSH", "list", "element"]).unwrap().integer().is_some());
        let popped = client.command(&["BLPOP", "list", "1"]).unwrap();
        assert_eq!(popped, Reply::Array(vec![Reply::bulk("list"), Reply::bulk("element")]), "dedicated");
        let mut subscriber = self.daemon.client();
        assert!(!subscriber.command(&["SUBSCRIBE", "channel"]).unwrap().is_error(), "subscriptions");
        let mut caches = self.daemon.client();
        caches.hello(3).unwrap();
        let tracking = caches.command(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "b:"]).unwrap();
        assert!(tracking.is_ok(), "all changes are listened to: {tracking:?}");
        let before = self.daemon.counter("topology_refreshes");
        eventually("the topology is asked", RECOVERY, || self.daemon.counter("topology_refreshes") > before);
    }
}

#[test]
fn at_sighup_the_password_is_read_again_and_l1_is_kept() {
    let setup = Setup::new();
    let mut client = setup.daemon.client();
    assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok());
    let misses = |client: &mut SandboxClient| setup.daemon.counter_by(client, "l1_misses");
    assert_eq!(client.command(&["GET", "key"]).unwrap().text(), "value");
    let before = misses(&mut client);
    fs::write(&setup.secret, "new\n").unwrap();
    setup.daemon.reload();
    setup.daemon.assert_logged("INFO", "the upstream login was replaced");
    setup.rotate();
    assert_eq!(client.command(&["GET", "key"]).unwrap().text(), "value");
    assert_eq!(misses(&mut client), before, "L1 was emptied");
    assert_eq!(setup.daemon.counter_by(&mut client, "upstream_losses"), 0, "what is open stays");
    setup.cut();
    setup.assert_recovers();
    assert_eq!(
        setup.daemon.times_logged("the upstream refused the login"),
        0,
        "the new one was there in time"
    );
}

#[test]
fn a_login_that_is_refused_is_a_reason_to_read_the_password_again() {
    let setup = Setup::new();
    setup.rotate();
    fs::write(&setup.secret, "new\n").unwrap();
    setup.cut();
    setup.assert_recovers();
    setup
        .daemon
        .assert_logged("INFO", "the upstream refused the login, and the password in its file is another");
}

#[test]
fn a_password_that_cannot_be_read_is_logged_once_and_the_former_kept() {
    let setup = Setup::new();
    fs::remove_file(&setup.secret).unwrap();
    setup.rotate();
    setup.cut();
    let refused = "the upstream refuses the login; the former password is kept";
    setup.daemon.assert_logged("ERROR", refused);
    // Several more attempts.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(setup.daemon.times_logged(refused), 1);
    setup.daemon.reload();
    setup.daemon.assert_logged("ERROR", "reload: nothing was changed");
    // The former one holds again.
    assert!(setup.server().command(&["ACL", "SETUSER", "app", ">old"]).unwrap().is_ok());
    let mut client = setup.daemon.client();
    eventually("writes succeed", RECOVERY, || client.command(&["SET", "key", "old"]).unwrap().is_ok());
    // And then the new one alone, which now stands in the file.
    assert!(setup.server().command(&["ACL", "SETUSER", "app", "<old"]).unwrap().is_ok());
    fs::write(&setup.secret, "new\n").unwrap();
    setup.cut();
    setup.assert_recovers();
}
