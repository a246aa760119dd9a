//! Who executes a run, written down in its folder: `resume` needs no `--nodes`, and finds the local executors that
//! outlived their driver.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broadsweep_identity::Role;
use broadsweep_proto::proof::{IdentityFile, Proof};
use broadsweep_proto::secret::Secret;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::path_text;
use crate::results::folder::write_whole_for_owner;

/// The roster's file in the run folder.
pub const ROSTER: &str = "executors.json";

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sheet {
    /// The folder that the relative paths in the study start from, from the root.
    #[serde(with = "path_text")]
    study_folder: PathBuf,
    crew: Crew,
}

/// Which executors a run uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crew {
    /// Executors that run elsewhere.
    Nodes(NodeCrew),
    /// Executors that this machine lends.
    Local(LocalCrew),
}

/// Executors that run elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCrew {
    /// What `--nodes` was given, as it was written; the path of a file is made absolute.
    #[serde(with = "path_text")]
    pub argument: OsString,
    /// Who the driver is to them.
    pub introduction: Introduction,
}

/// How a driver shows nodes who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Introduction {
    /// With the identity in the usual place, if there is one.
    #[default]
    Usual,
    /// With the identity in this file, from the root.
    File(#[serde(with = "path_text")] PathBuf),
    /// Not at all.
    Insecure,
}

impl Introduction {
    /// What to show when nodes are dialled.
    ///
    /// # Errors
    /// In words: the identity cannot be used.
    pub fn proof(&self) -> Result<Proof, String> {
        let named = match self {
            Self::Insecure => return Ok(Proof::Nothing),
            Self::Usual => None,
            Self::File(path) => Some(path.as_path()),
        };
        Ok(IdentityFile::for_role(Role::Driver, named)?.map_or(Proof::Nothing, Proof::Identity))
    }
}

/// Executors that this machine lends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalCrew {
    /// As after `--local`.
    pub shape: String,
    /// Their cache folder, from the root.
    #[serde(with = "path_text")]
    pub cache: PathBuf,
    /// What the cache folder may have; without it, what executors allow it by themselves.
    #[serde(default)]
    pub cache_bytes: Option<u64>,
    /// Whether the cache folder goes when the run ends.
    pub cold: bool,
    /// Seconds that they outlive their driver.
    pub orphan_timeout_s: u64,
    /// By which they know the drivers of the run.
    pub secret: Secret,
    /// The running ones, in their order.
    pub children: Vec<Option<ChildRecord>>,
}

/// A local executor that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildRecord {
    /// Where it listens.
    pub address: String,
    /// Its process.
    pub pid: i32,
}

impl ChildRecord {
    /// Whether its process is still there, and still an executor: numbers of processes are given out again.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        let arguments = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let is_executor = arguments.split(|byte| *byte == 0).any(|argument| argument == b"--ends-when-orphaned");
        is_executor && test_kill_process(pid).is_ok()
    }

    /// Ends it at once.
    pub fn kill(&self) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
            && let Err(error) = kill_process(pid, Signal::KILL)
        {
            tracing::warn!(pid = self.pid, %error, "a local executor could not be ended");
        }
    }
}

/// The roster of a run, and its file.
#[derive(Clone, Debug)]
pub struct Roster {
    path: PathBuf,
    sheet: Arc<Mutex<Sheet>>,
}

