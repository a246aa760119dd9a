//! The first process of an attempt's PID namespace: it starts the program, takes in orphans, and everything ends with
//! it. It dies with its supervisor.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;

use rustix::process::{Signal, kill_process, set_parent_process_death_signal};

use crate::cgroup::Group;
use crate::namespace;
use crate::program::{Ends, Program, Step, is_broken};
use crate::sys;

/// What a child returns that could not do its work.
pub(crate) const FAILED: i32 = 127;

/// What the children of a supervisor tell it through a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// `/proc` was mounted.
    HasProc,
    /// The program could not be started: where it failed, and the system's error.
    Failed(Step, i32),
    /// The main process ended with this status, as `wait` gives it.
    MainEnded(i32),
}

const REPORT_BYTES: usize = 6;

impl Report {
    fn to_bytes(self) -> [u8; REPORT_BYTES] {
        let (kind, step, value) = match self {
            Self::HasProc => (b'P', 0, 0),
            Self::Failed(step, errno) => (b'F', step as u8, errno),
            Self::MainEnded(status) => (b'E', 0, status),
        };
        let [a, b, c, d] = value.to_le_bytes();
        [kind, step, a, b, c, d]
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [kind, step, a, b, c, d] = *bytes else { return None };
        let value = i32::from_le_bytes([a, b, c, d]);
        match kind {
            b'P' => Some(Self::HasProc),
            b'F' => Some(Self::Failed(Step::from_number(step)?, value)),
            b'E' => Some(Self::MainEnded(value)),
            _ => None,
        }
    }

    fn send(self, reporter: &OwnedFd) {
        // A pipe takes so few bytes whole. If nobody reads them, this process is about to be killed.
        let _ = rustix::io::write(reporter, &self.to_bytes());
    }
}

/// All that was reported, when nobody is left who could.
pub(crate) fn reports(pipe: &OwnedFd) -> Vec<Report> {
    let mut bytes = Vec::new();
    let mut reader = PipeReader(pipe);
    // The writer's end is still open here, so that the end of what there is is an error.
    let _ = reader.read_to_end(&mut bytes);
    bytes.chunks(REPORT_BYTES).filter_map(Report::from_bytes).collect()
}

struct PipeReader<'a>(&'a OwnedFd);

impl Read for PipeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, buffer)?)
    }
}

/// In a child that is to be the main process. Returns its exit code if that failed.
pub(crate) fn become_program(program: &Program, ends: &Ends, group: Option<&Group>, reporter: &OwnedFd) -> i32 {
    let (step, error) = program.become_it(ends, group);
    Report::Failed(step, error.raw_os_error().unwrap_or(0)).send(reporter);
    FAILED
}

/// The life of a namespace's first process.
pub(crate) fn run(program: &Program, ends: &Ends, group: Option<&Group>, reporter: &OwnedFd, has_proc: bool) -> i32 {
    // Killed with its supervisor; if that died before it was asked for, nobody reads the reports.
    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() || is_broken(reporter.as_fd()) {
        return FAILED;
    }
    let _ = rustix::thread::set_name(c"broadsweep-init");
    if has_proc && namespace::mount_proc().is_ok() {
        Report::HasProc.send(reporter);
    }
    let Ok(main) = sys::fork(false, || become_program(program, ends, group, reporter)) else {
        return FAILED;
    };
    // The program's pipes must close with the program, and the supervisor's socket with the supervisor.
    sys::close_all_but(Some(reporter.as_fd()));
    loop {
        if sys::wait_for_signal(&[Signal::CHILD, Signal::TERM]) == Some(Signal::TERM) {
            let _ = kill_process(main, Signal::TERM);
        }
        while let Ok(Some(ended)) = sys::reap() {
            if ended.pid == main {
                Report::MainEnded(ended.status.into_raw()).send(reporter);
                return 0;
            }
        }
    }
}
