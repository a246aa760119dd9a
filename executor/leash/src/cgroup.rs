//! Control groups, version 1 and 2: where one may be made, and one for each attempt that limits its memory and counts.
//!
//! A slot uses one name, so that whoever outlives the supervisor knows what to clear.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, test_kill_process};

use crate::isolation::Memory;

/// What our folders begin with; the number of a supervisor follows.
const PREFIX: &str = "broadsweep-slot-";
/// Where the executor moves itself if its own group has to be empty (version 2).
const LEAF: &str = "broadsweep-executor";
/// How long a group may stay busy after its last process has ended.
const REMOVAL_MAX: Duration = Duration::from_secs(1);

/// The files of one version.
struct Files {
    limit: &'static str,
    swap: &'static str,
    peak: &'static str,
    events: &'static str,
}

const fn files(version: u8) -> Files {
    match version {
        1 => Files {
            limit: "memory.limit_in_bytes",
            swap: "memory.memsw.limit_in_bytes",
            peak: "memory.max_usage_in_bytes",
            events: "memory.oom_control",
        },
        _ => Files { limit: "memory.max", swap: "memory.swap.max", peak: "memory.peak", events: "memory.events" },
    }
}

/// A group with nothing in it yet.
pub(crate) struct Group {
    folder: PathBuf,
    version: u8,
    members: File,
}

impl Group {
    /// Makes it, with this limit.
    pub(crate) fn make(folder: &Path, version: u8, limit_bytes: Option<u64>) -> io::Result<Self> {
        remove(folder)?;
        fs::create_dir(folder)?;
        let group = open_group(folder, version, limit_bytes);
        if group.is_err() {
            remove(folder)?;
        }
        group
    }

    /// Moves the process that calls into the group. In a child, before it becomes the program.
    pub(crate) fn join(&self) -> io::Result<()> {
        Ok(rustix::io::write(self.members.as_fd(), b"0").map(drop)?)
    }

    /// Processes that the kernel killed for want of memory.
    pub(crate) fn kills(&self) -> u64 {
        let events = fs::read_to_string(self.folder.join(files(self.version).events)).unwrap_or_default();
        count(&events, "oom_kill")
    }

    /// The most memory that was used at one time. Linux before 5.19 does not tell with version 2.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        fs::read_to_string(self.folder.join(files(self.version).peak)).ok()?.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What cannot be removed now is removed before the next attempt, or by the next executor.
        let _ = remove(&self.folder);
    }
}

fn open_group(folder: &Path, version: u8, limit_bytes: Option<u64>) -> io::Result<Group> {
    let files = files(version);
    if let Some(limit) = limit_bytes {
        let limit = limit.to_string();
        fs::write(folder.join(files.limit), &limit)?;
        // Where swap is not accounted for, the file is not there.
        let swap = folder.join(files.swap);
        if swap.exists() {
            fs::write(swap, if version == 1 { limit.as_str() } else { "0" })?;
        }
    }
    let members = OpenOptions::new().write(true).open(folder.join("cgroup.procs"))?;
    Ok(Group { folder: folder.to_owned(), version, members })
}

/// The number behind `name` in lines of names and numbers.
fn count(lines: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    lines.lines().find_map(value).unwrap_or(0)
}

/// Kills all that is in a group, and removes it. Nothing happens if there is none.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + REMOVAL_MAX;
    loop {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                kill(folder);
                remove_groups_in(folder);
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
    }
}

/// What a program has made there for itself. Deeper ones are reached from within, level by level.
fn remove_groups_in(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for inside in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        kill(&inside.path());
        remove_groups_in(&inside.path());
        let _ = fs::remove_dir(inside.path());
    }
}

