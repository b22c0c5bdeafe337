//! A real server process: found, started, signalled, ended.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::client::{Address, SandboxClient};
use super::directory::Sandbox;
use super::error::DevError;
use super::reply::Reply;
use super::{ports, wait};

/// A `redis-server` or `valkey-server` on loopback. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    sandbox: Arc<Sandbox>,
    program: PathBuf,
    arguments: Vec<String>,
    address: SocketAddr,
    directory: PathBuf,
    process: Mutex<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    state: ServerRunState,
}

/// `Running <-> Suspended`, and from either to `Ended`; a restart begins at `Running`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerRunState {
    Running,
    Suspended,
    Ended,
}

/// The file in the server's directory that takes all it says: its log, and why it refused its arguments.
const LOG: &str = "server.log";

/// The configuration file of a server that needs one, in its directory.
const CONFIG: &str = "server.conf";

/// How often a start is tried again when another process took the port first.
const PORT_RACES_MAX: usize = 10;

/// How long a server may take to answer its first PING.
const START_LIMIT: Duration = Duration::from_secs(10);

// === impl Server ===

impl Server {
    /// Starts a server that stores nothing on disk, with these arguments on top (`["--maxmemory", "1mb"]`):
    /// the program that NEARSIDE_REDIS_SERVER names or the PATH has.
    pub fn launch(sandbox: &Arc<Sandbox>, arguments: &[String]) -> Result<Server, DevError> {
        Server::launch_program(sandbox, None, arguments)
    }

    /// Launches a server of this program, if one is named.
    pub fn launch_program(
        sandbox: &Arc<Sandbox>,
        program: Option<&Path>,
        arguments: &[String],
    ) -> Result<Server, DevError> {
        let mut all: Vec<String> = ["--save", "", "--appendonly", "no"].map(str::to_owned).to_vec();
        all.extend_from_slice(arguments);
        let program = program.map_or_else(found_program, |program| Ok(program.to_owned()))?;
        Server::launch_anywhere(sandbox, program, sandbox.make_directory()?, all)
    }

    /// Starts a server as a sentinel, which insists on a configuration file that it may rewrite.
    pub(super) fn launch_sentinel(sandbox: &Arc<Sandbox>, config: &str) -> Result<Server, DevError> {
        let directory = sandbox.make_directory()?;
        let path = directory.join(CONFIG);
        fs::write(&path, config).map_err(DevError::io(format!("writing {}", path.display())))?;
        let arguments = vec![path.display().to_string(), "--sentinel".to_owned()];
        Server::launch_anywhere(sandbox, found_program()?, directory, arguments)
    }

