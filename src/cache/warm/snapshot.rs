//! The file with the names: MessagePack, with a checksum, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::READ_BYTES_MAX;
use crate::protocol::command::{Class, recognise};
use crate::protocol::resp::request::OwnedRequest;

/// The hottest reads, the hottest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The upstream that they were read from, as the configuration names it, without its secrets.
    pub upstream: String,
    /// The reads: each the number of its database, and the command with its arguments.
    pub reads: Vec<(u32, Vec<Bytes>)>,
}

/// What stands around it in the file.
#[derive(Serialize, Deserialize)]
struct Envelope {
    kind: String,
    version: u32,
    checksum: u32,
    snapshot: Bytes,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The path is a directory, a pipe or a device.
    #[error("there is something that is not a regular file")]
    NotRegular,
    /// The file is longer than the configured number of reads can take.
    #[error("it has {length} bytes, and {max} are the most that it may have (warm_keys)")]
    TooLong {
        /// Its length.
        length: u64,
        /// The bound.
        max: u64,
    },
    /// The file is no snapshot, or was cut or changed.
    #[error("it is no snapshot of nearside, or was cut or changed: {0}")]
    Broken(String),
    /// Another version of nearside wrote it.
    #[error("it is of version {0}, and this nearside reads version {VERSION}")]
    Version(u32),
    /// The file is about other servers.
    #[error("it is of another upstream: {0}")]
    Upstream(String),
    /// The file names a command that L1 never keeps.
    #[error("it has more than names of reads that can be cached: {0}")]
    NotARead(String),
}

const KIND: &str = "nearside-warm";
const VERSION: u32 = 2;

/// Bytes of everything but the reads, and what MessagePack spends on each read.
const FRAME_BYTES: u64 = 4_096;
const READ_FRAME_BYTES: u64 = 512;

// === impl Snapshot ===

impl Snapshot {
    /// Reads the file at `path`, of at most `reads_max` reads of `upstream`; `None` when there is none.
    pub fn read(path: &Path, upstream: &str, reads_max: usize) -> Result<Option<Snapshot>, SnapshotError> {
        // To open a pipe would be to wait for its writer.
        regular_or_none(path)?;
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let max = FRAME_BYTES + reads_max as u64 * (READ_BYTES_MAX as u64 + READ_FRAME_BYTES);
        let length = file.metadata()?.len();
        if length > max {
            return Err(SnapshotError::TooLong { length, max });
        }
        let mut bytes = Vec::new();
        // It may grow meanwhile.
        file.take(max + 1).read_to_end(&mut bytes)?;
        let snapshot = Snapshot::decode(&bytes)?;
        if snapshot.upstream != upstream {
            return Err(SnapshotError::Upstream(snapshot.upstream.escape_debug().take(200).collect()));
        }
        if snapshot.reads.len() > reads_max {
            let count = snapshot.reads.len();
            return Err(SnapshotError::Broken(format!("{count} reads, of {reads_max} at most (warm_keys)")));
        }
        Ok(Some(snapshot))
    }

    /// Writes it to `path` in place of what is there: all of it, or nothing.
    pub fn write(&self, path: &Path) -> Result<(), SnapshotError> {
        regular_or_none(path)?;
        let bytes = self.encode()?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        // Removed again when anything fails before it has its name.
        let mut file = tempfile::NamedTempFile::with_prefix_in(".nearside-warm-", directory)?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // So that the name survives as well.
        File::open(directory)?.sync_all()?;
        Ok(())
    }

    fn encode(&self) -> Result<Vec<u8>, SnapshotError> {
        let broken = |error: rmp_serde::encode::Error| SnapshotError::Broken(error.to_string());
        let snapshot = Bytes::from(rmp_serde::to_vec_named(self).map_err(broken)?);
        let checksum = crc32fast::hash(&snapshot);
        let envelope = Envelope { kind: KIND.to_owned(), version: VERSION, checksum, snapshot };
        rmp_serde::to_vec_named(&envelope).map_err(broken)
    }

    fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
        let broken = |error: rmp_serde::decode::Error| SnapshotError::Broken(error.to_string());
        let envelope: Envelope = whole(bytes).map_err(broken)?;
        if envelope.kind != KIND {
            return Err(SnapshotError::Broken("it says that it is something else".to_owned()));
        }
        if envelope.version != VERSION {
            return Err(SnapshotError::Version(envelope.version));
        }
        if crc32fast::hash(&envelope.snapshot) != envelope.checksum {
            return Err(SnapshotError::Broken("the checksum is wrong".to_owned()));
        }
        let snapshot: Snapshot = whole(&envelope.snapshot).map_err(broken)?;
        snapshot.reads.iter().try_for_each(|(_, read)| check(read))?;
        Ok(snapshot)
    }
}

