//! What the tests share: the ways that this machine allows, orders, and looks at what is left.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use broadsweep_leash::{Allowed, Ended, Excerpt, Heard, Isolation, Leash, Memory, Order, Running, Slot, Tree};

pub(crate) const STAND_IN: &str = env!("CARGO_BIN_EXE_broadsweep-leash-stand-in");
/// The promise.
pub(crate) const GONE_WITHIN: Duration = Duration::from_secs(2);
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// One way to keep programs on a leash.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) leash: Leash,
    pub(crate) allowed: Allowed,
    pub(crate) isolation: Isolation,
}

impl Way {
    pub(crate) fn has_namespaces(&self) -> bool {
        self.isolation.tree != Tree::Subreaper
    }

    pub(crate) fn has_groups(&self) -> bool {
        self.isolation.memory != Memory::Rlimit
    }
}

/// All ways that differ on this machine.
pub(crate) fn ways() -> &'static [Way] {
    static WAYS: LazyLock<Vec<Way>> = LazyLock::new(|| {
        let all = [(true, true), (true, false), (false, true), (false, false)];
        let ways = all.map(|(namespaces, groups)| {
            let allowed = Allowed { namespaces, groups };
            let leash = Leash::with_supervisor(STAND_IN, allowed);
            let isolation = leash.probe().unwrap();
            Way { leash, allowed, isolation }
        });
        let gets_all =
            |way: &Way| way.has_namespaces() == way.allowed.namespaces && way.has_groups() == way.allowed.groups;
        let ways: Vec<Way> = ways.into_iter().filter(gets_all).collect();
        for way in &ways {
            eprintln!("{}", way.isolation);
        }
        ways
    });
    &WAYS
}

/// A word that no other test's processes have in their environment.
pub(crate) fn new_mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn order(program: &str, arguments: &[&str], mark: &str) -> Order {
    Order {
        program: program.into(),
        arguments: arguments.iter().map(Into::into).collect(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into()), ("LEASH_TEST".into(), mark.into())],
        folder: "/".into(),
        ..Order::default()
    }
}

pub(crate) fn shell(script: &str, mark: &str) -> Order {
    order("sh", &["-c", script], mark)
}

/// Runs to its end. The output is a bounded part of it.
pub(crate) fn run(slot: &mut Slot, order: &Order) -> (Ended, String) {
    let mut running = slot.start(order).unwrap();
    listen(&mut running)
}

pub(crate) fn listen(running: &mut Running) -> (Ended, String) {
    let mut output = Excerpt::new(64 << 10, 64 << 10);
    let ended = running.wait(Instant::now() + PATIENCE, |heard| {
        if let Heard::Output(bytes) = heard {
            output.push(bytes);
        }
    });
    let output = String::from_utf8_lossy(&output.to_bytes()).into_owned();
    (ended.unwrap_or_else(|| panic!("it has not ended; it printed {output}")), output)
}

/// Listens until the program has printed this word.
pub(crate) fn listen_for(running: &mut Running, word: &str) -> String {
    let mut output = String::new();
    let deadline = Instant::now() + PATIENCE;
    while !output.contains(word) {
        assert!(Instant::now() < deadline, "{word} did not come, but {output}");
        let ended = running.wait(Instant::now() + Duration::from_millis(10), |heard| {
            if let Heard::Output(bytes) = heard {
                output.push_str(&String::from_utf8_lossy(bytes));
            }
        });
        assert!(ended.is_none() || output.contains(word), "{word} did not come, but {output} and {ended:?}");
    }
    output
}

/// The processes with this mark in their environment.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    let entry = format!("LEASH_TEST={mark}").into_bytes();
    let is_marked = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == entry)
    };
    processes().filter(is_marked).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Processes of this one, zombies included.
pub(crate) fn children() -> Vec<u32> {
    let own = std::process::id().to_string();
    let is_ours = |pid: &u32| {
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        let stat = String::from_utf8_lossy(&stat).into_owned();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&own))
    };
    processes().filter(is_ours).collect()
}

/// Looks until it is so.
pub(crate) fn eventually(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        thread::yield_now();
    }
}

pub(crate) fn assert_gone(mark: &str) {
    eventually("nothing of it runs", GONE_WITHIN, || marked(mark).is_empty());
}

/// The folder that this slot's control groups have while a program runs.
pub(crate) fn group_folder(way: &Way, slot: &Slot) -> Option<PathBuf> {
    let Memory::Group { folder, .. } = &way.isolation.memory else { return None };
    Some(folder.with_file_name(format!("broadsweep-slot-{}", slot.supervisor()?)))
}

pub(crate) fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