impl Roster {
    /// Writes the roster of a new run into its folder.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(folder: &Path, study_folder: PathBuf, crew: Crew) -> io::Result<Self> {
        let sheet = Sheet { study_folder, crew };
        let roster = Self { path: folder.join(ROSTER), sheet: Arc::new(Mutex::new(sheet)) };
        roster.write(&roster.sheet())?;
        Ok(roster)
    }

    /// Reads the roster of a run.
    ///
    /// # Errors
    /// What the system said, or what is wrong with the file.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(ROSTER);
        let text = fs::read_to_string(&path)?;
        let sheet = serde_json::from_str(&text)?;
        Ok(Self { path, sheet: Arc::new(Mutex::new(sheet)) })
    }

    /// Which executors the run uses now.
    #[must_use]
    pub fn crew(&self) -> Crew {
        self.sheet().crew.clone()
    }

    /// The folder that the paths in the study start from.
    #[must_use]
    pub fn study_folder(&self) -> PathBuf {
        self.sheet().study_folder.clone()
    }

    /// From now on the run uses these executors, and the paths in its study start from this folder.
    ///
    /// # Errors
    /// What the system said.
    pub fn change(&self, study_folder: PathBuf, crew: Crew) -> io::Result<()> {
        let mut sheet = self.sheet();
        *sheet = Sheet { study_folder, crew };
        self.write(&sheet)
    }

    /// A local executor runs, or runs no longer.
    pub(super) fn note(&self, index: usize, child: Option<ChildRecord>) {
        // Held until it is written: executors start side by side, and the last one must not write what the first one knew.
        let mut sheet = self.sheet();
        if let Crew::Local(local) = &mut sheet.crew
            && let Some(place) = local.children.get_mut(index)
        {
            *place = child;
        }
        if let Err(error) = self.write(&sheet) {
            tracing::warn!(path = %self.path.display(), %error, "the roster of local executors was not written");
        }
    }

    /// Ends every local executor that runs.
    pub fn kill_children(&self) {
        if let Crew::Local(local) = self.crew() {
            local.children.iter().flatten().for_each(ChildRecord::kill);
        }
    }

    fn write(&self, sheet: &Sheet) -> io::Result<()> {
        let text = serde_json::to_string_pretty(sheet)? + "\n";
        write_whole_for_owner(&self.path, text.as_bytes()).map_err(io::Error::other)
    }

    fn sheet(&self) -> MutexGuard<'_, Sheet> {
        self.sheet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;

    fn local(children: Vec<Option<ChildRecord>>) -> LocalCrew {
        LocalCrew {
            shape: "2x1".to_owned(),
            cache: OsString::from_vec(b"/ca\xffche \n'".to_vec()).into(),
            cache_bytes: Some(1 << 30),
            cold: false,
            orphan_timeout_s: 600,
            secret: Secret::draw().unwrap(),
            children,
        }
    }

    #[test]
    fn a_roster_reads_back_and_follows_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let local = local(vec![None, None]);
        let secret = local.secret.clone();
        let cache = local.cache.clone();
        let roster = Roster::create(folder.path(), PathBuf::from("/study"), Crew::Local(local)).unwrap();
        let child = ChildRecord { address: "127.0.0.1:7".to_owned(), pid: 1 };
        roster.note(1, Some(child.clone()));
        let read = Roster::open(folder.path()).unwrap();
        assert_eq!(read.study_folder(), Path::new("/study"));
        let Crew::Local(read) = read.crew() else { panic!("not local") };
        assert_eq!((read.children, read.cache, read.secret), (vec![None, Some(child.clone())], cache, secret));
        let mode = fs::metadata(folder.path().join(ROSTER)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "others must not read the secret");
        assert!(!child.is_alive(), "process 1 is no executor of ours");
        assert!(Roster::open(&folder.path().join("elsewhere")).is_err());
    }

    #[test]
    fn a_run_that_changes_its_executors_is_resumed_with_the_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let roster = Roster::create(folder.path(), PathBuf::from("/study"), Crew::Local(local(vec![None]))).unwrap();
        let nodes = NodeCrew { argument: "node1".into(), introduction: Introduction::Insecure };
        roster.change(PathBuf::from("/elsewhere"), Crew::Nodes(nodes.clone())).unwrap();
        for roster in [roster, Roster::open(folder.path()).unwrap()] {
            assert_eq!(
                (roster.study_folder(), roster.crew()),
                (PathBuf::from("/elsewhere"), Crew::Nodes(nodes.clone()))
            );
        }
    }

    #[test]
    fn children_that_are_executors_are_ended_and_other_processes_with_their_numbers_are_not() {
        let begun = |argument| {
            let waits = ["-c", "echo here; read line", "sh", argument];
            let mut command = Command::new("sh");
            let mut child = command.args(waits).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            // A process has its arguments only when it runs, which is a moment after it was made.
            child.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
            child
        };
        let [mut executor, mut other] = ["--ends-when-orphaned", "--other"].map(begun);
        let children =
            [&executor, &other].map(|child| ChildRecord { address: String::new(), pid: child.id() as i32 });
        assert_eq!(children.each_ref().map(ChildRecord::is_alive), [true, false]);
        let folder = tempfile::tempdir().unwrap();
        let crew = Crew::Local(local(children.map(Some).to_vec()));
        Roster::create(folder.path(), PathBuf::from("/study"), crew).unwrap().kill_children();
        let ends = [&mut executor, &mut other].map(|child| child.wait().unwrap().signal());
        assert_eq!(ends, [Some(9), None], "the other one went on until nobody wrote to it any more");
    }

    #[test]
    fn an_identity_that_is_named_is_shown_or_told_to_be_missing() {
        assert!(matches!(Introduction::Insecure.proof(), Ok(Proof::Nothing)));
        let missing = Introduction::File(PathBuf::from("/nonexistent/identity")).proof().err().unwrap();
        assert!(missing.contains("/nonexistent/identity"), "{missing}");
    }
}
