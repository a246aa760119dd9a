//! What this machine allows: how far a program can be kept apart and how its memory can be limited.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What may be used of what a machine allows. Everything, unless a test or a cautious operator says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// PID namespaces, and with them mounts of `/proc`.
    pub namespaces: bool,
    /// Control groups.
    pub groups: bool,
}

impl Default for Allowed {
    fn default() -> Self {
        Self { namespaces: true, groups: true }
    }
}

/// What a slot does, found by trying. Its `Display` is one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// How all processes of an attempt are found at its end.
    pub tree: Tree,
    /// How memory is limited.
    pub memory: Memory,
}

/// How all processes of an attempt are found at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tree {
    /// A PID namespace for each attempt: the kernel ends all of it with its first process.
    Namespace {
        /// Whether that took a user namespace: without it, one must be root.
        is_user: bool,
        /// Whether `/proc` shows the namespace. If not, it shows the process numbers outside of it.
        has_proc: bool,
    },
    /// Orphans become children of the supervisor, which kills whatever descends from it.
    Subreaper,
}

/// How memory is limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Memory {
    /// A control group for each attempt: all its processes together, and the kernel counts.
    Group {
        /// Of control groups, 1 or 2.
        version: u8,
        /// The folder that is there while an attempt runs.
        folder: PathBuf,
    },
    /// `RLIMIT_DATA`: each process for itself.
    Rlimit,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tree {
            Tree::Namespace { is_user, has_proc } => {
                f.write_str("each program runs in a PID namespace")?;
                f.write_str(if is_user { " and a user namespace" } else { "" })?;
                f.write_str(if has_proc { "" } else { ", but sees the /proc of the machine" })?;
            }
            Tree::Subreaper => {
                f.write_str("PID namespaces are not available here: programs are ended process by process")?;
            }
        }
        match self.memory {
            Memory::Group { version, .. } => {
                write!(f, "; its memory is limited by a control group (version {version})")
            }
            Memory::Rlimit => f.write_str(
                "; control groups are not available here: the memory limit holds for each process by itself",
            ),
        }
    }
}
