//! What this machine has, as far as this process may use it.

use std::fs;
use std::path::Path;
use std::thread;

use broadsweep_common::attempt::SLOTS_MAX;

/// Cores of this machine that this process may use.
#[must_use]
pub fn cores() -> u32 {
    thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(SLOTS_MAX).min(SLOTS_MAX))
}

/// Memory of this machine, or of the control group that this process is in, if that has less.
#[must_use]
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = info.totalram.saturating_mul(u64::from(info.mem_unit));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    machine.min(limit(Path::new("/sys/fs/cgroup"), &groups).unwrap_or(u64::MAX))
}

/// The least memory limit of the groups that `groups` (the text of `/proc/self/cgroup`) names, and of those around
/// them: version 2 keeps it in `memory.max`, version 1 in `memory/.../memory.limit_in_bytes`.
fn limit(root: &Path, groups: &str) -> Option<u64> {
    let files = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        match controllers {
            "" => Some((root.to_owned(), path, "memory.max")),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                Some((root.join("memory"), path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    files.flat_map(|(base, path, file)| limits_up(&base, Path::new(path), file)).min()
}

/// The limits in `file` of the group at `path`, and of every group above it. In a container the path may not be there.
fn limits_up(base: &Path, path: &Path, file: &'static str) -> impl Iterator<Item = u64> + use<> {
    let folders: Vec<_> = path.ancestors().map(|group| base.join(group)).collect();
    folders.into_iter().filter_map(move |folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_around_a_group_counts() {
        let two = root(&[("a/b/memory.max", "max\n"), ("a/memory.max", "4096\n"), ("memory.max", "8192\n")]);
        assert_eq!(limit(two.path(), "0::/a/b\n"), Some(4096));
        let one =
            root(&[("memory/jobs/7/memory.limit_in_bytes", "1000\n"), ("memory/memory.limit_in_bytes", "2000\n")]);
        assert_eq!(limit(one.path(), "3:cpu,cpuacct:/\n4:memory:/jobs/7\n"), Some(1000));
        assert_eq!(limit(one.path(), "4:memory:/of/the/host\n"), Some(2000), "in a container");
    }

    #[test]
    fn without_limits_there_is_none() {
        let empty = root(&[]);
        for groups in ["", "nonsense", "0::/\n", "1:memory:/x\n"] {
            assert_eq!(limit(empty.path(), groups), None, "{groups:?}");
        }
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        assert!(cores() >= 1 && memory_bytes() > 1 << 20);
    }
}
