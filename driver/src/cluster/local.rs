//! Executors that this machine lends: child processes of the same binary, on loopback ports of their own.
//!
//! A dead child is started again. Children end when their run does; those of a driver that was killed go on for a while
//! (`--orphan-timeout`), so that a later one can adopt them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broadsweep_common::attempt::SLOTS_MAX;
use broadsweep_executor::command::LISTENING;
use broadsweep_executor::machine::{cores, memory_bytes};
use broadsweep_proto::secret::Secret;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Member;
use super::roster::{ChildRecord, LocalCrew, Roster};

/// Executors that one machine may lend.
pub const EXECUTORS_MAX: u32 = 256;
/// A child that lives no longer than this did not start well.
const STARTED_WELL: Duration = Duration::from_secs(2);
/// Bad starts in a row before a child is given up.
const BAD_STARTS_MAX: u32 = 5;
/// How often a child of an earlier driver is looked at: it is not ours to wait for.
const ADOPTED_POLL: Duration = Duration::from_millis(100);

/// How the names of local executors begin; their number follows.
const NAME: &str = "local ";

/// Whether an executor with this name was started by a driver, and is no node.
#[must_use]
pub fn is_local(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|number| number.parse::<u32>().is_ok())
}

/// `ExS`: E executors of S slots; `E`: E executors that share the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalShape {
    /// How many executors.
    pub executors: u32,
    /// Slots of each; `None` shares the cores among them, at least one slot each.
    pub slots: Option<u32>,
}

impl FromStr for LocalShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (executors, slots) = match text.split_once('x') {
            Some((executors, slots)) => (executors, Some(slots)),
            None => (text, None),
        };
        let number = |part: &str, what: &str, max: u32| match part.parse() {
            Ok(number) if (1..=max).contains(&number) => Ok(number),
            _ => Err(format!("{what} `{part}`: a number from 1 to {max}; write 13x1 for 13 executors of 1 slot")),
        };
        Ok(Self {
            executors: number(executors, "executors", EXECUTORS_MAX)?,
            slots: slots.map(|slots| number(slots, "slots", SLOTS_MAX)).transpose()?,
        })
    }
}

impl fmt::Display for LocalShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.slots {
            Some(slots) => write!(f, "{}x{slots}", self.executors),
            None => write!(f, "{}", self.executors),
        }
    }
}

impl LocalShape {
    /// Slots of executor `index` on a machine of `cores`: the first executors get the odd ones.
    #[must_use]
    pub fn slots_of(self, index: u32, cores: u32) -> u32 {
        self.slots.unwrap_or_else(|| (cores / self.executors + u32::from(index < cores % self.executors)).max(1))
    }

    /// What executor `index` may take of a machine's memory: as much a slot as all others.
    #[must_use]
    pub fn memory_of(self, index: u32, cores: u32, memory_bytes: u64) -> u64 {
        memory_bytes / u64::from(self.slots(cores)) * u64::from(self.slots_of(index, cores))
    }

    /// Slots in all.
    #[must_use]
    pub fn slots(self, cores: u32) -> u32 {
        (0..self.executors).map(|index| self.slots_of(index, cores)).sum()
    }
}

/// Running local executors. Dropping it ends them.
pub struct LocalExecutors {
    _supervisors: JoinSet<()>,
    roster: Roster,
}

impl Drop for LocalExecutors {
    fn drop(&mut self) {
        self.roster.kill_children();
    }
}

/// How a local executor is started.
#[derive(Debug)]
struct Start {
    index: usize,
    program: PathBuf,
    cache: PathBuf,
    cache_bytes: Option<u64>,
    slots: u32,
    memory_bytes: u64,
    orphan_timeout_s: u64,
    log: PathBuf,
    secret: Secret,
    roster: Roster,
    /// Runs since an earlier driver.
    adopted: Option<ChildRecord>,
}

