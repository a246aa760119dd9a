//! Finds processes by walking `/proc`: those that descend from this one, and those that bear a mark.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

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
    let mut children: BTreeMap<i32, Vec<Pid>> = BTreeMap::new();
    for pid in processes() {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        if let Some(parent) = parent_in(&String::from_utf8_lossy(&stat)) {
            children.entry(parent.as_raw_nonzero().get()).or_default().push(pid);
        }
    }
    let mut parents = vec![getpid()];
    while let Some(parent) = parents.pop() {
        for child in children.remove(&parent.as_raw_nonzero().get()).unwrap_or_default() {
            let _ = kill_process(child, Signal::KILL);
            parents.push(child);
        }
    }
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
}
