//! Hostile programs through a real executor: each failure is named, and nothing of an attempt runs two seconds after its
//! end. `tests/outside/run hostile` does the same a thousand times.

#![expect(clippy::print_stdout, reason = "what it cost is for whoever reads")]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use broadsweep_common::log::KEPT_BYTES;
use broadsweep_tests::lab::{Executor, Lab};
use broadsweep_tests::process::{GONE_WITHIN, all_processes, assert_gone_in_time, is_running};
use broadsweep_tests::wait::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// How many attempts there are to be, where it is not some.
const ATTEMPTS: &str = "BROADSWEEP_HOSTILE_ATTEMPTS";
/// Without being told: each kind twice.
const ATTEMPTS_DEFAULT: usize = 2 * KINDS.len();
const SLOTS: u32 = 4;
/// What an executor says when nothing of an attempt is left.
const ENDED: &str = "attempt ended";
/// The kinds that print do it by the gigabyte in so many rounds, if there are many.
const LOUD_ROUNDS: usize = 10;
/// What never ends is silent in so many rounds, which take their time; then it tells nonsense first.
const SILENT_ROUNDS: usize = 8;
/// An attempt may write faster than it is measured, twice a second.
const DISK_MAX: u64 = (SLOTS as u64 * (16 + 64)) << 20;
const MEMORY_MAX: u64 = 256 << 20;
/// What a run may keep of all that failed, beside the logs of those that print without end.
const RUN_MAX: u64 = 16 << 20;
/// What it may keep of such a log: its beginning and its end.
const LOG_MAX: u64 = 2 * KEPT_BYTES as u64;

/// Something that a program does, and what is said of it: one of these.
struct Kind {
    name: &'static str,
    script: &'static str,
    said: &'static [&'static str],
    /// Where processes are not kept apart it would reach the executor, and this test.
    needs_namespace: bool,
}

const fn kind(name: &'static str, script: &'static str, said: &'static [&'static str]) -> Kind {
    Kind { name, script, said, needs_namespace: false }
}

const fn confined(name: &'static str, script: &'static str, said: &'static [&'static str]) -> Kind {
    Kind { name, script, said, needs_namespace: true }
}

const SLEEPERS: &str = "(setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000 & sleep 1000' &) ; (sleep 1000 &)";

/// `$metrics` and `$round` are told to each; `done_well` ends it as it should.
const KINDS: [Kind; 16] = [
    kind("orphans", "SLEEPERS; exit 3", &["exit code 3"]),
    kind("finishes", "SLEEPERS; echo '{\"validation_error\": 1}' >> \"$metrics\"; done_well", &[""]),
    kind(
        "late",
        "trap '' TERM; echo '{\"epoch\": 7, \"validation_error\": 1}' >> \"$metrics\"; while :; do sleep 1; done",
        &["it reported epoch 7"],
    ),
    kind("prints", "head -c $bytes /dev/zero >&2 & head -c $bytes /dev/zero; wait; exit 5", &["exit code 5"]),
    kind("allocates", "tail /dev/zero > /dev/null; exit 12", &["out of memory", "exit code 12"]),
    kind("closes", "exec <&- >&- 2>&-; exit 6", &["exit code 6"]),
    kind(
        "nonsense",
        "echo '{\"validation_error\": oops' >> \"$metrics\"; exit 0",
        &["its metrics file has the line"],
    ),
    kind(
        "long line",
        "head -c 3000000 /dev/zero | tr '\\0' x >> \"$metrics\"; exit 0",
        &["a line of its metrics file has more than"],
    ),
    kind(
        "never",
        "trap '' TERM; [ $round -lt SILENT_ROUNDS ] || echo '{\"epoch\": 9, \"a\": 1}' >> \"$metrics\"
        [ $((round % 2)) = 0 ] || kill -STOP $$; while :; do sleep 1; done",
        &["no epoch within", "it reported epoch 9"],
    ),
    kind("early", "exit 0", &["ended with exit code 0 and never reported", "did not answer"]),
    kind(
        "removes",
        "rm -rf \"$(dirname \"$metrics\")\"; exit 0",
        &["ended with exit code 0 and never reported", "did not answer"],
    ),
    kind("crashes", "kill -SEGV $$", &["signal 11"]),
    kind("fills", "head -c 40000000 /dev/zero > large; trap '' TERM; sleep 1000", &["its folder became too large"]),
    kind(
        "forks",
        "f() { [ $1 -gt 4 ] && exec sleep 1000; f $(($1 + 1)) & f $(($1 + 1)) & }; f 0; exit 4",
        &["exit code 4"],
    ),
    confined("kills all", "is_confined || exit 8; kill -9 -1; exit 9", &["exit code 9"]),
    confined("kills its parent", "is_confined || exit 8; kill -9 $PPID; kill -9 1; exit 10", &["exit code 10"]),
];

