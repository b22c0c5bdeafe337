//! What a bench ran on: a figure without its machine says nothing.

use std::fs;
use std::io;

/// CPUs and kernel, in a line.
pub(crate) fn described() -> io::Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model =
        cpus.lines().filter(|line| line.starts_with("model name")).find_map(|line| line.split_once(": "));
    let model = model.map_or("unknown model", |(_, model)| model.trim());
    let count = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{count} CPUs of {model}, Linux {}", kernel.trim()))
}
