//! Becomes the program of an order: what is prepared before the fork, what the forked child does, and what it says if
//! that fails.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, chdir, setrlimit, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::cgroup::Group;
use crate::order::{Order, READS_FROM, WRITES_TO};
use crate::sys;

/// Where programs are looked for if the order's environment has no `PATH`.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// If the machine runs out of memory, the program goes before the executor does. Of -1000 to 1000.
const OUT_OF_MEMORY_SCORE: &str = "500";

/// A program that is ready to be started: nothing of it has to be looked up or allocated after the fork.
pub(crate) struct Program {
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    folder: PathBuf,
    data_bytes_max: Option<u64>,
}

/// What a child could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Group = 1,
    Limits,
    Folder,
    Descriptors,
    Execute,
}

impl Step {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        let all = [Self::Group, Self::Limits, Self::Folder, Self::Descriptors, Self::Execute];
        all.into_iter().find(|step| *step as u8 == number)
    }
}

/// The ends of pipes that the program gets.
pub(crate) struct Ends {
    pub(crate) nothing: OwnedFd,
    pub(crate) output: OwnedFd,
    /// What it reads from and what it writes to, if it is a worker.
    pub(crate) worker: Option<(OwnedFd, OwnedFd)>,
}

impl Program {
    /// Fails in words if no system could take this order.
    pub(crate) fn new(order: &Order, mark: Option<(&str, &str)>, is_memory_limited: bool) -> Result<Self, String> {
        if order.program.is_empty() {
            return Err("no program is named".to_owned());
        }
        let mark = mark.map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        let named = order.environment.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let environment = named.chain(mark).map(|(name, value)| {
            let is_name = !name.is_empty() && !name.as_bytes().contains(&b'=');
            let name = is_name
                .then_some(name)
                .ok_or_else(|| format!("\"{}\" cannot be a variable's name", name.display()))?;
            c_string([name.as_bytes(), b"=", value.as_bytes()].concat())
        });
        let all = std::iter::once(&order.program).chain(&order.arguments);
        Ok(Self {
            candidates: candidates(order)
                .into_iter()
                .map(|path| c_string(path.into_os_string().into_vec()))
                .collect::<Result<_, _>>()?,
            arguments: all.map(|text| c_string(text.as_bytes().to_vec())).collect::<Result<_, _>>()?,
            environment: environment.collect::<Result<_, _>>()?,
            folder: order.folder.clone(),
            data_bytes_max: order.limits.memory_bytes.filter(|_| !is_memory_limited),
        })
    }

    /// In a forked child: becomes the program, or says what it could not do.
    pub(crate) fn become_it(&self, ends: &Ends, group: Option<&Group>) -> (Step, io::Error) {
        let Err(failed) = self.prepare(ends, group) else {
            return (Step::Execute, self.execute());
        };
        failed
    }

    fn prepare(&self, ends: &Ends, group: Option<&Group>) -> Result<(), (Step, io::Error)> {
        let at = |step: Step| move |error: rustix::io::Errno| (step, io::Error::from(error));
        // Refused only in odd containers; it is no reason to refuse the program.
        let _ = fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
        group.map_or(Ok(()), Group::join).map_err(|error| (Step::Group, error))?;
        self.limit().map_err(at(Step::Limits))?;
        chdir(&self.folder).map_err(at(Step::Folder))?;
        // Signals to its group must not reach what watches it.
        let _ = setsid();
        let descriptors = at(Step::Descriptors);
        dup2_stdin(&ends.nothing)
            .and_then(|()| dup2_stdout(&ends.output))
            .and_then(|()| dup2_stderr(&ends.output))
            .map_err(descriptors)?;
        if let Some((reads, writes)) = &ends.worker {
            let placed = sys::place(reads.as_fd(), READS_FROM).and_then(|()| sys::place(writes.as_fd(), WRITES_TO));
            placed.map_err(|error| (Step::Descriptors, error))?;
        }
        sys::restore_signals();
        Ok(())
    }

    fn limit(&self) -> rustix::io::Result<()> {
        // Cores would fill the disk.
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
        match self.data_bytes_max {
            None => Ok(()),
            bytes => setrlimit(Resource::Data, Rlimit { current: bytes, maximum: bytes }),
        }
    }

    /// As `execvp` does it, but never with a shell.
    fn execute(&self) -> io::Error {
        let mut error = io::Error::from_raw_os_error(libc::ENOENT);
        for path in &self.candidates {
            match sys::execute(path, &self.arguments, &self.environment) {
                next if matches!(next.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
                denied if denied.raw_os_error() == Some(libc::EACCES) => error = denied,
                other => return other,
            }
        }
        error
    }
}

fn c_string(bytes: Vec<u8>) -> Result<CString, String> {
    CString::new(bytes)
        .map_err(|error| format!("\"{}\" has a zero byte", OsStr::from_bytes(&error.into_vec()).display()))
}

fn path_of(order: &Order) -> &OsStr {
    let path = order.environment.iter().rev().find(|(name, _)| name == "PATH");
    path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value)
}

fn candidates(order: &Order) -> Vec<PathBuf> {
    if order.program.as_bytes().contains(&b'/') {
        return vec![PathBuf::from(&order.program)];
    }
    std::env::split_paths(path_of(order)).map(|folder| folder.join(&order.program)).collect()
}

/// Why a program could not be started.
pub(crate) fn in_words(order: &Order, step: Step, errno: i32) -> String {
    let error = io::Error::from_raw_os_error(errno);
    let program = Path::new(&order.program).display();
    match step {
        Step::Group => format!("it could not be moved into its control group: {error}"),
        Step::Limits => format!("its limits could not be set: {error}"),
        Step::Folder => format!("its working folder {}: {error}", order.folder.display()),
        Step::Descriptors => format!("its standard streams could not be set: {error}"),
        Step::Execute => {
            let is_searched = !order.program.as_bytes().contains(&b'/');
            let place = if is_searched {
                format!(" (looked in PATH={})", path_of(order).display())
            } else {
                format!(" (from the folder {})", order.folder.display())
            };
            // The program is there, so it is something else that is not.
            let exists = candidates(order).iter().any(|path| order.folder.join(path).exists());
            match errno {
                libc::ENOENT if exists => {
                    format!("{program}: the interpreter or loader that it names does not exist{place}")
                }
                libc::ENOEXEC => format!("{program}: neither a program nor a script that begins with #!{place}"),
                _ => format!("{program}: {error}{place}"),
            }
        }
    }
}

/// Whether nobody has the other end of this pipe.
pub(crate) fn is_broken(pipe: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut watched = [PollFd::from_borrowed_fd(pipe, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&now)).is_ok() && watched[0].revents().contains(PollFlags::ERR)
}
