//! The system calls that no safe crate offers, and nothing else: the one file of this crate with `unsafe` in it.
//!
//! All of them are made by the supervisor, its children, or nobody else: processes of a single thread, so that the
//! memory of a forked child is as consistent as that of its parent.

#![expect(unsafe_code, reason = "fork, exec and signals have no safe interface")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::ptr;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use rustix::thread::UnshareFlags;

/// What a child returns that panicked.
const PANICKED: i32 = 70;

/// A child of this process that has ended and is no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) pid: Pid,
    pub(crate) status: ExitStatus,
    /// Of it and of the descendants that it waited for, or that the kernel did in its name.
    pub(crate) cpu: Duration,
    /// Of the largest of them.
    pub(crate) peak_bytes: u64,
}

/// Forks, in a new PID namespace if so asked, and ends the child with what `body` returns.
///
/// The caller's process must have one thread only.
pub(crate) fn fork(in_namespace: bool, body: impl FnOnce() -> i32) -> io::Result<Pid> {
    let namespace = if in_namespace { libc::CLONE_NEWPID } else { 0 };
    let flags = libc::c_long::from(libc::SIGCHLD | namespace);
    // SAFETY: without CLONE_VM and with a stack of null this is `fork`; the process has one thread, so that no lock of
    // another one stays taken in the child. libc's own `fork` takes no flags.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid == 0 {
        // A panic must not unwind into the frames of the parent.
        let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED);
        // SAFETY: always sound; `exit` would run what the parent wants to run at its own exit.
        unsafe { libc::_exit(code) }
    }
    Pid::from_raw(pid as i32).filter(|_| pid > 0).ok_or_else(io::Error::last_os_error)
}

/// Becomes the program at `path`. Returns only if that failed.
pub(crate) fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with null and point to texts that live until the call returns, if it does.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Moves this process into new namespaces.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: unsound only for the table of descriptors, which stays shared.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags & !UnshareFlags::FILES) }?)
}

/// Makes `descriptor` known as `number` too, to be inherited by the program. What had that number is closed.
pub(crate) fn place(descriptor: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: called in a child that is about to become another program and uses nothing with that number.
    match unsafe { libc::dup2(descriptor.as_raw_fd(), number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Closes all descriptors but the first three and `kept`.
pub(crate) fn close_all_but(kept: Option<BorrowedFd<'_>>) {
    const FIRST: u32 = 3;
    let kept = kept.map(|descriptor| descriptor.as_raw_fd() as u32);
    let ranges = match kept {
        Some(kept) => [(FIRST, kept.saturating_sub(1)), (kept.saturating_add(1).max(FIRST), u32::MAX)],
        None => [(FIRST, u32::MAX), (u32::MAX, u32::MAX)],
    };
    for (first, last) in ranges.into_iter().filter(|(first, last)| first <= last) {
        // SAFETY: called where no object of this process that owns one of them is used or dropped any more.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
            continue;
        }
        // Linux before 5.9. The numbers are given out from below.
        for number in first..=last.min(4096) {
            // SAFETY: as above.
            unsafe { libc::close(number as i32) };
        }
    }
}

/// Blocks every signal: from now on this process reads those that it wants to know, and the others wait.
pub(crate) fn block_signals() -> io::Result<()> {
    let mut all = MaybeUninit::uninit();
    // SAFETY: `all` is filled by the first call; null asks for no old set.
    let result = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives signals back their defaults and lets them in, as a program expects it.
pub(crate) fn restore_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: a default action runs no code of ours. Numbers that the system keeps for itself are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = MaybeUninit::uninit();
    // SAFETY: `none` is filled by the first call; null asks for no old set.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

fn set_of(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call fills the set, the others change it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
        }
        set.assume_init()
    }
}

/// A descriptor that is readable while a child's end has not been read from it.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    let set = set_of(&[Signal::CHILD]);
    // SAFETY: the set is whole; the descriptor that is returned is new and has no other owner.
    unsafe {
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// Waits for one of `signals`, all of which are blocked.
pub(crate) fn wait_for_signal(signals: &[Signal]) -> Option<Signal> {
    let set = set_of(signals);
    // SAFETY: the set is whole; null asks for no further information.
    let number = unsafe { libc::sigwaitinfo(&raw const set, ptr::null_mut()) };
    Signal::from_named_raw(number)
}

/// A child that has ended, if any has. An error of `ECHILD` says that there are no children.
pub(crate) fn reap() -> io::Result<Option<Reaped>> {
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to memory of the right type; all zeros are a valid `rusage`.
    let (pid, usage) =
        unsafe { (libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()), usage.assume_init()) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let time = |value: libc::timeval| {
        Duration::from_secs(value.tv_sec.max(0) as u64) + Duration::from_micros(value.tv_usec.max(0) as u64)
    };
    Ok(Pid::from_raw(pid).map(|pid| Reaped {
        pid,
        status: ExitStatus::from_raw(status),
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak_bytes: (usage.ru_maxrss.max(0) as u64) << 10,
    }))
}
