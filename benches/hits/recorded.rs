//! Recorded traces, from the files that stand here and from a directory of more.

use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::request::{Key, Request};
use crate::sizes;
use crate::trace::{Size, Trace};

/// What is behind that in a longer trace is left out, so that the bench ends in time.
const REQUESTS_MAX: usize = 5_000_000;

/// How a file says what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Keys of so many bytes, little endian (Caffeine).
    Numbers(usize),
    /// Lines with a first block and how many follow it (ARC).
    Blocks,
    /// Rows of 24 bytes: time, key, size, next request (libCacheSim's oracleGeneral).
    Oracle,
    /// Lines of time, key, bytes of the key and of the value, client, operation, time to live (Twitter).
    Csv,
}

/// A file with a trace.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    path: PathBuf,
    form: Form,
}

/// Gives the keys of a trace numbers in the order in which they come.
struct Numbers<K> {
    of: HashMap<K, Key>,
    sizes: Vec<Size>,
}

/// The traces that stand beside this file, and those of `more`.
pub(crate) fn all(more: Option<&Path>) -> Vec<Recorded> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/hits/traces");
    let mut found: Vec<Recorded> = Vec::new();
    for directory in std::iter::once(here.as_path()).chain(more) {
        let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for recorded in paths.into_iter().filter_map(Recorded::of) {
            if !found.iter().any(|other| other.name == recorded.name) {
                found.push(recorded);
            }
        }
    }
    found
}

// === impl Recorded ===

impl Recorded {
    /// By the name of the file, if it is that of a trace.
    fn of(path: PathBuf) -> Option<Recorded> {
        let file = path.file_name()?.to_str()?;
        let bare = file.trim_end_matches(".xz").trim_end_matches(".gz");
        let (name, form) = if let Some(name) = bare.strip_suffix(".lis") {
            (name, Form::Blocks)
        } else if let Some(name) = bare.trim_end_matches(".bin").strip_suffix(".oracleGeneral") {
            (name, Form::Oracle)
        } else if let Some(name) = bare.strip_suffix(".csv") {
            (name, Form::Csv)
        } else if let Some(name) = bare.strip_prefix("trace_") {
            (name.trim_end_matches("service"), Form::Numbers(8))
        } else {
            let name = bare.strip_suffix(".trace")?;
            (name, Form::Numbers(if name.starts_with("scarab") { 8 } else { 4 }))
        };
        Some(Recorded { name: name.to_owned(), form, path })
    }

    /// Reads at most so many requests of it.
    pub(crate) fn read(&self, requests_max: usize) -> Trace {
        let bytes = unpacked(&self.path);
        let max = requests_max.min(REQUESTS_MAX);
        let (requests, sizes) = match self.form {
            Form::Numbers(width) => numbers(bytes.chunks_exact(width).take(max).map(<[u8]>::to_vec)),
            Form::Blocks => {
                let text = String::from_utf8(bytes).unwrap();
                let blocks = text.lines().filter_map(|line| {
                    let mut words = line.split_whitespace().map(str::parse::<u64>);
                    Some((words.next()?.ok()?, words.next()?.ok()?))
                });
                numbers(blocks.flat_map(|(first, count)| first..first + count).take(max))
            }
            Form::Oracle => oracle(&bytes, max),
            Form::Csv => csv(&String::from_utf8(bytes).unwrap(), max),
        };
        Trace { name: self.name.clone(), is_recorded: true, requests, sizes }
    }
}

fn unpacked(path: &Path) -> Vec<u8> {
    let packed = fs::read(path).unwrap();
    let mut bytes = Vec::new();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => lzma_rust2::XzReader::new(&packed[..], true).read_to_end(&mut bytes).unwrap(),
        Some("gz") => flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap(),
        _ => return packed,
    };
    bytes
}

/// Reads of keys without sizes.
fn numbers<K: Eq + Hash>(keys: impl Iterator<Item = K>) -> (Vec<Request>, Vec<Size>) {
    let mut numbers = Numbers::new();
    let requests = keys.map(|key| Request::Read(numbers.of(key, |number| sizes::SMALL.of(number)))).collect();
    (requests, numbers.sizes)
}

fn oracle(bytes: &[u8], max: usize) -> (Vec<Request>, Vec<Size>) {
    let mut numbers = Numbers::new();
    let requests = bytes.chunks_exact(24).take(max).map(|row| {
        let value = u32::from_le_bytes(row[12..16].try_into().unwrap());
        Request::Read(numbers.of(row[4..12].to_vec(), |_| Size { key: 32, value }))
    });
    let requests = requests.collect();
    (requests, numbers.sizes)
}

fn csv(text: &str, max: usize) -> (Vec<Request>, Vec<Size>) {
    let mut numbers = Numbers::new();
    let requests = text.lines().take(max).map(|line| {
        let columns: Vec<_> = line.split(',').collect();
        let size = |_| Size { key: columns[2].parse().unwrap(), value: columns[3].parse().unwrap() };
        let key = numbers.of(columns[1], size);
        if columns[5].starts_with("get") { Request::Read(key) } else { Request::Write(key) }
    });
    let requests = requests.collect();
    (requests, numbers.sizes)
}

// === impl Numbers ===

impl<K: Eq + Hash> Numbers<K> {
    fn new() -> Numbers<K> {
        Numbers { of: HashMap::new(), sizes: Vec::new() }
    }

    fn of(&mut self, key: K, size: impl FnOnce(Key) -> Size) -> Key {
        let next = self.sizes.len() as Key;
        *self.of.entry(key).or_insert_with(|| {
            self.sizes.push(size(next));
            next
        })
    }
}
