//! Tells systemd how the daemon is. Where systemd did not start it, nothing happens.

use sd_notify::NotifyState;

/// The daemon serves clients.
pub fn ready() {
    notify(&NotifyState::Ready);
}

/// The daemon drains.
pub fn stopping() {
    notify(&NotifyState::Stopping);
}

/// What `systemctl status` shows: one line for people.
pub fn status(line: &str) {
    notify(&NotifyState::Status(line));
}

fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    /// Not a test: what the test below starts as a process of its own, because the environment says where
    /// systemd listens, and that of a process with threads must not be changed.
    #[test]
    #[ignore = "run by systemd_hears_every_state in a process of its own"]
    fn the_daemon() {
        ready();
        status("12 clients");
        stopping();
    }

    #[test]
    fn systemd_hears_every_state() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        systemd.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "daemon::systemd::tests::the_daemon", "--ignored"])
            .env("NOTIFY_SOCKET", &path)
            .output()
            .unwrap();
        assert!(daemon.status.success(), "{daemon:?}");
        for state in ["READY=1", "STATUS=12 clients", "STOPPING=1"] {
            let mut heard = [0; 64];
            let length = systemd.recv(&mut heard).expect(state);
            assert_eq!(std::str::from_utf8(&heard[..length]).unwrap().trim_end(), state);
        }
    }
}
