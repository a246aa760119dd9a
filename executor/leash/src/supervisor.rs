//! The supervisor: a process of one thread for each slot, which starts programs, one after the other, and ends whatever
//! they leave. It is this same binary, started again, and lives until its executor closes the socket, or dies.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{chdir, getpid, set_child_subreaper, setsid};
use rustix::stdio::{dup2_stdin, dup2_stdout, stdin};

use crate::attempt::Attempt;
use crate::ended::{Ended, How, Usage};
use crate::isolation::{Allowed, Isolation, Memory, Tree};
use crate::order::Order;
use crate::program::Ends;
use crate::wire::{self, Reply, Request};
use crate::{cgroup, namespace, sys};

/// Below are the numbers that a program gets; what is to be placed there must not have one of them.
const FIRST_FREE: usize = 10;

/// The state of a supervisor.
pub(crate) struct Supervisor {
    socket: UnixStream,
    child_signals: OwnedFd,
    nothing: File,
    /// Keeps the lowest numbers taken.
    _reserved: Vec<OwnedFd>,
    isolation: Isolation,
    mark: String,
    attempt: Option<Attempt>,
    is_closing: bool,
}

impl Supervisor {
    /// Takes the socket that is standard input, and whatever the machine allows.
    pub(crate) fn new() -> io::Result<Self> {
        sys::block_signals()?;
        // What the executor inherited and never knew of.
        sys::close_all_but(None);
        // A signal to the executor's group, as Ctrl-C sends it, is the executor's to answer.
        let _ = setsid();
        let _ = rustix::thread::set_name(c"broadsweep-slot");
        let nothing = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let mut reserved = Vec::new();
        for _ in 0..FIRST_FREE {
            reserved.push(fcntl_dupfd_cloexec(&nothing, 0)?);
        }
        let socket = UnixStream::from(fcntl_dupfd_cloexec(stdin(), 0)?);
        dup2_stdin(&nothing)?;
        dup2_stdout(&nothing)?;
        let child_signals = sys::child_signals()?;
        chdir("/")?;
        let nothing = File::from(fcntl_dupfd_cloexec(&nothing, 0)?);
        let (Request::Prepare { allowed, mark }, _) = wire::receive(&socket)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let isolation = prepare(allowed)?;
        wire::send(&socket, &Reply::Prepared(isolation.clone()), &[])?;
        Ok(Self {
            socket,
            child_signals,
            nothing,
            _reserved: reserved,
            isolation,
            mark,
            attempt: None,
            is_closing: false,
        })
    }

    /// Serves until the executor is gone and nothing runs.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        while !self.is_closing || self.attempt.is_some() {
            let (hears_executor, hears_child) = self.wait()?;
            if hears_child {
                // Many ends may stand behind one signal; what counts is what can be reaped.
                let _ = rustix::io::read(&self.child_signals, &mut [0; 1024]);
            }
            self.attend(Instant::now());
            if hears_executor && !self.is_closing {
                self.hear();
            }
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<(bool, bool)> {
        let due = self.attempt.as_ref().and_then(Attempt::due);
        let timeout = due.map(|due| due.saturating_duration_since(Instant::now()) + Duration::from_micros(1));
        let timeout =
            timeout.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let from_executor = if self.is_closing { PollFlags::empty() } else { PollFlags::IN };
        let mut watched = [
            PollFd::from_borrowed_fd(self.child_signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.socket.as_fd(), from_executor),
        ];
        // A closed socket is always ready.
        let count = if self.is_closing { 1 } else { 2 };
        match poll(&mut watched[..count], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok((!watched[1].revents().is_empty(), !watched[0].revents().is_empty())),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in what has ended, ends what has to, and says so when nothing is left.
    fn attend(&mut self, now: Instant) {
        let Some(attempt) = &mut self.attempt else { return };
        let was_over = attempt.is_over();
        let has_children = loop {
            match sys::reap() {
                Ok(Some(reaped)) => attempt.on_reaped(reaped),
                Ok(None) => break true,
                Err(error) => break error.raw_os_error() != Some(libc::ECHILD),
            }
        };
        if has_children {
            if attempt.is_over() && !was_over {
                attempt.kill(now);
            }
            attempt.on_time(now);
        } else if let Some(attempt) = self.attempt.take() {
            self.tell(attempt.finish(now));
        }
    }

    /// One message, or the executor's end.
    fn hear(&mut self) {
        let now = Instant::now();
        match wire::receive(&self.socket) {
            Ok((Request::Start(order), pipes)) if self.attempt.is_none() => match self.start(*order, pipes) {
                Ok(attempt) => self.attempt = Some(attempt),
                Err(how) => self.tell(Ended { how, usage: Usage::default() }),
            },
            Ok((Request::Stop { grace_ms }, _)) => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.stop(Duration::from_millis(grace_ms), now);
                }
            }
            // What no executor of this version says is its end too.
            Ok((Request::Start(_) | Request::Prepare { .. }, _)) | Err(_) => {
                self.is_closing = true;
                if let Some(attempt) = &mut self.attempt {
                    attempt.kill(now);
                }
            }
        }
    }

    fn start(&self, order: Order, pipes: Vec<OwnedFd>) -> Result<Attempt, How> {
        let lost = |why: &str| How::Lost(format!("its order came without {why}"));
        let mut pipes = pipes.into_iter();
        let output = pipes.next().ok_or_else(|| lost("a pipe for its output"))?;
        let worker = order.has_worker_pipes.then(|| pipes.next().zip(pipes.next()).ok_or_else(|| lost("its pipes")));
        let nothing = self.nothing.try_clone().map_err(|error| How::Lost(error.to_string()))?;
        let ends = Ends { nothing: nothing.into(), output, worker: worker.transpose()? };
        Attempt::start(order, &ends, &self.isolation, &self.mark)
    }

    fn tell(&mut self, ended: Ended) {
        if !self.is_closing && wire::send(&self.socket, &Reply::Ended(ended), &[]).is_err() {
            self.is_closing = true;
        }
    }
}

fn prepare(allowed: Allowed) -> io::Result<Isolation> {
    // Before the namespaces: the control group is named by the numbers and paths of the machine.
    let memory = allowed.groups.then(cgroup::find).flatten().unwrap_or(Memory::Rlimit);
    let tree = if allowed.namespaces { namespace::enter() } else { Tree::Subreaper };
    if tree == Tree::Subreaper {
        set_child_subreaper(Some(getpid()))?;
    }
    Ok(Isolation { tree, memory })
}