/// All of `bytes` as one value.
fn whole<'de, T: Deserialize<'de>>(mut bytes: &'de [u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut decoder = rmp_serde::Deserializer::new(&mut bytes);
    let value = T::deserialize(&mut decoder)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(rmp_serde::decode::Error::Uncategorized("there is more behind it".to_owned()))
    }
}

fn regular_or_none(path: &Path) -> Result<(), SnapshotError> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(SnapshotError::NotRegular),
        // What cannot be looked at cannot be opened either, and that says why.
        _ => Ok(()),
    }
}

/// Whether L1 keeps the replies of a read: the file must not make the daemon send anything else.
fn check(read: &[Bytes]) -> Result<(), SnapshotError> {
    let shown = || {
        let name = read.first().map(|name| name.escape_ascii().to_string()).unwrap_or_default();
        SnapshotError::NotARead(name.chars().take(64).collect())
    };
    if read.is_empty() || read.iter().map(Bytes::len).sum::<usize>() > READ_BYTES_MAX {
        return Err(shown());
    }
    let request = OwnedRequest::from_args(read);
    let spec = recognise(&request.as_request()).map_err(|_| shown())?;
    if spec.class == Class::CacheableRead { Ok(()) } else { Err(shown()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> (u32, Vec<Bytes>) {
        (words.len() as u32, words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect())
    }

    fn snapshot() -> Snapshot {
        let reads = vec![read(&["get", "a"]), read(&["hmget", "h", "1", "2"]), read(&["get", "\u{ff}\r\n"])];
        Snapshot { upstream: "redis://h:1".to_owned(), reads }
    }

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("warm");
        assert!(Snapshot::read(&path, "redis://h:1", 10).unwrap().is_none());
        for _ in 0..2 {
            snapshot().write(&path).unwrap();
            assert_eq!(Snapshot::read(&path, "redis://h:1", 3).unwrap(), Some(snapshot()));
        }
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing is left behind: {left:?}");
        assert!(matches!(
            Snapshot::read(&path, "redis://other:1", 3),
            Err(SnapshotError::Upstream(other)) if other == "redis://h:1"
        ));
        assert!(matches!(Snapshot::read(&path, "redis://h:1", 2), Err(SnapshotError::Broken(_))));
    }

    #[test]
    fn a_file_that_was_cut_or_changed_anywhere_is_refused() {
        let bytes = snapshot().encode().unwrap();
        for length in 0..bytes.len() {
            assert!(Snapshot::decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(Snapshot::decode(&[&bytes[..], b"x"].concat()).is_err(), "something behind it");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(Snapshot::decode(&changed).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn garbage_is_refused_and_never_takes_much() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.usize(..64)).map(|_| random.u8(..)).collect();
            assert!(Snapshot::decode(&bytes).is_err(), "{bytes:?}");
        }
        // An array of four thousand million elements, and a string of as many bytes, of which none is there.
        for head in [0xdd, 0xdb, 0xc6, 0xdf] {
            assert!(Snapshot::decode(&[head, 0xff, 0xff, 0xff, 0xff]).is_err());
        }
    }

    #[test]
    fn a_forged_file_makes_the_daemon_do_nothing_but_read() {
        let long = "x".repeat(READ_BYTES_MAX);
        let forged: [&[&str]; 9] = [
            &["SET", "a", "b"],
            &["FLUSHALL"],
            &["GET"],
            &["GET", "a", "b"],
            &["CONFIG", "SET", "loglevel", "off"],
            &["EVAL", "return 1", "0"],
            &["nope", "a"],
            &["GET", &long],
            &[],
        ];
        for words in forged {
            let reads = vec![read(&["get", "a"]), read(words)];
            let bytes = Snapshot { reads, ..snapshot() }.encode().unwrap();
            assert!(matches!(Snapshot::decode(&bytes), Err(SnapshotError::NotARead(_))), "{words:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_written_is_said_to_be_and_leaves_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing").join("warm");
        assert!(matches!(snapshot().write(&missing), Err(SnapshotError::Io(_))));
        assert!(matches!(Snapshot::read(directory.path(), "u", 1), Err(SnapshotError::NotRegular)));
        let long = directory.path().join("long");
        File::create(&long).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(Snapshot::read(&long, "u", 1), Err(SnapshotError::TooLong { .. })));
        snapshot().write(&long).unwrap();
        assert!(Snapshot::read(&long, "redis://h:1", 3).unwrap().is_some());
        assert!(matches!(snapshot().write(directory.path()), Err(SnapshotError::NotRegular)));
    }
}
