//! One attempt as its supervisor sees it: started, asked to end, killed, accounted for.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};

use crate::cgroup::Group;
use crate::disk::DiskWatch;
use crate::ended::{Ended, How, Usage};
use crate::init::{self, Report};
use crate::isolation::{Isolation, Memory, Tree};
use crate::namespace;
use crate::order::Order;
use crate::program::{Ends, Program, Step, in_words};
use crate::sys::{self, Reaped};
use crate::tree::{self, MARK};

/// How often the tree is walked again while something of it is left.
const WALK_INTERVAL: Duration = Duration::from_millis(5);

/// What is known of the main process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// It has been sent SIGTERM.
    Asked {
        kill_at: Instant,
    },
    /// All of the attempt is being killed.
    Killing {
        again_at: Instant,
    },
}

/// A program that was started and whatever it has started.
pub(crate) struct Attempt {
    order: Order,
    tree: Tree,
    /// The first process of the namespace, or the main process where there is none.
    child: Pid,
    child_status: Option<ExitStatus>,
    report: OwnedFd,
    group: Option<Group>,
    disk: Option<DiskWatch>,
    started: Instant,
    phase: Phase,
    /// Why we end it, if we do.
    cause: Option<How>,
    cpu: Duration,
    peak_bytes: u64,
}