/// What stands before the kinds: who is asked once, and who stays up.
const PRELUDE: &str = r#"
told() { printf '%s' "$line" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
is_confined() { [ "$(cat /proc/1/comm)" = broadsweep-init ] && [ $$ -lt 100 ]; }
done_well() { [ -z "$BROADSWEEP_WORKER" ] || echo '{"done": true}' >&4; exit 0; }
if [ -n "$BROADSWEEP_WORKER" ]; then
    read -r line <&3
    what=$(told what) round=$(told round) metrics=$(told metrics)
    cd "$(told slot_dir)"
else
    what=$BROADSWEEP_PARAM_what round=$BROADSWEEP_PARAM_round metrics=$BROADSWEEP_METRICS
fi
bytes=16000000
[ $round -ge LOUD_ROUNDS ] || bytes=500000000
"#;

/// How many rounds of all kinds there are, and the kinds that this executor may be given.
struct Plan {
    rounds: usize,
    kinds: Vec<&'static Kind>,
}

impl Plan {
    /// For so many attempts on this executor.
    fn new(attempts: usize, executor: &Executor) -> Self {
        let isolation = executor.process.line_with("programs run here");
        let has_namespaces =
            isolation.contains("in a PID namespace") && !isolation.contains("the /proc of the machine");
        let kinds: Vec<_> = KINDS.iter().filter(|kind| has_namespaces || !kind.needs_namespace).collect();
        Self { rounds: attempts.div_ceil(kinds.len()), kinds }
    }

    fn study(&self, lab: &Lab, name: &str, more: &str) -> PathBuf {
        let cases = self.kinds.iter().map(|kind| format!("'{}') {} ;;\n", kind.name, kind.script));
        let script = format!("{PRELUDE}\ncase $what in\n{}esac\n", cases.collect::<String>());
        let loud = if self.rounds > LOUD_ROUNDS { LOUD_ROUNDS } else { 0 };
        let script = script.replace("SLEEPERS", SLEEPERS).replace("LOUD_ROUNDS", &loud.to_string());
        let script = script.replace("SILENT_ROUNDS", &SILENT_ROUNDS.to_string());
        lab.write("hostile.sh", script);
        let names: Vec<_> = self.kinds.iter().map(|kind| kind.name).collect();
        let rounds: Vec<_> = (0..self.rounds).collect();
        // A gigabyte takes its time on a busy machine.
        let hang_ms = if loud > 0 { 60_000 } else { 8_000 };
        let text = format!(
            "name = '{name}'\n\
             [data]\nfiles = ['hostile.sh']\n\
             [trainer]\nkind = 'program'\ncommand = ['sh', 'hostile.sh']\ngrace_s = 0.2\n\
             memory = '64MB'\ndisk = '16MB'\n{more}\n\
             [search]\nsampler = 'grid'\n\
             [search.space]\nround = {{ values = {rounds:?} }}\nwhat = {{ values = {names:?} }}\n\
             [scheduling]\nfailures_max = 1\nexclude_after = 1000\ncopies = false\nhang_factor = 1\n\
             hang_ms_min = {hang_ms}\n"
        );
        lab.write(&format!("{name}.toml"), text)
    }

    /// Each trial has ended as its kind does.
    fn assert_named(&self, table: &[u8]) {
        let rows = csv::Reader::from_reader(table).into_deserialize::<HashMap<String, String>>();
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        assert_eq!(rows.len(), self.rounds * self.kinds.len());
        let mut misnamed = Vec::new();
        for row in rows {
            let kind = self.kinds.iter().find(|kind| kind.name == row["what"]).unwrap();
            let (outcome, reason) = (&row["outcome"], &row["reason"]);
            let is_named = kind.said.iter().any(|said| reason.contains(said));
            let has_result = outcome == "finished";
            if !is_named || has_result != (kind.name == "finishes") || reason.len() > 4096 {
                misnamed.push(format!("{}: {outcome}, {reason}", kind.name));
            }
        }
        assert!(misnamed.is_empty(), "{} are called wrongly:\n{}", misnamed.len(), misnamed.join("\n"));
    }
}

/// A process of an attempt or of a worker.
struct Marked {
    id: u32,
    /// Of a program that is started for each attempt.
    trial: Option<u32>,
}

/// The processes whose temporary folder an executor made in this folder.
fn marked(folder: &Path) -> Vec<Marked> {
    let mark = [b"TMPDIR=", folder.as_os_str().as_bytes(), b"/programs/"].concat();
    let marked = all_processes().filter_map(|id| {
        let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        variables.clone().any(|variable| variable.starts_with(&mark)).then(|| {
            let trial = variables.find_map(|variable| variable.strip_prefix(b"BROADSWEEP_TRIAL="));
            Marked { id, trial: trial.and_then(|trial| std::str::from_utf8(trial).ok()?.parse().ok()) }
        })
    });
    marked.collect()
}

/// What files take below a folder; what goes meanwhile takes nothing.
fn used_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let facts = entry.metadata().ok()?;
        Some(if facts.is_dir() { used_bytes(&entry.path()) } else { facts.blocks() * 512 })
    });
    sizes.sum()
}

