//! Counts the instructions of a part of this program, by running it anew under valgrind's callgrind.

use std::error::Error;
use std::fs;
use std::io;
use std::process::{Command, Stdio};

use crate::figures::Tools;

/// The function within which instructions are counted, on the thread that is in it.
const COUNTED: &str = "--toggle-collect=*counted_by_callgrind*";

/// Has glibc's allocator serve and take back nearly everything on its short way, and keep what it has. On its
/// long ways, what an operation costs would depend on where in memory the thousands before it left gaps.
const ALLOCATOR: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.tcache_count=60000:glibc.malloc.mxfast=0:glibc.malloc.trim_threshold=1073741824:\
     glibc.malloc.top_pad=268435456:glibc.malloc.mmap_threshold=1073741824",
);

/// Counts all that `work` does on this thread. What came before it ran many times as fast, for callgrind did
/// not look.
pub(crate) fn count(work: &mut dyn FnMut()) {
    let pid = format!("--pid={}", std::process::id());
    let mut vgdb = Command::new("vgdb");
    vgdb.args([&pid, "instrumentation", "on"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut vgdb = vgdb.spawn().unwrap();
    // Valgrind listens while the program runs; one that waits it would have to stop from outside.
    let status = loop {
        if let Some(status) = vgdb.try_wait().unwrap() {
            break status;
        }
        std::hint::spin_loop();
    };
    assert!(status.success(), "vgdb: {status}");
    counted_by_callgrind(work);
}

#[inline(never)]
fn counted_by_callgrind(work: &mut dyn FnMut()) {
    work();
}

/// Runs this program with `arguments`. It prints how many operations were carried out while it counted; what
/// is returned is the instructions that one took.
pub(crate) fn instructions(arguments: &[&str]) -> Result<f64, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let figures = directory.path().join("figures");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--instr-atstart=no", COUNTED])
        .arg(format!("--callgrind-out-file={}", figures.display()))
        .arg(std::env::current_exe()?)
        .args(arguments)
        .env(ALLOCATOR.0, ALLOCATOR.1)
        .stderr(Stdio::piped())
        .output()
        .map_err(missing)?;
    if !output.status.success() {
        return Err(format!("{}:\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let operations: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    let figures = fs::read_to_string(figures)?;
    let total = figures.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: f64 = total.ok_or("callgrind wrote no totals")?.trim().parse()?;
    if total == 0.0 {
        return Err("callgrind saw nothing of what was to be counted".into());
    }
    Ok(total / operations)
}

/// What this is done with.
pub(crate) fn tools() -> Result<Tools, Box<dyn Error>> {
    // The C library has a variant of memcpy for each kind of processor, and memchr one for AVX2.
    let flags = fs::read_to_string("/proc/cpuinfo")?;
    let avx2 = if flags.contains(" avx2 ") { " with AVX2" } else { "" };
    Ok(Tools {
        rustc: said("rustc", "--version")?,
        libc: said("getconf", "GNU_LIBC_VERSION")?,
        valgrind: said("valgrind", "--version")?,
        processor: format!("{}{avx2}", std::env::consts::ARCH),
    })
}

fn said(program: &str, argument: &str) -> Result<String, Box<dyn Error>> {
    let output = Command::new(program).arg(argument).output().map_err(|error| match program {
        "valgrind" => missing(error),
        _ => format!("{program}: {error}"),
    })?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn missing(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no valgrind; `make counts` installs it".to_owned(),
        _ => format!("valgrind: {error}"),
    }
}
