//! Reads files that the configuration names, up to a limit, and checks their kind where only some are
//! allowed.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Reads a text of at most `bytes_max` bytes, which may come through a pipe, as secrets do.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max as u64 + 1).read_to_string(&mut text));
    if text.len() > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    read.map(|_| text).map_err(|error| error.to_string())
}

/// Fails if the path is not a regular file: it could not be replaced by a new file.
pub(super) fn regular_or_none(path: &Path) -> Result<(), String> {
    // What cannot be looked at is said when it is used.
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    let kind = metadata.file_type();
    let found = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(format!("a regular file is wanted, and there is {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_read_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        fs::write(&path, "12345678").unwrap();
        assert_eq!(read(&path, 8), Ok("12345678".to_owned()));
        assert_eq!(read(&path, 7), Err("it has more than 7 bytes".to_owned()));
        // The bound may fall into a character.
        fs::write(&path, "1234567é").unwrap();
        assert!(read(&path, 7).is_err());
        fs::write(&path, [0xff]).unwrap();
        assert!(read(&path, 7).unwrap_err().contains("UTF-8"));
        assert!(read(directory.path(), 7).unwrap_err().contains("directory"));
        // What never ends.
        assert_eq!(read(Path::new("/dev/zero"), 1 << 16), Err("it has more than 65536 bytes".to_owned()));
    }

    #[test]
    fn only_a_regular_file_can_be_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert_eq!(regular_or_none(&path), Ok(()));
        fs::write(&path, "").unwrap();
        assert_eq!(regular_or_none(&path), Ok(()));
        for (path, found) in [(directory.path(), "a directory"), (Path::new("/dev/null"), "a device")] {
            let error = format!("a regular file is wanted, and there is {found}");
            assert_eq!(regular_or_none(path), Err(error));
        }
    }
}
