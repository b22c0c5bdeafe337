//! The limit of the machine: the limit of the control group (version 1 or 2, by a container or MemoryMax of
//! systemd), or else the memory of the machine.

use std::fs;
use std::path::{Path, PathBuf};

/// Memory that is reserved for what is not counted: a tenth of the limit, and at least this.
const RESERVE_MIN: usize = 4 << 20;

/// The most memory that is used without a limit, and the largest part of the memory of the machine.
const UNLIMITED_MAX: usize = 1 << 30;
const MACHINE_SHARE: usize = 4;

/// Version 1 says "no limit" by a number near the largest there is.
const NO_LIMIT: usize = 1 << 60;

/// A limit, and where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In bytes.
    pub bytes: usize,
    /// The directory of the group that sets it.
    pub group: PathBuf,
    /// Of control groups.
    pub version: Version,
    /// Whether it is the group that the process is in, and not one above it.
    pub is_own: bool,
}

/// The version of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// With a hierarchy for each controller.
    One,
    /// With one for all.
    Two,
}

// === impl Limit ===

impl Limit {
    /// The least limit over the process, if there is any. `root` is where `proc` and `sys` are.
    pub fn read(root: &Path) -> Option<Limit> {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
        let mut found: Vec<Limit> = Vec::new();
        for version in [Version::Two, Version::One] {
            let Some(path) = path_in(&groups, version) else { continue };
            for (top, mounted) in mounts.lines().filter_map(|line| mount(line, version)) {
                // What the process is not under is another's; what lies outside of the mount cannot be seen.
                let below = path.strip_prefix(&top).unwrap_or(Path::new(""));
                let mounted = root.join(mounted.strip_prefix("/").unwrap_or(&mounted));
                found.extend(over(&mounted, below, version));
            }
        }
        found.into_iter().min_by_key(|limit| (limit.bytes, !limit.is_own))
    }

    /// What of it the daemon takes at most.
    pub fn memory_max(&self) -> usize {
        self.bytes - (self.bytes / 10).max(RESERVE_MIN).min(self.bytes / 2)
    }
}

/// The ceiling where none was given: the limit less a reserve, or else what a sidecar may be expected to
/// take.
pub fn memory_max_by_default(root: &Path, limit: Option<&Limit>) -> usize {
    if let Some(limit) = limit {
        return limit.memory_max();
    }
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
    });
    machine.map_or(UNLIMITED_MAX, |machine| (machine / MACHINE_SHARE).min(UNLIMITED_MAX))
}

/// The path of the process in the hierarchy of `version`, from /proc/self/cgroup.
fn path_in(groups: &str, version: Version) -> Option<PathBuf> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match version {
            Version::Two => number == "0" && controllers.is_empty(),
            Version::One => controllers.split(',').any(|controller| controller == "memory"),
        };
        is_it.then(|| path.into())
    })
}

/// Which group is mounted where, if this line of /proc/self/mountinfo is about the hierarchy of `version`.
fn mount(line: &str, version: Version) -> Option<(PathBuf, PathBuf)> {
    let (mount, source) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (top, mounted) = (fields.next()?, fields.next()?);
    let mut source = source.split(' ');
    let (kind, options) = (source.next()?, source.nth(1).unwrap_or_default());
    let is_it = match version {
        Version::Two => kind == "cgroup2",
        Version::One => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
    };
    is_it.then(|| (unescaped(top).into(), unescaped(mounted).into()))
}