fn kill(folder: &Path) {
    // There since Linux 5.14, with version 2. Opened as it is: a write that creates would fail otherwise than it should.
    let at_once =
        OpenOptions::new().write(true).open(folder.join("cgroup.kill")).and_then(|mut it| it.write_all(b"1"));
    if at_once.is_err() {
        for pid in pids(folder).into_iter().filter(|pid| *pid != getpid()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn pids(folder: &Path) -> Vec<Pid> {
    let lines = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    lines.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

/// Where this process may make a group that limits memory, shown by making one.
pub(crate) fn find() -> Option<Memory> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    own_groups(&own, &mounts).into_iter().find_map(|(version, own)| {
        let base = if version == 1 { own } else { divisible(&own)? };
        remove_stale(&base);
        let folder = base.join(format!("{PREFIX}{}", getpid()));
        let group = Group::make(&folder, version, Some(1 << 30)).ok()?;
        let counts = group.folder.join(files(version).events).exists();
        drop(group);
        counts.then_some(Memory::Group { version, folder })
    })
}

/// What supervisors left that were killed together with their executors. A group with a process in it stays.
fn remove_stale(base: &Path) {
    let names =
        fs::read_dir(base).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names {
        let owner = name.strip_prefix(PREFIX).and_then(|number| Pid::from_raw(number.parse().ok()?));
        if owner.is_some_and(|owner| test_kill_process(owner) == Err(rustix::io::Errno::SRCH)) {
            let _ = fs::remove_dir(base.join(name));
        }
    }
}

/// The groups that this process is in, with their versions, by the texts of `/proc/self/cgroup` and
/// `/proc/self/mountinfo`. Version 1 comes first: where memory is there, version 2 does not have it.
fn own_groups(own: &str, mounts: &str) -> Vec<(u8, PathBuf)> {
    let path = |is_wanted: &dyn Fn(&str) -> bool| {
        let mut lines = own.lines().map(|line| line.splitn(3, ':').skip(1));
        lines.find_map(|mut fields| (is_wanted(fields.next()?)).then(|| fields.next()).flatten())
    };
    let of_memory = |controllers: &str| controllers.split(',').any(|controller| controller == "memory");
    let paths = [(1, path(&of_memory)), (2, path(&str::is_empty))];
    let mount = |version: u8, path: &str| {
        mounts.lines().find_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mut kind = kind.split(' ');
            let is_wanted = match kind.next()? {
                "cgroup" => version == 1 && of_memory(kind.nth(1)?),
                "cgroup2" => version == 2,
                _ => false,
            };
            let mut place = place.split(' ').skip(3).filter(|_| is_wanted);
            // In a container the mount may show a part of the tree; what lies outside of it is not to be reached.
            let root = Path::new(place.next()?);
            let inside = Path::new(path).strip_prefix(root).ok().filter(|inside| !inside.starts_with(".."))?;
            Some(Path::new(place.next()?).join(inside))
        })
    };
    paths.into_iter().filter_map(|(version, path)| Some((version, mount(version, path?)?))).collect()
}

/// The group of version 2 below which groups can have memory limits: our own or the one around it. For our own no
/// process may be in it, so that the executor and its supervisors move to a leaf of it, if nobody else is there.
fn divisible(own: &Path) -> Option<PathBuf> {
    let around = own.parent().filter(|_| own.ends_with(LEAF));
    if let Some(around) = around {
        return divides(around).then(|| around.to_owned());
    }
    if divides(own) || divide(own) {
        return Some(own.to_owned());
    }
    let around = own.parent().filter(|around| divides(around))?;
    Some(around.to_owned())
}

fn divides(group: &Path) -> bool {
    let controllers = fs::read_to_string(group.join("cgroup.subtree_control")).unwrap_or_default();
    controllers.split_whitespace().any(|controller| controller == "memory")
}

fn divide(group: &Path) -> bool {
    let enable = || fs::write(group.join("cgroup.subtree_control"), "+memory").is_ok();
    if enable() {
        return true;
    }
    let executor = getppid();
    let is_ours = |pid: &Pid| Some(*pid) == executor || parent(*pid) == executor;
    let leaf = group.join(LEAF);
    // Another slot's supervisor may start in between.
    for _ in 0..5 {
        let members = pids(group);
        if executor.is_none() || !members.iter().all(is_ours) || (!leaf.exists() && fs::create_dir(&leaf).is_err()) {
            break;
        }
        for pid in members {
            let _ = fs::write(leaf.join("cgroup.procs"), pid.as_raw_nonzero().to_string());
        }
        if enable() {
            return true;
        }
    }
    false
}

fn parent(pid: Pid) -> Option<Pid> {
    crate::tree::parent_in(&fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_groups_are_found_where_they_are_mounted() {
        let hybrid = "9:name=systemd:/\n4:memory:/jobs/7\n1:cpu:/\n0::/\n";
        let mounts = "27 20 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      28 20 0:24 / /sys/fs/cgroup/memory rw,relatime shared:1 - cgroup cgroup rw,memory\n\
                      29 20 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = vec![(1, "/sys/fs/cgroup/memory/jobs/7".into()), (2, "/sys/fs/cgroup/unified/".into())];
        assert_eq!(own_groups(hybrid, mounts), found);
        let unified = "30 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(own_groups("0::/a.slice/b.scope\n", unified), [(2, "/sys/fs/cgroup/a.slice/b.scope".into())]);
        let part = "30 20 0:25 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(own_groups("0::/docker/x/y\n", part), [(2, "/sys/fs/cgroup/y".into())]);
        assert_eq!(own_groups("0::/docker/z\n", part), [], "it is not shown here");
        assert_eq!(own_groups("nonsense\n0::/\n", "nonsense\n"), []);
    }

    #[test]
    fn the_kernels_count_is_read_by_its_whole_name() {
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), 3);
        assert_eq!(count("low 0\noom 4\noom_kill 2\noom_group_kill 0\n", "oom_kill"), 2);
        assert_eq!(count("", "oom_kill"), 0);
    }

    #[test]
    fn a_group_is_removed_with_all_that_is_in_it_where_one_may_be_made() {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        for (version, own) in own_groups(&own, &mounts) {
            let folder = own.join(format!("broadsweep-test-{}", getpid()));
            let Ok(group) = Group::make(&folder, version, None) else { continue };
            let inside = folder.join("a/b");
            fs::create_dir_all(&inside).unwrap();
            let mut programs = [&folder, &inside].map(|group| {
                let program = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
                fs::write(group.join("cgroup.procs"), program.id().to_string()).unwrap();
                program
            });
            drop(group);
            assert!(!folder.exists(), "version {version}");
            for program in &mut programs {
                assert_eq!(program.wait().unwrap().to_string(), "signal: 9 (SIGKILL)", "version {version}");
            }
        }
    }

    #[test]
    fn a_group_of_version_2_is_divided_where_memory_is_handed_down() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("a/b");
        fs::create_dir_all(&own).unwrap();
        fs::write(root.path().join("a/cgroup.subtree_control"), "cpu memory pids\n").unwrap();
        fs::write(own.join("cgroup.subtree_control"), "cpu\n").unwrap();
        fs::write(own.join("cgroup.procs"), "1\n").unwrap();
        assert!(divides(&root.path().join("a")) && !divides(&own));
        assert_eq!(divisible(&root.path().join("a").join(LEAF)), Some(root.path().join("a")), "it moved before");
    }
}
