//! How an attempt ended, what it used, and both in plain words.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The end of an attempt. When the caller has it, nothing of the attempt runs any more; with [`How::Lost`] that is so a
/// moment later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why.
    pub how: How,
    /// What it cost.
    pub usage: Usage,
}

/// Why an attempt ended. Its `Display` is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// The main process returned this code.
    Exit(i32),
    /// This signal killed the main process, and we did not send it.
    Signal(i32),
    /// The kernel says that it killed for want of memory, and the main process failed.
    OutOfMemory {
        /// What was allowed, if there was a limit. If not, the machine or the group around had no more.
        limit_bytes: Option<u64>,
        /// The most that was used.
        peak_bytes: u64,
    },
    /// Its folder became too large.
    DiskFull {
        /// What was allowed.
        limit_bytes: u64,
        /// What was found. Counting ends once it is too much.
        used_bytes: u64,
    },
    /// The caller stopped it, whether it then left by itself or not.
    Stopped,
    /// There was no process of it.
    CouldNotStart(String),
    /// Its supervisor died, or did not answer.
    Lost(String),
}

impl How {
    /// Whether the program says that all went well.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Exit(0)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => f.write_str(&exit_in_words(*code)),
            Self::Signal(number) => f.write_str(&signal_in_words(*number)),
            Self::OutOfMemory { limit_bytes, peak_bytes } => {
                write!(f, "out of memory: killed by the kernel at {} MiB, ", mib(*peak_bytes))?;
                match limit_bytes {
                    Some(limit) => write!(f, "the limit is {} MiB", mib(*limit)),
                    None => f.write_str("though it has no limit of its own: the machine had no more"),
                }
            }
            Self::DiskFull { limit_bytes, used_bytes } => {
                let (limit, used) = (mib(*limit_bytes), mib(*used_bytes));
                write!(f, "its folder became too large: {used} MiB or more, the limit is {limit} MiB")
            }
            Self::Stopped => f.write_str("stopped on request"),
            Self::CouldNotStart(why) => write!(f, "could not be started: {why}"),
            Self::Lost(why) => write!(f, "lost: {why}"),
        }
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From the order's arrival to the end of its last process.
    pub wall: Duration,
    /// Processor time of all its processes, user and system.
    pub cpu: Duration,
    /// The most memory at one time: of all processes together with a control group, else of the largest one. A process
    /// counts from its fork, so that a few MiB are the least.
    pub peak_memory_bytes: u64,
    /// Processes that the kernel killed for want of memory. Known with a control group only.
    pub memory_kills: u64,
}

/// What an exit code says, by the conventions of shells: "exit code 127: the shell did not find a command".
#[must_use]
pub fn exit_in_words(code: i32) -> String {
    let meaning = match code {
        0 => return "ended well (exit code 0)".to_owned(),
        2 => "often wrong use: see what the program printed".to_owned(),
        126 => "the shell found a command that it may not run".to_owned(),
        127 => "the shell did not find a command".to_owned(),
        _ => match signal_name(code.saturating_sub(128)) {
            Some((name, meaning)) => {
                format!(
                    "by a shell's convention, a command in it was killed by signal {} ({name}, {meaning})",
                    code - 128
                )
            }
            None => return format!("exit code {code}"),
        },
    };
    format!("exit code {code}: {meaning}")
}

/// What a signal says: "killed by signal 11 (SIGSEGV, segmentation fault)".
#[must_use]
pub fn signal_in_words(number: i32) -> String {
    match signal_name(number) {
        Some((name, meaning)) => format!("killed by signal {number} ({name}, {meaning})"),
        None => format!("killed by signal {number}"),
    }
}

fn signal_name(number: i32) -> Option<(&'static str, &'static str)> {
    Some(match number {
        libc::SIGHUP => ("SIGHUP", "hangup"),
        libc::SIGINT => ("SIGINT", "interrupt"),
        libc::SIGQUIT => ("SIGQUIT", "quit"),
        libc::SIGILL => ("SIGILL", "illegal instruction: perhaps built for another processor"),
        libc::SIGTRAP => ("SIGTRAP", "trap"),
        libc::SIGABRT => ("SIGABRT", "the program gave up: abort"),
        libc::SIGBUS => ("SIGBUS", "bus error: a mapped file shrank, or a disk or /dev/shm is full"),
        libc::SIGFPE => ("SIGFPE", "arithmetic error, such as an integer division by zero"),
        libc::SIGKILL => ("SIGKILL", "killed from outside; often the kernel, for want of memory"),
        libc::SIGUSR1 => ("SIGUSR1", "user-defined"),
        libc::SIGSEGV => ("SIGSEGV", "segmentation fault"),
        libc::SIGUSR2 => ("SIGUSR2", "user-defined"),
        libc::SIGPIPE => ("SIGPIPE", "it wrote to a pipe that nobody reads"),
        libc::SIGALRM => ("SIGALRM", "alarm"),
        libc::SIGTERM => ("SIGTERM", "asked to end"),
        libc::SIGXCPU => ("SIGXCPU", "limit of processor time"),
        libc::SIGXFSZ => ("SIGXFSZ", "limit of a file's size"),
        libc::SIGSYS => ("SIGSYS", "a system call that is not allowed here"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_words() {
        let rows = [
            (How::Exit(0), "ended well (exit code 0)"),
            (How::Exit(1), "exit code 1"),
            (How::Exit(127), "exit code 127: the shell did not find a command"),
            (
                How::Exit(137),
                "exit code 137: by a shell's convention, a command in it was killed by signal 9 (SIGKILL, killed from \
                 outside; often the kernel, for want of memory)",
            ),
            (How::Exit(255), "exit code 255"),
            (How::Exit(i32::MIN), "exit code -2147483648"),
            (How::Signal(11), "killed by signal 11 (SIGSEGV, segmentation fault)"),
            (How::Signal(40), "killed by signal 40"),
            (
                How::OutOfMemory { limit_bytes: Some(64 << 20), peak_bytes: (64 << 20) - 4096 },
                "out of memory: killed by the kernel at 64 MiB, the limit is 64 MiB",
            ),
            (How::CouldNotStart("no".to_owned()), "could not be started: no"),
        ];
        for (how, words) in rows {
            assert_eq!(how.to_string(), words);
        }
    }
}
