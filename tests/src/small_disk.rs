//! A file system that is soon full.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::skip::skip;

/// A file system of a few MiB in memory. Dropping it removes it.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at a path where nothing is yet; says so and gives `None` where that is not allowed.
    #[must_use]
    pub fn mount(at: PathBuf, mib: u32) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(&at).output();
        let why = match mount {
            Ok(mounted) if mounted.status.success() => return Some(Self(at)),
            Ok(mounted) => String::from_utf8_lossy(&mounted.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        skip(&format!("a small disk cannot be mounted here: {why}"));
        None
    }

    /// Fills it to the last byte; returns the file that does.
    #[must_use]
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut filler = File::create(&path).unwrap();
        for piece in [64 << 10, 4 << 10, 1] {
            while filler.write_all(&vec![1; piece]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still writes there does not keep it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}
