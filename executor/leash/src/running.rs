//! The executor's side of an attempt: what the program prints, whether it has ended, and the order to end it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::ended::{Ended, How, Usage};
use crate::slot::{Idle, SupervisorProcess};
use crate::tree;
use crate::wire::{Reply, Request, receive, send};

/// Bytes that may wait for a worker to read them.
pub const UNSENT_BYTES_MAX: usize = 1 << 20;
/// How long after its grace a program may take to be killed and accounted for, before its supervisor is given up.
const KILLING_MAX: Duration = Duration::from_secs(10);
/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;
/// Bytes that are read at most after the end: more than any pipe holds.
const REMAINDER_BYTES_MAX: usize = 2 << 20;

/// What is heard of a program, as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// From its standard output and standard error, in the order in which it wrote.
    Output(&'a [u8]),
    /// From a worker's own pipe, [`WRITES_TO`](crate::WRITES_TO).
    Answer(&'a [u8]),
}

/// What a worker reads from and writes to.
#[derive(Debug)]
pub(crate) struct WorkerPipes {
    pub(crate) to: OwnedFd,
    pub(crate) from: OwnedFd,
    pub(crate) unsent: Vec<u8>,
    /// Whether it has closed its end of what it reads.
    pub(crate) is_deaf: bool,
}

/// When a worker's attempt began, and what the worker had used before.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    began: Instant,
    cpu: Duration,
}

/// A program that runs. What it prints waits in a pipe of 64 KiB until [`Running::wait`] is called again; it waits too,
/// then. Dropped, it is killed if it still runs, and its slot has its supervisor again.
#[derive(Debug)]
pub struct Running {
    /// Until it is lost.
    supervisor: Option<SupervisorProcess>,
    idle: Idle,
    output: Option<OwnedFd>,
    worker: Option<WorkerPipes>,
    /// Its pipes are closed one by one; this one first.
    answers_are_open: bool,
    deadline: Option<Instant>,
    ended: Option<Ended>,
}

impl Running {
    pub(crate) fn new(
        supervisor: SupervisorProcess,
        idle: Idle,
        output: OwnedFd,
        worker: Option<WorkerPipes>,
    ) -> Self {
        let (supervisor, output, answers_are_open) = (Some(supervisor), Some(output), worker.is_some());
        Self { supervisor, idle, output, worker, answers_are_open, deadline: None, ended: None }
    }

    /// Listens until the program has ended and all is heard, or until `until`, or until some of a worker's answer came or a
    /// worker has read all that it got: then `None`. Call it again and again; after the end it returns the same at once.
    ///
    /// If the supervisor dies, the attempt is [`How::Lost`], and whatever was running is killed before this returns.
    pub fn wait(&mut self, until: Instant, mut hear: impl FnMut(Heard<'_>)) -> Option<Ended> {
        let mut buffer = vec![0; READ_BYTES];
        while self.ended.is_none() {
            let has_reply = match self.poll(until) {
                Ok(has_reply) => has_reply,
                Err(error) => return Some(self.lose(&error.to_string())),
            };
            let mut has_answered = false;
            self.read(&mut buffer, &mut |heard| {
                has_answered |= matches!(heard, Heard::Answer(_));
                hear(heard);
            });
            let is_all_sent = self.write();
            if has_reply {
                let answer = self.socket().and_then(receive);
                let ended = match answer {
                    Ok((Reply::Ended(ended), _)) => ended,
                    Ok((Reply::Prepared(_), _)) => self.lose("its supervisor does not make sense"),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.lose("its supervisor died"),
                    Err(error) => self.lose(&format!("its supervisor: {error}")),
                };
                let mut left = REMAINDER_BYTES_MAX;
                while left > 0 && self.read(&mut buffer, &mut hear) {
                    left = left.saturating_sub(READ_BYTES);
                }
                self.ended = Some(ended);
            }
            let now = Instant::now();
            if self.ended.is_none() && self.deadline.is_some_and(|deadline| deadline <= now) {
                return Some(self.lose("it could not be killed, or its supervisor does not answer"));
            }
            if now >= until || has_answered || is_all_sent {
                break;
            }
        }
        self.ended.clone()
    }

    /// Asks the program to end: SIGTERM to its main process, and after `grace` SIGKILL to all of it. `Duration::ZERO`
    /// kills at once. Asked again, the earlier end counts. Whether it has ended is for [`Running::wait`] to tell.
    pub fn stop(&mut self, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        if let (Ok(socket), None) = (self.socket(), &self.ended) {
            // A supervisor that does not take it has died, which `wait` will see, or hangs, which ends by the deadline.
            let _ = send(socket, &Request::Stop { grace_ms }, &[]);
            let deadline = Instant::now().checked_add(grace.saturating_add(KILLING_MAX));
            self.deadline = self.deadline.into_iter().chain(deadline).min();
        }
    }

    /// Gives a worker something to read. It is written while [`Running::wait`] is called.
    ///
    /// # Errors
    /// `BrokenPipe` if the program is no worker or has closed its end; `WouldBlock` if it has not yet read what it got
    /// before, and the rest of that would grow beyond [`UNSENT_BYTES_MAX`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let worker = self.worker.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        if worker.unsent.len() + bytes.len() > UNSENT_BYTES_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        worker.unsent.extend_from_slice(bytes);
        self.write();
        let hears = self.worker.as_ref().is_some_and(|worker| !worker.is_deaf);
        if hears { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Bytes that wait for a worker to read them, at most [`UNSENT_BYTES_MAX`].
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.worker.as_ref().map_or(0, |worker| worker.unsent.len())
    }

    /// Whether a worker's own pipe is still open at its end, so that an answer may come.
    #[must_use]
    pub fn may_answer(&self) -> bool {
        self.answers_are_open
    }

    /// Memory of all its processes that is no copy of a file, in bytes: what they would need if nothing was shared.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.supervisor.as_ref().map_or(0, |supervisor| tree::memory_bytes_below(supervisor.id()))
    }

