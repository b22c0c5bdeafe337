//! A temporary directory, and the promise that neither it nor a server in it outlives this process.
//!
//! Dropping the sandbox is the ordinary end. For every other end (Ctrl-C, `kill -9`) there is the *reaper*: a
//! shell that reads the pids of the servers from a pipe whose other end only this process holds. When the
//! pipe ends without a last `done`, it kills what is still listed and removes the directory. The reaper and
//! the servers are in process groups of their own, so that a Ctrl-C in the terminal reaches only this
//! process.

use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::error::DevError;

/// Where servers live.
#[derive(Debug)]
pub struct Sandbox {
    directory: TempDir,
    reaper: Mutex<Child>,
    /// The number of the next server's directory.
    next: AtomicU32,
}

/// A killed server may still finish one system call, hence the second removal.
const REAPER: &str = r#"
while read -r verb pid; do
    case $verb in
        started) pids="$pids $pid" ;;
        ended)
            kept=
            for other in $pids; do [ "$other" = "$pid" ] || kept="$kept $other"; done
            pids=$kept ;;
        done) exit 0 ;;
    esac
done
[ -z "$pids" ] || kill -9 $pids
rm -rf -- "$1" && sleep 0.2
rm -rf -- "$1"
"#;

// === impl Sandbox ===

impl Sandbox {
    /// A new directory under the system's temporary directory, guarded from now on.
    pub fn new() -> Result<Sandbox, DevError> {
        let directory = tempfile::Builder::new()
            .prefix("nearside-dev-")
            .tempdir()
            .map_err(DevError::io("making a temporary directory"))?;
        let reaper = Command::new("sh")
            .args(["-c", REAPER, "nearside-reaper"])
            .arg(directory.path())
            // Its own working directory would keep a removed directory, or a mount, busy.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(DevError::io("starting the reaper (sh)"))?;
        Ok(Sandbox { directory, reaper: Mutex::new(reaper), next: AtomicU32::new(0) })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A new directory in it, for one server.
    pub fn make_directory(&self) -> Result<PathBuf, DevError> {
        let path = self.path().join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path).map_err(DevError::io(format!("making {}", path.display())))?;
        Ok(path)
    }

    /// This process is to end when the sandbox does.
    pub fn started(&self, pid: u32) -> Result<(), DevError> {
        self.tell(&format!("started {pid}\n"))
    }

    /// Notes that a server has ended and was waited for: its pid may soon belong to another process.
    pub fn ended(&self, pid: u32) -> Result<(), DevError> {
        self.tell(&format!("ended {pid}\n"))
    }

    fn tell(&self, line: &str) -> Result<(), DevError> {
        let mut reaper = self.reaper.lock();
        let pipe = reaper.stdin.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe));
        pipe.and_then(|pipe| pipe.write_all(line.as_bytes())).map_err(DevError::io("telling the reaper"))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Without `done` the reaper does the work itself, so every failure here is covered by it.
        if fs::remove_dir_all(self.path()).is_ok() {
            let _ = self.tell("done\n");
        }
        let reaper = self.reaper.get_mut();
        drop(reaper.stdin.take());
        let _ = reaper.wait();
    }
}
