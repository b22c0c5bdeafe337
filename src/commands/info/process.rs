//! Memory and CPU of this process, from the kernel.

use std::fs;
use std::time::Duration;

/// Memory in bytes; 0 where the kernel does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessMemory {
    /// In use now.
    pub(super) resident: u64,
    /// The most that ever was.
    pub(super) peak: u64,
    /// Of the whole system.
    pub(super) system: u64,
}

/// CPU time since the process began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessCpu {
    pub(super) system: Duration,
    pub(super) user: Duration,
}

/// The process's memory.
pub(super) fn memory() -> ProcessMemory {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let system = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    ProcessMemory {
        resident: bytes(&status, "VmRSS:"),
        peak: bytes(&status, "VmHWM:"),
        system: bytes(&system, "MemTotal:"),
    }
}

/// The process's CPU time.
pub(super) fn cpu() -> ProcessCpu {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may hold anything; the fields after it are numbers.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
    let mut next = |skip| {
        let ticks = fields.nth(skip).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default();
        Duration::from_secs_f64(ticks * tick)
    };
    let user = next(11);
    ProcessCpu { user, system: next(0) }
}

/// The value of a line `<name> <number> kB`.
fn bytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let number = line.split_ascii_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory_and_time() {
        let memory = memory();
        assert!(memory.resident > 100_000 && memory.peak >= memory.resident, "{memory:?}");
        assert!(memory.system > memory.resident, "{memory:?}");
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_millis(50) {}
        let cpu = cpu();
        assert!(cpu.user + cpu.system > Duration::ZERO, "{cpu:?}");
    }
}
