//! Unix sockets: a path appears with its permissions and ready to connect to, replaces what a dead process
//! left behind, never takes the place of a live one, and goes with its listener.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// The path of a Unix socket. Dropped, it removes the path, if that still leads to the socket.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    identity: FileId,
}

/// The identity of a file on this host: device and inode.
type FileId = (u64, u64);

/// How often, and with what wait between, the lock of the directory is tried. It is held for microseconds.
const LOCK_TRIES: u32 = 100;
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Listens on the Unix socket `path` with the permission bits `mode`. The path is to be dropped before the
/// socket: while that is open, no other one can have its inode.
pub fn bind(path: &Path, mode: u32, backlog: u32) -> io::Result<(SocketPath, Socket)> {
    bind_path(path, mode, backlog).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on the Unix socket {}: {error}", path.display()))
    })
}

fn bind_path(path: &Path, mode: u32, backlog: u32) -> io::Result<(SocketPath, Socket)> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    // Two daemons that begin at once would both find the path free and one would end up without it.
    let _lock = lock(directory)?;
    refuse_unless_free(path)?;

    // It has another name until it listens and has its permissions: then the path appears in one step,
    // replacing the old one, and a process that sees it can connect.
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    let socket = tempfile::Builder::new().prefix(&prefix).make_in(directory, |path| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?;
    let identity = identity(socket.path())?;
    let socket = socket.persist(path).map_err(|failed| failed.error)?;
    Ok((SocketPath { path: path.to_owned(), identity }, socket))
}

fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds a lock on its directory"))
}

/// Fails unless there is nothing at `path`, or a socket without a listener.
fn refuse_unless_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A live process whose queue is full must not keep us waiting.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // Gone in the meantime: its process ended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
    }
}

fn identity(path: &Path) -> io::Result<FileId> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

// === impl SocketPath ===

impl Drop for SocketPath {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the Unix socket");
        }
    }
}