    /// Begins an account of what a worker uses for one attempt.
    #[must_use]
    pub fn open_account(&self) -> Account {
        let supervisor = self.supervisor();
        supervisor.into_iter().for_each(tree::forget_peaks_below);
        Account { began: Instant::now(), cpu: supervisor.map_or(Duration::ZERO, tree::cpu_below) }
    }

    /// What it has used since; peak memory is that of its largest process, and time is counted in hundredths of a second.
    #[must_use]
    pub fn used_since(&self, account: &Account) -> Usage {
        let (cpu, peak_memory_bytes) = match (&self.ended, self.supervisor()) {
            (Some(ended), _) => (ended.usage.cpu, ended.usage.peak_memory_bytes),
            (None, Some(supervisor)) => (tree::cpu_below(supervisor), tree::peak_bytes_below(supervisor)),
            (None, None) => (Duration::ZERO, 0),
        };
        let cpu = cpu.saturating_sub(account.cpu);
        Usage { wall: account.began.elapsed(), cpu, peak_memory_bytes, memory_kills: 0 }
    }

    /// The supervisor's process.
    #[must_use]
    pub fn supervisor(&self) -> Option<u32> {
        self.supervisor.as_ref().map(SupervisorProcess::id)
    }

    fn socket(&self) -> io::Result<&UnixStream> {
        let supervisor = self.supervisor.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(&supervisor.socket)
    }

    /// Waits for anything to do. Whether the supervisor has something to say.
    fn poll(&self, until: Instant) -> io::Result<bool> {
        let socket = self.socket()?;
        let until = self.deadline.map_or(until, |deadline| until.min(deadline));
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut watched = vec![PollFd::new(socket, PollFlags::IN)];
        watched.extend(self.output.iter().map(|output| PollFd::new(output, PollFlags::IN)));
        if let Some(worker) = &self.worker {
            if self.answers_are_open {
                watched.push(PollFd::new(&worker.from, PollFlags::IN));
            }
            if !worker.unsent.is_empty() {
                watched.push(PollFd::new(&worker.to, PollFlags::OUT));
            }
        }
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(!watched[0].revents().is_empty()),
            Err(error) => Err(error.into()),
        }
    }

    /// One piece of each pipe, so that none waits for another. Whether there was any.
    fn read(&mut self, buffer: &mut [u8], hear: &mut impl FnMut(Heard<'_>)) -> bool {
        let mut has_read = false;
        if let Some(output) = &self.output {
            match rustix::io::read(output, &mut *buffer) {
                Ok(0) => self.output = None,
                Ok(count) => {
                    hear(Heard::Output(&buffer[..count]));
                    has_read = true;
                }
                Err(_) => {}
            }
        }
        if let Some(worker) = self.worker.as_ref().filter(|_| self.answers_are_open) {
            match rustix::io::read(&worker.from, &mut *buffer) {
                Ok(0) => self.answers_are_open = false,
                Ok(count) => {
                    hear(Heard::Answer(&buffer[..count]));
                    has_read = true;
                }
                Err(_) => {}
            }
        }
        has_read
    }

    /// Whether a worker has now read the last of what waited for it.
    fn write(&mut self) -> bool {
        let Some(worker) = self.worker.as_mut().filter(|worker| !worker.unsent.is_empty()) else { return false };
        match rustix::io::write(worker.to.as_fd(), &worker.unsent) {
            Ok(count) => drop(worker.unsent.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                worker.unsent.clear();
                worker.is_deaf = true;
            }
        }
        worker.unsent.is_empty()
    }

    fn lose(&mut self, why: &str) -> Ended {
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.kill();
        }
        let ended = Ended { how: How::Lost(why.to_owned()), usage: Usage::default() };
        self.ended = Some(ended.clone());
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.stop(Duration::ZERO);
            self.wait(Instant::now() + KILLING_MAX, |_| ());
        }
        // One that has not ended even now goes with its supervisor.
        if let Some(supervisor) = self.supervisor.take().filter(|_| self.ended.is_some()) {
            self.idle.put(supervisor);
        }
    }
}
