//! What the kernel says of a process: memory, and how often its threads were woken.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Resident memory.
pub(crate) fn resident_bytes(pid: u32) -> f64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:") * 1024.0
}

/// How often the threads of a process went to sleep or were put aside, so far.
pub(crate) fn switches(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |status: &str| {
        field(status, "voluntary_ctxt_switches:") + field(status, "nonvoluntary_ctxt_switches:")
    };
    threads.map(|thread| of_thread(&thread.unwrap().path().join("status").display().to_string())).sum()
}

fn field(path: &str, name: &str) -> f64 {
    let status = fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Lets this process, and those that it starts, hold as many sockets as the system lets them.
pub(crate) fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