    fn launch_anywhere(
        sandbox: &Arc<Sandbox>,
        program: PathBuf,
        directory: PathBuf,
        arguments: Vec<String>,
    ) -> Result<Server, DevError> {
        let mut races = 0;
        loop {
            let port = ports::free_port().map_err(DevError::io("looking for a free port"))?;
            let address = ports::loopback(port);
            let child = spawn(sandbox, &program, &arguments, address, &directory)?;
            let server = Server {
                sandbox: Arc::clone(sandbox),
                program: program.clone(),
                arguments: arguments.clone(),
                address,
                directory: directory.clone(),
                process: Mutex::new(Process { child, state: ServerRunState::Running }),
            };
            match server.wait_until_ready() {
                Ok(()) => return Ok(server),
                Err(DevError::Start { log, .. })
                    if log.contains("Address already in use") && races < PORT_RACES_MAX =>
                {
                    races += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its own directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its process id, for as long as it runs.
    pub fn pid(&self) -> u32 {
        self.process.lock().child.id()
    }

    /// Whether it can answer: neither ended nor suspended by this launcher.
    pub fn is_running(&self) -> bool {
        self.process.lock().state == ServerRunState::Running
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    pub fn kill9(&self) -> Result<(), DevError> {
        let mut process = self.process.lock();
        if process.state == ServerRunState::Ended {
            return Ok(());
        }
        process.child.kill().map_err(DevError::io("killing a server"))?;
        process.child.wait().map_err(DevError::io("waiting for a killed server"))?;
        process.state = ServerRunState::Ended;
        self.sandbox.ended(process.child.id())
    }

    /// Suspends it (SIGSTOP): its sockets stay open and silent, like the sockets of a machine that hangs.
    pub fn stop_signal(&self) -> Result<(), DevError> {
        self.signal(Signal::STOP, ServerRunState::Suspended)
    }

    /// Lets a suspended server run on (SIGCONT).
    pub fn continue_signal(&self) -> Result<(), DevError> {
        self.signal(Signal::CONT, ServerRunState::Running)
    }

    fn signal(&self, signal: Signal, state: ServerRunState) -> Result<(), DevError> {
        let mut process = self.process.lock();
        if process.state == ServerRunState::Ended {
            return Err(DevError::NoNode(format!("at {}: it has ended", self.address)));
        }
        kill_process(Pid::from_child(&process.child), signal)
            .map_err(|errno| DevError::io("signalling a server")(errno.into()))?;
        process.state = state;
        Ok(())
    }

    /// Starts it again on its port and in its directory; ends it before, if it still runs.
    pub fn restart(&self) -> Result<(), DevError> {
        self.kill9()?;
        let child = spawn(&self.sandbox, &self.program, &self.arguments, self.address, &self.directory)?;
        *self.process.lock() = Process { child, state: ServerRunState::Running };
        self.wait_until_ready()
    }

    /// A new conversation with it.
    pub fn connect(&self) -> Result<SandboxClient, DevError> {
        SandboxClient::connect(&Address::Tcp(self.address))
            .map_err(DevError::io(format!("connecting to {}", self.address)))
    }

    /// Asks one command on a connection of its own. An error reply is an `Err`.
    pub fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Result<Reply, DevError> {
        let reply = self.connect()?.command(arguments).map_err(DevError::io(format!(
            "{} at {}",
            shown(arguments),
            self.address
        )))?;
        if reply.is_error() {
            return Err(DevError::Refused {
                address: self.address.to_string(),
                command: shown(arguments),
                reply: reply.text(),
            });
        }
        Ok(reply)
    }

    fn wait_until_ready(&self) -> Result<(), DevError> {
        let what = format!("{} at {} answers PING", self.program.display(), self.address);
        wait::until(&what, START_LIMIT, || {
            // A statement of its own, so that the lock is free again for what follows.
            let ended =
                self.process.lock().child.try_wait().map_err(DevError::io("looking after a server"))?;
            if ended.is_some() {
                self.kill9()?;
                return Err(DevError::Start { program: self.program.clone(), log: self.log_end() });
            }
            let asked = SandboxClient::connect(&Address::Tcp(self.address))
                .and_then(|mut client| client.command(&["PING"]));
            Ok(match asked {
                // A server that asks for a password is ready too.
                Ok(reply) if !reply.text().starts_with("LOADING") => Ok(()),
                Ok(reply) => Err(reply.text()),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    fn log_end(&self) -> String {
        let log = fs::read(self.directory.join(LOG)).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What fails here is left to the reaper.
        let _ = self.kill9();
    }
}

fn spawn(
    sandbox: &Sandbox,
    program: &Path,
    arguments: &[String],
    address: SocketAddr,
    directory: &Path,
) -> Result<Child, DevError> {
    // Truncated: a start that failed must not be explained by the log of the one before it.
    let log = File::create(directory.join(LOG)).map_err(DevError::io("making a log file"))?;
    let errors = log.try_clone().map_err(DevError::io("making a log file"))?;
    let child = Command::new(program)
        .args(arguments)
        .args(["--port", &address.port().to_string(), "--bind", &address.ip().to_string()])
        .arg("--dir")
        .arg(directory)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(DevError::io(format!("starting {}", program.display())))?;
    sandbox.started(child.id())?;
    Ok(child)
}

fn found_program() -> Result<PathBuf, DevError> {
    find_program(env::var_os("NEARSIDE_REDIS_SERVER"), env::var_os("PATH"))
}

fn find_program(named: Option<OsString>, path: Option<OsString>) -> Result<PathBuf, DevError> {
    if let Some(named) = named.map(PathBuf::from) {
        return if named.is_file() { Ok(named) } else { Err(DevError::NotAServer(named)) };
    }
    let path = path.unwrap_or_default();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |directory| directory.join(name)))
        .find(|candidate| candidate.is_file())
        .ok_or(DevError::NoServer)
}

fn shown<A: AsRef<[u8]>>(arguments: &[A]) -> String {
    let words: Vec<String> =
        arguments.iter().take(6).map(|word| word.as_ref().escape_ascii().to_string()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_where_it_is_named_or_on_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let valkey = directory.path().join("valkey-server");
        let path = Some(env::join_paths(["/nowhere".into(), directory.path().to_owned()]).unwrap());
        assert!(matches!(find_program(None, path.clone()), Err(DevError::NoServer)));
        assert!(matches!(find_program(None, None), Err(DevError::NoServer)));
        let named = Some(valkey.clone().into_os_string());
        assert!(matches!(find_program(named.clone(), None), Err(DevError::NotAServer(_))));

        fs::write(&valkey, "").unwrap();
        assert_eq!(find_program(None, path.clone()).unwrap(), valkey);
        assert_eq!(find_program(named.clone(), None).unwrap(), valkey);
        let redis = directory.path().join("redis-server");
        fs::write(&redis, "").unwrap();
        assert_eq!(find_program(None, path).unwrap(), redis);
        assert_eq!(find_program(named, None).unwrap(), valkey);
    }
}
