//! Finds processes by walking `/proc`: those that descend from one, and those that bear a mark.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, getpid, kill_process};

/// The variable that marks what a supervisor starts where there are no PID namespaces.
pub(crate) const MARK: &str = "BROADSWEEP_LEASH";

/// How long marked processes are looked for.
const SWEEP_MAX: Duration = Duration::from_secs(1);

/// The processes that `/proc` shows.
fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?))
}

/// The parent in the text of `/proc/<pid>/stat`, whose second field may hold spaces and brackets.
pub(crate) fn parent_in(stat: &str) -> Option<Pid> {
    Pid::from_raw(stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?)
}

/// Kills every descendant of this process. Those that were forked meanwhile remain: call it until there are no children.
pub(crate) fn kill_descendants() {
    for pid in descendants(getpid()) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// What the descendants of a process hold in memory that is no copy of a file.
pub(crate) fn memory_bytes_below(parent: u32) -> u64 {
    let held = |status: &str| kib_in(status, "RssAnon:") + kib_in(status, "RssShmem:");
    files_below(parent, "status").map(|status| held(&status) << 10).sum()
}

/// The most that one of the descendants of a process held in memory since [`forget_peaks_below`].
pub(crate) fn peak_bytes_below(parent: u32) -> u64 {
    files_below(parent, "status").map(|status| kib_in(&status, "VmHWM:") << 10).max().unwrap_or(0)
}

/// What the descendants of a process hold now is the most that they held.
pub(crate) fn forget_peaks_below(parent: u32) {
    for pid in below(parent) {
        // One that has ended meanwhile held nothing.
        let _ = fs::write(format!("/proc/{}/clear_refs", pid.as_raw_nonzero()), "5");
    }
}

/// Processor time of the descendants of a process so far, and of those that they have outlived.
pub(crate) fn cpu_below(parent: u32) -> Duration {
    let ticks: u64 = files_below(parent, "stat").map(|stat| ticks_in(&stat)).sum();
    Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
}

/// A number in the text of `/proc/<pid>/status`.
fn kib_in(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Processor time in the text of `/proc/<pid>/stat`: its own in user and system mode, then that of its ended children.
fn ticks_in(stat: &str) -> u64 {
    let behind_name = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    behind_name.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn below(parent: u32) -> Vec<Pid> {
    i32::try_from(parent).ok().and_then(Pid::from_raw).map(descendants).unwrap_or_default()
}

/// A file of each process below one.
fn files_below(parent: u32, name: &str) -> impl Iterator<Item = String> {
    below(parent).into_iter().map(move |pid| {
        let content = fs::read(format!("/proc/{}/{name}", pid.as_raw_nonzero())).unwrap_or_default();
        String::from_utf8_lossy(&content).into_owned()
    })
}

/// All processes below one, each after its parent.
fn descendants(of: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<Pid>> = BTreeMap::new();
    for pid in processes() {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        if let Some(parent) = parent_in(&String::from_utf8_lossy(&stat)) {
            children.entry(parent.as_raw_nonzero().get()).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        let below = children.remove(&parent.as_raw_nonzero().get()).unwrap_or_default();
        parents.extend(&below);
        found.extend(below);
    }
    found
}

/// Kills every process in whose first environment `mark` is, until there is none for two looks.
pub(crate) fn kill_marked(mark: &str) {
    let deadline = Instant::now() + SWEEP_MAX;
    let entry: Vec<u8> = [MARK.as_bytes(), b"=", mark.as_bytes()].concat();
    let is_marked = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == entry)
    };
    let mut looks_without = 0;
    while looks_without < 2 && Instant::now() < deadline {
        let marked: Vec<_> = processes().filter(is_marked).collect();
        looks_without = if marked.is_empty() { looks_without + 1 } else { 0 };
        for pid in marked {
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent_in("7 (a) S 3) R 5 7 7 0"), Pid::from_raw(5));
        assert_eq!(parent_in("1 (init) S 0 1"), None);
        assert_eq!(parent_in("nonsense"), None);
    }

    #[test]
    fn processor_time_is_that_of_a_process_and_of_its_ended_children() {
        assert_eq!(ticks_in("7 (a) S 3) R 5 7 7 0 -1 4 9 9 9 9 1 20 300 4000 20 0 1"), 4321);
        assert_eq!(ticks_in("nonsense"), 0);
    }

    #[test]
    fn memory_is_what_a_status_says_of_it() {
        let status =
            "Name:\tRssAnon: 9 kB\nVmRSS:\t    300 kB\nRssAnon:\t     100 kB\nRssFile:\t 190 kB\nRssShmem:\t 10 kB\n";
        assert_eq!(kib_in(status, "RssAnon:"), 100);
        assert_eq!(kib_in(status, "VmHWM:"), 0);
        assert_eq!(kib_in("RssAnon: much", "RssAnon:"), 0);
    }
}
