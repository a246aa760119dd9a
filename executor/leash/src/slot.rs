//! The executor's side of a slot: its supervisor is started when it is first needed, and again after it was lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::attempt::mark;
use crate::isolation::{Allowed, Isolation, Memory, Tree};
use crate::order::Order;
use crate::running::{Running, WorkerPipes};
use crate::supervisor::Supervisor;
use crate::wire::{Reply, Request, receive, send};
use crate::{cgroup, tree};

/// The first argument of a supervisor.
const ARGUMENT: &str = "--supervise-programs-of-a-slot";
/// The same binary, also if its file has been replaced meanwhile.
const SELF: &str = "/proc/self/exe";
/// How long a supervisor may take for a message, or to leave.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a program could not be put on a leash. It is this machine's fault, never the program's.
#[derive(Debug, thiserror::Error)]
pub enum LeashError {
    /// There is no supervisor, so nothing was started.
    #[error("a slot's supervisor could not be started: {0}")]
    Supervisor(#[source] io::Error),
    /// The order did not get through, so nothing was started.
    #[error("a slot's supervisor did not take the order: {0}")]
    Order(#[source] io::Error),
}

/// Becomes a supervisor and never returns, if that is what this process was started for. Call it first in `main`,
/// before there are threads. Otherwise it does nothing.
pub fn supervise_if_asked() {
    let is_asked = std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT);
    if !is_asked || rustix::net::sockopt::socket_type(rustix::stdio::stdin()).is_err() {
        return;
    }
    let served = Supervisor::new().and_then(|mut supervisor| supervisor.serve());
    if let Err(error) = &served
        && error.kind() != io::ErrorKind::UnexpectedEof
    {
        eprintln!("a slot's supervisor ends: {error}");
    }
    std::process::exit(i32::from(served.is_err()));
}

/// How programs are started on this machine.
#[derive(Clone, Debug)]
pub struct Leash {
    supervisor: PathBuf,
    allowed: Allowed,
}

impl Leash {
    /// With this same binary as supervisor, whose `main` calls [`supervise_if_asked`].
    #[must_use]
    pub fn new(allowed: Allowed) -> Self {
        Self::with_supervisor(SELF, allowed)
    }

    /// With another binary as supervisor, whose `main` calls [`supervise_if_asked`].
    #[must_use]
    pub fn with_supervisor(path: impl Into<PathBuf>, allowed: Allowed) -> Self {
        Self { supervisor: path.into(), allowed }
    }

    /// What this machine allows, found by trying. It takes some milliseconds.
    ///
    /// # Errors
    /// [`LeashError::Supervisor`].
    pub fn probe(&self) -> Result<Isolation, LeashError> {
        Ok(SupervisorProcess::start(self)?.isolation.clone())
    }

    /// A slot, for one program at a time.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot { leash: self.clone(), supervisor: None }
    }
}

/// Runs programs, one after the other. Dropped, it ends what runs.
#[derive(Debug)]
pub struct Slot {
    leash: Leash,
    supervisor: Option<SupervisorProcess>,
}

impl Slot {
    /// Starts a program. That its file does not exist is said at its end.
    ///
    /// # Errors
    /// [`LeashError`]; nothing runs then.
    pub fn start(&mut self, order: &Order) -> Result<Running<'_>, LeashError> {
        let pipe = |flags| pipe_with(PipeFlags::CLOEXEC | flags).map_err(|error| LeashError::Order(error.into()));
        let (output, output_end) = pipe(PipeFlags::empty())?;
        let worker =
            if order.has_worker_pipes { Some((pipe(PipeFlags::empty())?, pipe(PipeFlags::empty())?)) } else { None };
        let mut ends = vec![output_end.as_fd()];
        if let Some(((reads, _), (_, writes))) = &worker {
            ends.extend([reads.as_fd(), writes.as_fd()]);
        }
        self.deliver(order, &ends)?;
        drop(output_end);
        let worker = worker.map(|((_, to), (from, _))| WorkerPipes { to, from, unsent: Vec::new() });
        let nonblocking: Vec<&OwnedFd> =
            std::iter::once(&output).chain(worker.iter().flat_map(|worker| [&worker.to, &worker.from])).collect();
        for end in nonblocking {
            rustix::io::ioctl_fionbio(end, true).map_err(|error| LeashError::Order(error.into()))?;
        }
        Ok(Running::new(self, output, worker))
    }

    /// To the supervisor, or, if that has died meanwhile, to another one.
    fn deliver(&mut self, order: &Order, ends: &[BorrowedFd<'_>]) -> Result<(), LeashError> {
        let request = Request::Start(Box::new(order.clone()));
        if let Some(supervisor) = &self.supervisor {
            match send(&supervisor.socket, &request, ends) {
                Ok(()) => return Ok(()),
                // Said of the order itself, before anything was sent.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(LeashError::Order(error)),
                Err(_) => self.lose_supervisor(),
            }
        }
        let supervisor = self.supervisor.insert(SupervisorProcess::start(&self.leash)?);
        let sent = send(&supervisor.socket, &request, ends);
        sent.map_err(|error| {
            self.lose_supervisor();
            LeashError::Order(error)
        })
    }

    /// The supervisor's process, if there is one.
    #[must_use]
    pub fn supervisor(&self) -> Option<u32> {
        self.supervisor.as_ref().map(|supervisor| supervisor.child.id())
    }

    pub(crate) fn socket(&self) -> Option<&UnixStream> {
        self.supervisor.as_ref().map(|supervisor| &supervisor.socket)
    }

    /// Ends a supervisor that is dead or does not answer, and whatever it had started.
    pub(crate) fn lose_supervisor(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.kill();
        }
    }
}

/// A supervisor, seen from its executor.
#[derive(Debug)]
struct SupervisorProcess {
    child: Child,
    socket: UnixStream,
    isolation: Isolation,
    is_reaped: bool,
}

impl SupervisorProcess {
    fn start(leash: &Leash) -> Result<Self, LeashError> {
        Self::try_start(leash).map_err(LeashError::Supervisor)
    }

    fn try_start(leash: &Leash) -> io::Result<Self> {
        let (socket, its_socket) = UnixStream::pair()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let child = Command::new(&leash.supervisor)
            .arg0("broadsweep-slot")
            .arg(ARGUMENT)
            .stdin(OwnedFd::from(its_socket))
            .stdout(Stdio::null())
            .spawn()?;
        let isolation = Isolation { tree: Tree::Subreaper, memory: Memory::Rlimit };
        let mut supervisor = Self { child, socket, isolation, is_reaped: false };
        send(&supervisor.socket, &Request::Prepare(leash.allowed), &[])?;
        match receive(&supervisor.socket)?.0 {
            Reply::Prepared(isolation) => supervisor.isolation = isolation,
            Reply::Ended(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(supervisor)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.is_reaped = true;
        if let Memory::Group { folder, .. } = &self.isolation.memory {
            let _ = cgroup::remove(folder);
        }
        if self.isolation.tree == Tree::Subreaper
            && let Some(pid) = Pid::from_raw(self.child.id() as i32)
        {
            tree::kill_marked(&mark(pid));
        }
    }
}

impl Drop for SupervisorProcess {
    /// The closed socket ends what runs, and the supervisor.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_reaped && Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                _ => self.is_reaped = true,
            }
        }
        if !self.is_reaped {
            self.kill();
        }
    }
}