impl Attempt {
    /// Starts the program. What cannot be known before the fork is told at the end.
    pub(crate) fn start(order: Order, ends: &Ends, isolation: &Isolation, mark: &str) -> Result<Self, How> {
        let started = Instant::now();
        let lost = |what: &str, error: io::Error| How::Lost(format!("{what}: {error}"));
        let is_limited = matches!(isolation.memory, Memory::Group { .. });
        let mark = (isolation.tree == Tree::Subreaper).then_some((MARK, mark));
        let program = Program::new(&order, mark, is_limited).map_err(How::CouldNotStart)?;
        let group = match &isolation.memory {
            Memory::Group { version, folder } => Some(Group::make(folder, *version, order.limits.memory_bytes)),
            Memory::Rlimit => None,
        };
        let group = group.transpose().map_err(|error| lost("its control group could not be made", error))?;
        let (report, reporter) =
            pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|error| lost("no pipe", error.into()))?;
        let supervisor = getpid();
        let mut report = Some(report);
        let child = match isolation.tree {
            Tree::Namespace { has_proc, .. } => {
                sys::fork(true, || {
                    // In the child alone: who holds both ends does not see that the other one is gone.
                    report = None;
                    init::run(&program, ends, group.as_ref(), &reporter, has_proc)
                })
            }
            Tree::Subreaper => sys::fork(false, || {
                let is_bound = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
                if !is_bound || getppid() != Some(supervisor) {
                    return init::FAILED;
                }
                init::become_program(&program, ends, group.as_ref(), &reporter)
            }),
        };
        let child = child.map_err(|error| lost("no process could be made", error))?;
        let report = report.ok_or_else(|| How::Lost("its reports go nowhere".to_owned()))?;
        let disk = order.limits.disk.clone().map(|limit| DiskWatch::new(limit, started));
        Ok(Self {
            order,
            tree: isolation.tree,
            child,
            child_status: None,
            report,
            group,
            disk,
            started,
            phase: Phase::Running,
            cause: None,
            cpu: Duration::ZERO,
            peak_bytes: 0,
        })
    }

    /// SIGTERM now, to the main process; the end of everything after `grace`.
    pub(crate) fn stop(&mut self, grace: Duration, now: Instant) {
        if self.child_status.is_some() {
            return;
        }
        self.cause.get_or_insert(How::Stopped);
        if grace.is_zero() {
            return self.kill(now);
        }
        let kill_at = now.checked_add(grace).unwrap_or(now);
        match &mut self.phase {
            Phase::Running => {
                // In a namespace its first process passes it on.
                let _ = kill_process(self.child, Signal::TERM);
                self.phase = Phase::Asked { kill_at };
            }
            Phase::Asked { kill_at: before } => *before = kill_at.min(*before),
            Phase::Killing { .. } => {}
        }
    }

    /// Kills everything, as often as it is called.
    pub(crate) fn kill(&mut self, now: Instant) {
        self.phase = Phase::Killing { again_at: now + WALK_INTERVAL };
        match self.tree {
            // The kernel kills the rest with it.
            Tree::Namespace { .. } if self.child_status.is_none() => drop(kill_process(self.child, Signal::KILL)),
            Tree::Namespace { .. } => {}
            Tree::Subreaper => tree::kill_descendants(),
        }
    }

    /// A child of the supervisor has ended.
    pub(crate) fn on_reaped(&mut self, reaped: Reaped) {
        self.cpu += reaped.cpu;
        self.peak_bytes = self.peak_bytes.max(reaped.peak_bytes);
        if reaped.pid == self.child {
            self.child_status = Some(reaped.status);
        }
    }

    /// Whether the main process has ended, so that nothing else may go on.
    pub(crate) fn is_over(&self) -> bool {
        self.child_status.is_some()
    }

    /// What is due by now.
    pub(crate) fn on_time(&mut self, now: Instant) {
        match self.phase {
            Phase::Asked { kill_at: at } | Phase::Killing { again_at: at } if at <= now => self.kill(now),
            _ => {}
        }
        if let Some(disk) = &mut self.disk
            && let Some(used_bytes) = disk.step(now)
            && !matches!(self.phase, Phase::Killing { .. })
        {
            self.cause.get_or_insert(How::DiskFull { limit_bytes: disk.limit_bytes(), used_bytes });
            self.kill(now);
        }
    }

    /// When [`Attempt::on_time`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Running => None,
            Phase::Asked { kill_at: at } | Phase::Killing { again_at: at } => Some(at),
        };
        self.disk.as_ref().map(DiskWatch::due).into_iter().chain(phase).min()
    }

    /// The account, once the supervisor has no children left. The control group goes with it.
    pub(crate) fn finish(self, now: Instant) -> Ended {
        let reports = init::reports(&self.report);
        if reports.contains(&Report::HasProc) {
            namespace::unmount_proc();
        }
        let memory_kills = self.group.as_ref().map_or(0, Group::kills);
        let peak_memory_bytes = self.group.as_ref().and_then(Group::peak_bytes).unwrap_or(self.peak_bytes);
        let usage = Usage { wall: now - self.started, cpu: self.cpu, peak_memory_bytes, memory_kills };
        Ended { how: self.how(&reports, &usage), usage }
    }

    fn how(&self, reports: &[Report], usage: &Usage) -> How {
        let failure = reports.iter().find_map(|report| match report {
            Report::Failed(step, errno) => Some((*step, *errno)),
            _ => None,
        });
        if let Some((step, errno)) = failure {
            let why = in_words(&self.order, step, errno);
            return match step {
                Step::Folder | Step::Execute => How::CouldNotStart(why),
                Step::Group | Step::Limits | Step::Descriptors => How::Lost(why),
            };
        }
        if let Some(cause) = &self.cause {
            return cause.clone();
        }
        let main = reports.iter().find_map(|report| match report {
            Report::MainEnded(status) => Some(ExitStatus::from_raw(*status)),
            _ => None,
        });
        let Some(main) = main.or(self.child_status) else {
            return How::Lost("its main process cannot be found".to_owned());
        };
        if !main.success() && usage.memory_kills > 0 {
            let limit_bytes = self.order.limits.memory_bytes;
            return How::OutOfMemory { limit_bytes, peak_bytes: usage.peak_memory_bytes };
        }
        if let Some(disk) = self.disk.as_ref().filter(|_| !main.success())
            && let Some(used_bytes) = disk.finish()
        {
            return How::DiskFull { limit_bytes: disk.limit_bytes(), used_bytes };
        }
        main.signal().map_or(How::Exit(main.code().unwrap_or(init::FAILED)), How::Signal)
    }
}