/// What was seen of an executor while it ran programs.
struct Watch {
    /// Lines about ends that the executor wrote before.
    earlier: usize,
    /// Trials of which a process was seen.
    seen: HashSet<u32>,
    /// When the executor said that the attempt of a trial has ended.
    ended: HashMap<u32, Instant>,
    disk_peak: u64,
}

impl Watch {
    fn new(executor: &Executor) -> Self {
        let earlier = executor.process.lines_with(ENDED).len();
        Self { earlier, seen: HashSet::new(), ended: HashMap::new(), disk_peak: 0 }
    }

    /// Looks once: nothing may run of what ended two seconds ago.
    fn look(&mut self, executor: &Executor, folder: &Path) {
        let now = Instant::now();
        for line in executor.process.lines_with(ENDED).into_iter().skip(self.earlier) {
            let trial = line.split("attempt=t").nth(1).and_then(|rest| rest.split('.').next()?.parse().ok());
            self.ended.entry(trial.unwrap_or_else(|| panic!("no attempt is named: {line}"))).or_insert(now);
        }
        for process in marked(folder) {
            self.seen.extend(process.trial);
            let ended = process.trial.and_then(|trial| self.ended.get(&trial));
            let is_late = ended.is_some_and(|ended| now.saturating_duration_since(*ended) > GONE_WITHIN);
            let words = || fs::read_to_string(format!("/proc/{}/cmdline", process.id)).unwrap_or_default();
            assert!(
                !is_late || !is_running(process.id),
                "of trial {:?} there still runs {:?}",
                process.trial,
                words()
            );
        }
        self.disk_peak = self.disk_peak.max(used_bytes(&folder.join("programs")));
    }
}

fn attempts() -> usize {
    std::env::var(ATTEMPTS).map_or(ATTEMPTS_DEFAULT, |attempts| attempts.parse().unwrap())
}

