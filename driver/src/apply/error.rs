//! Why an output is refused, or is not there: what is wrong, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use broadsweep_objects::{ObjectAddress, ObjectError};

use super::manifest::{MANIFEST, ManifestError};
use crate::results::folder::FolderError;

/// Why an output is refused, or is not there.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The path ends in no name, as `/` and `..` do.
    #[error("{} names no folder that could be made; end the path with a name", .0.display())]
    NoName(PathBuf),
    /// It, or what it would be in, is a file.
    #[error("{} is a file, and the output needs a folder there; name another one", .0.display())]
    NotAFolder(PathBuf),
    /// It is a link to something that is not there.
    #[error("the output {} is a link to nothing; remove the link, or make the folder that it names", .0.display())]
    LinkToNothing(PathBuf),
    /// The folder around it is not there.
    #[error("there is no folder {} to put the output into; make it first, or name another one", .0.display())]
    NoParent(PathBuf),
    /// The folder cannot be exchanged for another one, since a file system begins there.
    #[error("the output {} is where a file system is mounted, and cannot be replaced at once; name a folder below it", .0.display())]
    MountPoint(PathBuf),
    /// There is something in it, and nobody said what to do about that.
    #[error(
        "the output folder {} is not empty; name another one, or say --overwrite to replace what is in it, or --append \
         to add to it", .0.display()
    )]
    NotEmpty(PathBuf),
    /// There is something in it, and it is no output of ours.
    #[error(
        "the folder {} is not empty and has no {MANIFEST} of broadsweep: what others put there is neither replaced nor \
         added to; name another folder, or move away what is in it", .0.display()
    )]
    NotOurs(PathBuf),
    /// Among the files of an output is one that its manifest does not name.
    #[error("{} is no part of the output that is to be replaced, and would be lost; move it away, then run again", .0.display())]
    Foreign(PathBuf),
    /// Another run writes this output, or did not come to its end.
    #[error(
        "the output {} belongs to a run that did not end: go on with `broadsweep resume {}`; if it is not to go on, remove {}{}",
        output.display(), run.display(), beside.display(), kept_former(former.as_deref())
    )]
    Taken {
        /// The output.
        output: PathBuf,
        /// The folder of that run.
        run: PathBuf,
        /// What that run has put beside the output.
        beside: PathBuf,
        /// What was in the output before, if that run was killed while it replaced that.
        former: Option<PathBuf>,
    },
    /// What stands beside the output has the name that a run would use, and no run made it.
    #[error("{} is in the way: a run would keep there what is not finished, and no run made it; move it away", .0.display())]
    InTheWay(PathBuf),
    /// A name that a file of an output cannot have.
    #[error("`{}` is no name for a file of an output: it needs to be a plain name of at most 200 bytes, without a dot in front", .0.escape_debug())]
    BadName(String),
    /// A file that was put already is put again, with other bytes.
    #[error(
        "{} was written before with other content: the same rows gave other predictions; look for a faulty machine, or \
         for programs that are not reproducible", .0.display()
    )]
    Differs(PathBuf),
    /// A file that the manifest names is not there as it is described.
    #[error("{} {what}; it was changed from outside: start the output afresh", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Files of one output need the same columns and the same format.
    #[error("the output {} has {had}, and what is to be added has {given}; write it to another folder", output.display())]
    Unlike {
        /// The output.
        output: PathBuf,
        /// What it has.
        had: String,
        /// What the run would add.
        given: String,
    },
    /// A manifest is not as it has to be.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        source: ManifestError,
    },
    /// Something cannot be read.
    #[error("cannot read {}: {source}; see to it that you may, and that its disk is there", path.display())]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another run was first to commit.
    #[error(
        "the output {} is not as it was when this run began: {by} was first, and its rows stay as they are; nothing of \
         this run was added, so apply the model again, with --append if its rows are to stand beside those", output.display()
    )]
    Overtaken {
        /// The output.
        output: PathBuf,
        /// Who was first.
        by: String,
    },
    /// A store that would let two runs lose each other's rows.
    #[error(
        "the store of {} does not mind the conditions If-None-Match and If-Match of what is put there ({said}), without \
         which two runs could lose each other's rows; write to a folder, or to a store that does", output.display()
    )]
    Unconditional {
        /// The output.
        output: PathBuf,
        /// What it did.
        said: String,
    },
    /// A web server takes no files.
    #[error("{0} is on a web server, which takes no files; write to a folder, or to s3://bucket/prefix")]
    NoStore(ObjectAddress),
    /// A store does not do what it is asked for.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Something cannot be written: no room, not allowed, or anything else.
    #[error(transparent)]
    Unwritten(#[from] FolderError),
}

/// Where to look before the folder is removed in which it stands.
fn kept_former(former: Option<&Path>) -> String {
    former
        .map_or_else(String::new, |former| format!(", but first move back what the output was: {}", former.display()))
}

impl OutputError {
    /// Whether the disk has no room: then no argument was wrong, and the run can go on once there is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Unwritten(error) if error.is_full())
    }

    /// Whether the run can never commit, however often it is resumed.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Overtaken { .. })
    }

    /// Whether no argument was wrong, and the run can go on later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.is_full() || matches!(self, Self::Object(ObjectError::Failed { .. }) | Self::Overtaken { .. })
    }

    /// Sorts what the system said of something that was to be written.
    pub(super) fn unwritten(path: &Path) -> impl Fn(io::Error) -> Self {
        |error| Self::Unwritten(FolderError::from_io(path, error))
    }

    pub(super) fn unreadable(path: &Path) -> impl Fn(io::Error) -> Self {
        |source| Self::Unreadable { path: path.to_owned(), source }
    }
}
