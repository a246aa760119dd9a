//! A program on a leash: started, watched, and ended with all that it has started.
//!
//! | module | holds |
//! |---|---|
//! | `order` | what is to be run, and its limits |
//! | `ended` | how it ended, what it used, in words |
//! | `isolation` | what a machine allows |
//! | `output` | lines of what a program prints, and a bounded part of them |
//! | `slot` | the executor's side: [`Leash`], [`Slot`] |
//! | `running` | the executor's side of an attempt: [`Running`] |
//! | `wire` | what executor and supervisor say to each other |
//! | `supervisor` | the supervisor's side: its loop |
//! | `attempt` | an attempt as the supervisor sees it |
//! | `init` | the first process of an attempt's namespace |
//! | `program` | how a forked child becomes the program |
//! | `namespace`, `cgroup`, `tree`, `disk` | one means each of keeping hold of it |
//! | `sys` | system calls that no safe crate has |
//!
//! An executor has threads, so it must not fork and cannot enter namespaces. It therefore starts one process for each
//! slot, the supervisor, which has one thread and is this same binary again: `main` calls [`supervise_if_asked`] before
//! anything else. A supervisor lives as long as its slot, so that an attempt costs two forks and one `exec`.
//!
//! ```text
//! executor --socket--> supervisor --fork--> first process of a PID namespace --fork, exec--> program
//! ```
//!
//! Each one dies with the one before it: a supervisor because its socket closes, a namespace's first process because it
//! asked the kernel for it, and a namespace with its first process. Where PID namespaces are not allowed, orphans become
//! children of the supervisor, which kills whatever descends from it; should it be killed itself, the executor looks for
//! processes that bear its mark in their environment. There, a program that kills its supervisor and takes off the mark
//! gets away, and so does whatever a killed executor and its killed supervisor leave behind.
//!
//! This is a leash for programs that err, not a wall around programs that attack.

mod attempt;
mod cgroup;
mod disk;
mod ended;
mod init;
mod isolation;
mod namespace;
mod order;
mod output;
mod program;
mod running;
mod slot;
mod supervisor;
mod sys;
mod tree;
mod wire;

pub use ended::{Ended, How, Usage, exit_in_words, signal_in_words};
pub use isolation::{Allowed, Isolation, Memory, Tree};
pub use order::{DiskLimit, Limits, Order, READS_FROM, WRITES_TO};
pub use output::{Excerpt, Lines};
pub use program::DEFAULT_PATH;
pub use running::{Account, Heard, Running, UNSENT_BYTES_MAX};
pub use slot::{Leash, LeashError, Slot, supervise_if_asked};
