//! What is to be run, and within which limits.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The descriptor on which a program with [`Order::has_worker_pipes`] reads.
pub const READS_FROM: i32 = 3;
/// The descriptor on which a program with [`Order::has_worker_pipes`] writes.
pub const WRITES_TO: i32 = 4;

/// One attempt: a program and the world that it gets. Standard input is `/dev/null`; no descriptor is inherited but
/// those that are named here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    /// A name that is looked up in the `PATH` of `environment`, or a path if it has a slash: then from `folder`.
    pub program: OsString,
    /// Without the program's own name. Never seen by a shell.
    pub arguments: Vec<OsString>,
    /// All variables that the program gets, names and values.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub folder: PathBuf,
    /// What it may use.
    pub limits: Limits,
    /// Whether it gets two more pipes, for a program that stays up: one to read from ([`READS_FROM`]), one to write to
    /// ([`WRITES_TO`]). Variables that name them are the caller's to give.
    pub has_worker_pipes: bool,
}

/// What an attempt may use, all its processes together where the machine allows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, swap included. Without a control group each process has this limit for its own data.
    pub memory_bytes: Option<u64>,
    /// Bytes of disk.
    pub disk: Option<DiskLimit>,
}

/// How large a folder may become. It is measured twice a second, so that a program may exceed it by what it writes in
/// that time; then it is killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DiskLimit {
    /// The folder that is measured, with all below it on the same file system.
    pub folder: PathBuf,
    /// The most that it may take.
    pub bytes_max: u64,
}