/// A path of mountinfo, in which a blank is `\040`.
fn unescaped(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// The limits of the group at `below` in `mounted`, and of all above it that can be seen.
fn over(mounted: &Path, below: &Path, version: Version) -> Vec<Limit> {
    let own = mounted.join(below);
    // A group that cannot be seen from here: that which is mounted is the nearest to it.
    let own = if own.is_dir() { own } else { mounted.to_owned() };
    let names: &[&str] = match version {
        // Beyond `high` all that the process does is slowed down.
        Version::Two => &["memory.max", "memory.high"],
        Version::One => &["memory.limit_in_bytes"],
    };
    let mut limits = Vec::new();
    for group in own.ancestors().take_while(|group| group.starts_with(mounted)) {
        let is_own = group == own;
        let limit = |bytes| Limit { bytes, group: group.to_owned(), version, is_own };
        limits.extend(names.iter().filter_map(|name| number(&group.join(name))).map(limit));
    }
    if version == Version::One {
        // Those above that cannot be seen from here count in it.
        let stat = fs::read_to_string(own.join("memory.stat")).unwrap_or_default();
        let least = stat.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit "));
        let bytes = least.and_then(|bytes| bytes.trim().parse().ok()).filter(|bytes| *bytes < NO_LIMIT);
        limits.extend(bytes.map(|bytes| Limit { bytes, group: own.clone(), version, is_own: false }));
    }
    limits
}

/// The number in a file of a group, unless it means that there is no limit.
fn number(path: &Path) -> Option<usize> {
    let text = fs::read_to_string(path).ok()?;
    text.trim().parse().ok().filter(|bytes| *bytes < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// The limit of that machine, and the group that sets it, as seen from the machine's root.
    fn limit(files: &[(&str, &str)]) -> Option<(usize, String, bool)> {
        let root = machine(files);
        let limit = Limit::read(root.path())?;
        let group = limit.group.strip_prefix(root.path()).unwrap().display().to_string();
        Some((limit.bytes, group, limit.is_own))
    }

    const TWO: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const ONE: &str = "30 23 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";

    #[test]
    fn the_least_limit_of_version_2_holds_whichever_group_sets_it() {
        let files = [
            ("proc/self/cgroup", "0::/system.slice/nearside.service\n"),
            ("proc/self/mountinfo", TWO),
            ("sys/fs/cgroup/system.slice/nearside.service/memory.max", "167772160\n"),
            ("sys/fs/cgroup/system.slice/nearside.service/memory.high", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
        ];
        let own = "sys/fs/cgroup/system.slice/nearside.service";
        assert_eq!(limit(&files), Some((167_772_160, own.to_owned(), true)));
        let narrower = [&files[..], &[("sys/fs/cgroup/system.slice/memory.max", "1000000\n")]].concat();
        let above = Some((1_000_000, "sys/fs/cgroup/system.slice".to_owned(), false));
        assert_eq!(limit(&narrower), above);
        let high =
            [&files[..], &[("sys/fs/cgroup/system.slice/nearside.service/memory.high", "5000\n")]].concat();
        assert_eq!(limit(&high).unwrap().0, 5000);
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        let namespaced = [
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", TWO),
            ("sys/fs/cgroup/memory.max", "33554432\n"),
        ];
        assert_eq!(limit(&namespaced), Some((33_554_432, "sys/fs/cgroup".to_owned(), true)));
        // Without a namespace the path is that of the host, and what is mounted is the group itself.
        let mounted = "1 2 0:3 /kubepods/pod1/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let bound = [
            ("proc/self/cgroup", "4:memory:/kubepods/pod1/abc\n3:cpu,cpuacct:/kubepods/pod1/abc\n"),
            ("proc/self/mountinfo", mounted),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 1\nhierarchical_memory_limit 50000000\n"),
        ];
        let (bytes, group, is_own) = limit(&bound).unwrap();
        assert_eq!((bytes, group.trim_end_matches('/'), is_own), (50_000_000, "sys/fs/cgroup/memory", false));
    }

    #[test]
    fn version_1_says_no_limit_by_a_huge_number() {
        let files = [
            ("proc/self/cgroup", "4:memory:/a/b\n0::/a/b\n"),
            ("proc/self/mountinfo", ONE),
            ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(limit(&files), Some((2_000_000, "sys/fs/cgroup/memory/a".to_owned(), false)));
        assert_eq!(limit(&files[..3]), None);
    }

    #[test]
    fn where_both_versions_are_mounted_that_which_has_the_controller_counts() {
        let both = format!("{ONE}31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let files = [
            ("proc/self/cgroup", "4:memory:/user\n1:name=systemd:/x\n0::/x\n"),
            ("proc/self/mountinfo", both.as_str()),
            ("sys/fs/cgroup/unified/x/cgroup.procs", ""),
            ("sys/fs/cgroup/memory/user/memory.limit_in_bytes", "3000000"),
        ];
        assert_eq!(limit(&files), Some((3_000_000, "sys/fs/cgroup/memory/user".to_owned(), true)));
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        assert_eq!(limit(&[]), None);
        let odd = [
            ("proc/self/cgroup", "nonsense\n0::/gone\n"),
            ("proc/self/mountinfo", "1 2\n\n30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2\n"),
            ("sys/fs/cgroup/memory.max", "-5\n"),
        ];
        assert_eq!(limit(&odd), None);
    }

    #[test]
    fn the_default_leaves_a_reserve_and_a_machine_without_limits_most_of_its_memory() {
        let of = |bytes| Limit { bytes, group: "/".into(), version: Version::Two, is_own: true }.memory_max();
        assert_eq!((of(160 << 20), of(32 << 20), of(6 << 20)), (144 << 20, 28 << 20, 3 << 20));
        let small = machine(&[("proc/meminfo", "MemTotal:        2000000 kB\nMemFree: 1 kB\n")]);
        assert_eq!(memory_max_by_default(small.path(), None), 512_000_000);
        let large = machine(&[("proc/meminfo", "MemTotal:       24682496 kB\n")]);
        assert_eq!(memory_max_by_default(large.path(), None), 1 << 30);
        assert_eq!(memory_max_by_default(machine(&[]).path(), None), 1 << 30);
    }
}
