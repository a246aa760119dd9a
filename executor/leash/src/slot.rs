//! The executor's side of a slot: its supervisor is started when it is first needed, and again after it was lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::isolation::{Allowed, Isolation, Memory, Tree};
use crate::order::Order;
use crate::running::{Running, WorkerPipes};
use crate::supervisor::Supervisor;
use crate::wire::{Reply, Request, receive, send};
use crate::{cgroup, tree};
use rustix::pipe::{PipeFlags, pipe_with};

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
        Slot { leash: self.clone(), idle: Idle::default() }
    }
}

/// Runs programs, one after the other. Dropped, it ends its supervisor; a program that runs then is held by its own
/// [`Running`].
#[derive(Debug)]
pub struct Slot {
    leash: Leash,
    idle: Idle,
}

/// Where a supervisor waits for the next program. Whoever runs one has it meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Idle(Arc<Mutex<Option<SupervisorProcess>>>);

impl Idle {
    fn take(&self) -> Option<SupervisorProcess> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn put(&self, supervisor: SupervisorProcess) {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(supervisor);
        // Its end takes a moment, for which nobody else waits.
        drop(before);
    }
}

impl Slot {
    /// Starts a program. That its file does not exist is said at its end. One that was started before has to have
    /// ended, or both run, each with a supervisor.
    ///
    /// # Errors
    /// [`LeashError`]; nothing runs then.
    pub fn start(&mut self, order: &Order) -> Result<Running, LeashError> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| LeashError::Order(error.into()));
        let (output, output_end) = pipe()?;
        let worker = if order.has_worker_pipes { Some((pipe()?, pipe()?)) } else { None };
        let mut ends = vec![output_end.as_fd()];
        if let Some(((reads, _), (_, writes))) = &worker {
            ends.extend([reads.as_fd(), writes.as_fd()]);
        }
        let supervisor = self.deliver(order, &ends)?;
        drop(output_end);
        let worker = worker.map(|((_, to), (from, _))| WorkerPipes { to, from, unsent: Vec::new(), is_deaf: false });
        let own_ends = std::iter::once(&output).chain(worker.iter().flat_map(|worker| [&worker.to, &worker.from]));
        for end in own_ends {
            rustix::io::ioctl_fionbio(end, true).map_err(|error| LeashError::Order(error.into()))?;
        }
        Ok(Running::new(supervisor, self.idle.clone(), output, worker))
    }

    /// To the supervisor, or, if that has died meanwhile, to another one.
    fn deliver(&mut self, order: &Order, ends: &[BorrowedFd<'_>]) -> Result<SupervisorProcess, LeashError> {
        let request = Request::Start(Box::new(order.clone()));
        if let Some(mut supervisor) = self.idle.take() {
            match send(&supervisor.socket, &request, ends) {
                Ok(()) => return Ok(supervisor),
                // Said of the order itself, before anything was sent.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.idle.put(supervisor);
                    return Err(LeashError::Order(error));
                }
                Err(_) => supervisor.kill(),
            }
        }
        let supervisor = SupervisorProcess::start(&self.leash)?;
        send(&supervisor.socket, &request, ends).map_err(LeashError::Order)?;
        Ok(supervisor)
    }

    /// The process that waits for the next program, if there is one.
    #[must_use]
    pub fn supervisor(&self) -> Option<u32> {
        self.idle.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(SupervisorProcess::id)
    }
}

/// A supervisor, seen from its executor.
#[derive(Debug)]
pub(crate) struct SupervisorProcess {
    child: Child,
    pub(crate) socket: UnixStream,
    isolation: Isolation,
    /// What its programs bear in their environment where there are no PID namespaces.
    mark: String,
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
        let mut supervisor = Self { child, socket, isolation, mark: new_mark(), is_reaped: false };
        let prepare = Request::Prepare { allowed: leash.allowed, mark: supervisor.mark.clone() };
        send(&supervisor.socket, &prepare, &[])?;
        match receive(&supervisor.socket)?.0 {
            Reply::Prepared(isolation) => supervisor.isolation = isolation,
            Reply::Ended(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(supervisor)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends one that is dead or does not answer, and whatever it had started.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.is_reaped = true;
        if let Memory::Group { folder, .. } = &self.isolation.memory {
            let _ = cgroup::remove(folder);
        }
        if self.isolation.tree == Tree::Subreaper {
            tree::kill_marked(&self.mark);
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

/// Like no other one on this machine, containers included, whose process numbers are those of others too.
fn new_mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{now}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