impl LocalExecutors {
    /// Starts the executors of `shape`, or adopts those that an earlier driver of the run started. They write their
    /// logs to `logs`; `roster` follows them.
    ///
    /// # Errors
    /// If this program cannot be found, or a log file cannot be made.
    pub fn start(
        shape: LocalShape,
        crew: &LocalCrew,
        logs: &Path,
        roster: &Roster,
    ) -> io::Result<(Self, Vec<Member>)> {
        let program = std::env::current_exe()?;
        let (cores, memory_bytes) = (cores(), memory_bytes());
        let mut supervisors = JoinSet::new();
        let mut executors = Vec::new();
        for index in 0..shape.executors {
            let known = crew.children.get(index as usize).cloned().flatten();
            let start = Start {
                index: index as usize,
                program: program.clone(),
                cache: crew.cache.clone(),
                cache_bytes: crew.cache_bytes,
                slots: shape.slots_of(index, cores),
                memory_bytes: shape.memory_of(index, cores, memory_bytes),
                orphan_timeout_s: crew.orphan_timeout_s,
                log: logs.join(format!("executor-{index}.log")),
                secret: crew.secret.clone(),
                roster: roster.clone(),
                adopted: known.filter(ChildRecord::is_alive),
            };
            open_log(&start.log)?; // an error here is worth more than one in the background
            let (here, whereabouts) = watch::channel(None);
            supervisors.spawn(supervise(Arc::new(start), here));
            executors.push(Member { name: format!("{NAME}{index}"), whereabouts, is_former: false });
        }
        Ok((Self { _supervisors: supervisors, roster: roster.clone() }, executors))
    }
}

/// Starts a child, says where it listens, and starts it again when it ends.
async fn supervise(start: Arc<Start>, here: watch::Sender<Option<String>>) {
    if let Some(child) = &start.adopted {
        here.send_replace(Some(child.address.clone()));
        while child.is_alive() {
            tokio::time::sleep(ADOPTED_POLL).await;
        }
        here.send_replace(None);
    }
    let mut bad_starts = 0;
    while bad_starts < BAD_STARTS_MAX {
        let began = Instant::now();
        match spawn(&start).await {
            Ok((mut child, address)) => {
                let pid = child.id().and_then(|id| i32::try_from(id).ok());
                let record = pid.map(|pid| ChildRecord { address: address.clone(), pid });
                start.roster.note(start.index, record);
                here.send_replace(Some(address));
                let ended = child.wait().await;
                start.roster.note(start.index, None);
                tracing::warn!(log = %start.log.display(), ?ended, "a local executor ended; starting it again");
            }
            Err(error) => tracing::warn!(log = %start.log.display(), %error, "a local executor did not start"),
        }
        here.send_replace(None);
        bad_starts = bad_starts_after(bad_starts, began.elapsed());
    }
    tracing::error!(log = %start.log.display(), "a local executor ended {BAD_STARTS_MAX} times at once; given up");
}

/// Bad starts in a row by now: so many came before the last child, which lived for so long.
fn bad_starts_after(before: u32, lived: Duration) -> u32 {
    if lived > STARTED_WELL { 0 } else { before + 1 }
}