#[test]
fn whatever_a_program_does_its_failure_is_named_and_nothing_of_it_stays() {
    let lab = Lab::new(PROGRAM);
    let folder = lab.path("node");
    let executor = lab.executor_with("node", SLOTS, &["--allow-programs"]);
    // Those that stay up are held by the same means: fewer are enough.
    for (name, more, attempts) in [("once", "", attempts()), ("workers", "worker = true", attempts() / 5)] {
        let plan = Plan::new(attempts, &executor);
        let study = plan.study(&lab, name, more);
        let began = Instant::now();
        let driver = lab.tune(&study, name, &["--nodes", &executor.address, "--insecure"]);
        let mut watch = Watch::new(&executor);
        while is_running(driver.id()) {
            watch.look(&executor, &folder);
            thread::sleep(Duration::from_millis(50));
        }
        let ended = driver.wait();
        let said = ended.stderr.lines().rev().take(20).collect::<Vec<_>>().join("\n");
        assert_eq!(ended.code, Some(3), "{name}; the last lines first:\n{said}");
        plan.assert_named(&lab.outcome(name).file("trials.csv"));
        // One that hangs is over for its driver as soon as it is told to stop.
        until("the end of each attempt", || {
            watch.look(&executor, &folder);
            (watch.ended.len() == plan.rounds * plan.kinds.len()).then_some(())
        });
        assert_eq!(watch.seen.is_empty(), name == "workers", "what runs is found, and workers are of no trial");
        assert_gone_in_time(&marked(&folder).iter().map(|process| process.id).collect::<Vec<_>>());
        let gone = || fs::read_dir(folder.join("programs")).map_or(true, |mut left| left.next().is_none());
        until("the end of all folders of programs", || gone().then_some(()));
        let (memory_peak, kept) = (executor.process.memory_peak_bytes(), used_bytes(&lab.path(name)));
        println!(
            "{name}: {} attempts in {:.1} s; at most {} MiB of disk, executor at most {} MiB, the run keeps {} KiB",
            plan.rounds * plan.kinds.len(),
            began.elapsed().as_secs_f64(),
            watch.disk_peak >> 20,
            memory_peak >> 20,
            kept >> 10,
        );
        assert!(watch.disk_peak < DISK_MAX && memory_peak < MEMORY_MAX);
        assert!(kept < RUN_MAX + plan.rounds as u64 * LOG_MAX, "{kept} bytes are kept");
    }
}

#[test]
fn nothing_of_hostile_programs_outlives_an_executor_that_is_killed() {
    for round in 0..attempts().div_ceil(100) {
        let lab = Lab::new(PROGRAM);
        let folder = lab.path("node");
        let worker = if round % 2 == 1 { "worker = true" } else { "" };
        lab.write("clings.sh", format!("{SLEEPERS}; trap '' TERM HUP INT; while :; do sleep 1; done"));
        let study = format!(
            "name = 'clings'\n[data]\nfiles = ['clings.sh']\n\
             [trainer]\nkind = 'program'\ncommand = ['sh', 'clings.sh']\n{worker}\n\
             [search]\nsampler = 'grid'\n[search.space]\na = {{ values = [1, 2, 3, 4] }}\n"
        );
        let study = lab.write("clings.toml", study);
        let executor = lab.executor_with("node", SLOTS, &["--allow-programs"]);
        let driver = lab.tune(&study, "run", &["--nodes", &executor.address, "--insecure"]);
        let each = 5; // the script, its sleep, and three sleepers at least
        let held = until("all slots are taken", || {
            let held: Vec<_> = marked(&folder).iter().map(|process| process.id).collect();
            (held.len() >= each * SLOTS as usize).then_some(held)
        });
        executor.process.kill();
        driver.kill();
        assert_gone_in_time(&held);
        assert!(marked(&folder).is_empty(), "something was started while all was ended");
    }
}
