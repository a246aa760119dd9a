//! Makes the namespaces that programs run in, and finds out which ones this machine allows.
//!
//! A supervisor moves into a mount namespace of its own once, and into a user namespace if it is not root. Each attempt
//! gets a PID namespace, and its first process mounts that one's `/proc` over the supervisor's. A mount namespace for
//! each attempt would cost a copy of all mounts.

use std::fs;
use std::io;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{WaitOptions, getegid, geteuid, waitpid};
use rustix::thread::UnshareFlags;

use crate::isolation::Tree;
use crate::sys;

/// What a trial run in a child says by its exit code.
const ALL: i32 = 0;
const ALL_BUT_PROC: i32 = 1;
const NOTHING: i32 = 2;

/// Moves this process to where it can make PID namespaces, by the best way that works. Children try each way first,
/// since there is no way back.
pub(crate) fn enter() -> Tree {
    for is_user in [false, true] {
        let has_proc = match in_child(false, || try_out(is_user)) {
            ALL => true,
            ALL_BUT_PROC => false,
            _ => continue,
        };
        if enter_as(is_user).is_ok() {
            return Tree::Namespace { is_user, has_proc: has_proc && keep_mounts_in().is_ok() };
        }
    }
    Tree::Subreaper
}

fn try_out(is_user: bool) -> i32 {
    if enter_as(is_user).is_err() {
        return NOTHING;
    }
    let may_mount = keep_mounts_in().is_ok();
    in_child(true, || if may_mount && mount_proc().is_ok() { ALL } else { ALL_BUT_PROC })
}

/// The exit code of a child that does this.
fn in_child(in_namespace: bool, body: impl FnOnce() -> i32) -> i32 {
    let Ok(child) = sys::fork(in_namespace, body) else { return NOTHING };
    let ended = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    ended.ok().flatten().and_then(|(_, status)| status.exit_status()).unwrap_or(NOTHING)
}

fn enter_as(is_user: bool) -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    let flags = if is_user { UnshareFlags::NEWUSER } else { UnshareFlags::empty() };
    sys::unshare(flags | UnshareFlags::NEWNS)?;
    if is_user {
        // Everyone stays who they are; nobody else is known.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{0} {0} 1", user.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("{0} {0} 1", group.as_raw()))?;
    }
    Ok(())
}

/// What is mounted here does not get out; what the machine mounts still comes in.
fn keep_mounts_in() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
}

/// Mounts the `/proc` of this process's PID namespace.
pub(crate) fn mount_proc() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("proc", "/proc", "proc", flags, None)?)
}

/// Takes away what [`mount_proc`] mounted.
pub(crate) fn unmount_proc() {
    let _ = unmount("/proc", UnmountFlags::DETACH);
}