/// A child, and the address that it prints once it listens.
async fn spawn(start: &Start) -> io::Result<(Child, String)> {
    let mut child = Command::new(&start.program)
        .args(["executor", "--listen", "127.0.0.1:0", "--ends-when-orphaned"])
        .args(["--orphan-timeout", &start.orphan_timeout_s.to_string()])
        .args(["--slots", &start.slots.to_string()])
        .arg(format!("--memory={}", start.memory_bytes))
        .arg("--cache-dir")
        .arg(&start.cache)
        .args(start.cache_bytes.map(|bytes| format!("--cache-bytes={bytes}")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(open_log(&start.log)?)
        // Ctrl-C reaches the whole foreground group; the driver decides when its executors end.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    // Where nobody else sees it: the arguments and the environment of a process can be read.
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("no pipe to the child"))?;
    stdin.write_all(start.secret.bytes()).await?;
    drop(stdin);
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe to the child"))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    match line.strip_prefix(LISTENING) {
        Some(address) => Ok((child, address.trim().to_owned())),
        None => Err(io::Error::other(format!("it ended before it listened; see {}", start.log.display()))),
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::cluster::roster::Crew;

    #[test]
    fn the_cores_are_shared_among_the_executors() {
        let rows = [
            ("1", 4, vec![4]),
            ("3", 8, vec![3, 3, 2]),
            ("13", 2, vec![1; 13]),
            ("13x1", 64, vec![1; 13]),
            ("2x3", 1, vec![3, 3]),
        ];
        for (text, cores, expected) in rows {
            let shape: LocalShape = text.parse().unwrap();
            assert_eq!(shape.to_string(), text);
            let slots: Vec<_> = (0..shape.executors).map(|index| shape.slots_of(index, cores)).collect();
            assert_eq!(slots, expected, "{text} on {cores} cores");
            assert_eq!(shape.slots(cores), expected.iter().sum::<u32>());
        }
    }

    #[test]
    fn the_memory_is_shared_slot_by_slot_and_never_more_than_there_is() {
        let share = |text: &str, cores: u32, bytes: u64| {
            let shape: LocalShape = text.parse().unwrap();
            (0..shape.executors).map(|index| shape.memory_of(index, cores, bytes)).collect::<Vec<_>>()
        };
        assert_eq!(share("13x1", 2, 1300), [100; 13]);
        assert_eq!(share("3", 8, 8000), [3000, 3000, 2000]);
        assert_eq!(share("1", 4, 4003), [4000]);
    }

    /// The roster of a run with one local executor.
    fn roster(folder: &Path, child: Option<ChildRecord>) -> Roster {
        let crew = LocalCrew {
            shape: "1".to_owned(),
            cache: folder.to_owned(),
            cache_bytes: None,
            cold: false,
            orphan_timeout_s: 600,
            secret: Secret::draw().unwrap(),
            children: vec![child],
        };
        Roster::create(folder, "/study".into(), Crew::Local(crew)).unwrap()
    }

    #[test]
    fn local_executors_end_with_their_run_whoever_started_them() {
        let folder = tempfile::tempdir().unwrap();
        let waits = ["-c", "read line", "sh", "--ends-when-orphaned"];
        let mut child = std::process::Command::new("sh").args(waits).stdin(Stdio::piped()).spawn().unwrap();
        let record = ChildRecord { address: String::new(), pid: child.id() as i32 };
        let roster = roster(folder.path(), Some(record));
        drop(LocalExecutors { _supervisors: JoinSet::new(), roster });
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn an_executor_that_ends_whenever_it_is_started_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let roster = roster(folder.path(), None);
        let Crew::Local(LocalCrew { secret, .. }) = roster.crew() else { unreachable!() };
        let start = Start {
            index: 0,
            program: "sh".into(), // which finds no script called `executor`, and says so in a line
            cache: folder.path().to_owned(),
            cache_bytes: None,
            slots: 1,
            memory_bytes: 1 << 30,
            orphan_timeout_s: 600,
            log: folder.path().join("executor-0.log"),
            secret,
            roster,
            adopted: None,
        };
        let (log, (here, whereabouts)) = (start.log.clone(), watch::channel(None));
        supervise(Arc::new(start), here).await;
        assert_eq!(std::fs::read_to_string(log).unwrap().lines().count(), BAD_STARTS_MAX as usize);
        assert!(whereabouts.has_changed().is_err(), "nobody waits for it any more");
    }

    #[test]
    fn a_start_is_bad_if_the_child_did_not_live_long_and_counts_until_one_does() {
        let long = STARTED_WELL + Duration::from_millis(1);
        let counts =
            [(0, STARTED_WELL), (3, STARTED_WELL), (3, long)].map(|(before, lived)| bad_starts_after(before, lived));
        assert_eq!(counts, [1, 4, 0]);
    }

    #[test]
    fn local_executors_are_told_from_nodes_by_their_names() {
        let names = ["local 0", "local 12", "local", "local x", "node1:7717"];
        assert_eq!(names.map(is_local), [true, true, false, false, false]);
    }

    #[test]
    fn a_shape_that_is_none_says_how_to_write_one() {
        for text in ["", "0", "x", "2x", "2x0", "-1", "2x2x2", "99999"] {
            let error = text.parse::<LocalShape>().unwrap_err();
            assert!(error.contains("write 13x1"), "{text}: {error}");
        }
    }
}
