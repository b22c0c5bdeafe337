//! The real size of the process, as the kernel has it.

use std::fs;
use std::path::PathBuf;

use super::limit::{Limit, Version};

/// Looks at how much memory is in use.
#[derive(Debug)]
pub struct Meter {
    /// The control group whose limit holds: the kernel's own part, sockets' buffers say, counts there as
    /// well.
    group: Option<(PathBuf, Version)>,
}

// === impl Meter ===

impl Meter {
    /// A meter of this process; of all that is in its control group if that is what `limit` is about.
    pub fn new(limit: Option<&Limit>) -> Meter {
        Meter { group: limit.filter(|limit| limit.is_own).map(|limit| (limit.group.clone(), limit.version)) }
    }

    /// Bytes in use; 0 where the kernel does not say.
    pub fn read(&self) -> usize {
        let group = self.group.as_ref().and_then(|(group, version)| in_group(group, *version));
        process().max(group.unwrap_or_default())
    }
}

/// The resident memory of the process, without pages of files such as its own binary: the kernel can take
/// those back.
fn process() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split_ascii_whitespace().skip(1).map(|pages| pages.parse().unwrap_or_default());
    let (resident, shared): (usize, usize) =
        (pages.next().unwrap_or_default(), pages.next().unwrap_or_default());
    resident.saturating_sub(shared) * rustix::param::page_size()
}

/// What a control group holds that the kernel cannot take back by itself: all but the cache of files.
fn in_group(group: &std::path::Path, version: Version) -> Option<usize> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let (usage, prefix) = match version {
        Version::Two => ("memory.current", ""),
        Version::One => ("memory.usage_in_bytes", "total_"),
    };
    let usage = read(usage)?.trim().parse::<usize>().ok()?;
    let stat = read("memory.stat")?;
    let field = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(prefix)?.strip_prefix(name));
        line.and_then(|number| number.trim().parse::<usize>().ok()).unwrap_or_default()
    };
    Some(usage.saturating_sub(field("inactive_file ") + field("active_file ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_size() {
        assert!(Meter::new(None).read() > 100_000);
    }

    #[test]
    fn a_group_counts_without_the_cache_of_files() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        write("memory.current", "5000\n");
        write("memory.stat", "anon 1000\nfile 3000\ninactive_file 2000\nactive_file 500\nsock 700\n");
        assert_eq!(in_group(group.path(), Version::Two), Some(2500));
        write("memory.usage_in_bytes", "900\n");
        write("memory.stat", "active_file 5\ntotal_inactive_file 100\ntotal_active_file 50\n");
        assert_eq!(in_group(group.path(), Version::One), Some(750));
    }
}
