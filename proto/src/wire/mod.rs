//! Between the messages of `proto` and checked types.
//!
//! Everything that a peer sends passes here once: what is missing, too long or of the wrong length is a
//! [`WireError`], never a panic, and nothing behind this module sees a message.

use crate::session as proto;
use crate::{blocks, bulk};

use broadsweep_common::attempt::SLOTS_MAX;
use broadsweep_common::blob::{Manifest, ManifestError};
use broadsweep_common::details::TooMuch;
use broadsweep_common::encoding::{Encoded, Encoding};
use broadsweep_common::ids::{AttemptId, BadDigest, Digest, TaskId};
use broadsweep_common::metrics::BadMetricName;

mod greeting;
mod holdings;
mod launch;
mod log;
mod report;

pub use greeting::{answer, answer_message, capabilities, capabilities_message};
pub use holdings::Told;
pub use launch::{launch, launch_item};
pub use log::{log_item, log_pieces};
pub use report::{attempt_ended, epoch_ended, report_item};

/// Bytes of a reason in words; longer ones are cut.
pub const REASON_BYTES_MAX: usize = 4096;

/// A message that is not what the protocol says.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WireError {
    /// A part is not there.
    #[error("a message without its {0}")]
    Missing(&'static str),
    /// A name of the wrong length.
    #[error(transparent)]
    Digest(#[from] BadDigest),
    /// A text that names no metric.
    #[error(transparent)]
    MetricName(#[from] BadMetricName),
    /// Details that cannot be read.
    #[error("the details {0}")]
    Details(String),
    /// Details that tell too much.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// A manifest that describes no blob.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// More parts than there can be.
    #[error("{got} {what}; at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many came.
        got: usize,
        /// How many may come.
        max: usize,
    },
    /// A block that is not in the manifest, or a list for another one.
    #[error("it tells of blocks that there are not")]
    NoSuchBlock,
    /// A piece of a log that reaches beyond what can be counted.
    #[error("a log of more than 2^64 bytes")]
    LogTooLong,
    /// Slots that no executor has.
    #[error("it says that it has {0} slots; an executor has 1 to {SLOTS_MAX}")]
    Slots(u32),
    /// Something that there can be once.
    #[error("the {0} twice")]
    Twice(String),
    /// A number that stands for nothing that is known here.
    #[error("no {what} has the number {number}")]
    Unknown {
        /// Of what.
        what: &'static str,
        /// Which number.
        number: i32,
    },
}

/// An attempt's identity as a message.
#[must_use]
pub fn attempt_message(attempt: AttemptId) -> proto::Attempt {
    proto::Attempt { task: attempt.task.0, number: attempt.number }
}

/// The attempt that a message names.
///
/// # Errors
/// [`WireError::Missing`].
pub fn attempt(message: Option<proto::Attempt>) -> Result<AttemptId, WireError> {
    let message = message.ok_or(WireError::Missing("attempt"))?;
    Ok(AttemptId { task: TaskId(message.task), number: message.number })
}

/// The attempts that a welcome names as held.
///
/// # Errors
/// [`WireError::TooMany`]: an executor has at most [`SLOTS_MAX`] attempts that run, and as many that have just ended.
pub fn held(messages: &[proto::Attempt]) -> Result<Vec<AttemptId>, WireError> {
    at_most("held attempts", messages.len(), 2 * SLOTS_MAX as usize)?;
    Ok(messages.iter().map(|message| AttemptId { task: TaskId(message.task), number: message.number }).collect())
}

/// A manifest as a message.
#[must_use]
pub fn manifest_message(manifest: &Manifest) -> blocks::Manifest {
    blocks::Manifest {
        bytes: manifest.bytes(),
        blocks: manifest.blocks().iter().map(|digest| bytes_of(Some(digest))).collect(),
    }
}

/// The manifest of a message.
///
/// # Errors
/// [`WireError`], if it describes no blob.
pub fn manifest(message: Option<blocks::Manifest>) -> Result<Manifest, WireError> {
    let message = message.ok_or(WireError::Missing("manifest"))?;
    let digests = message.blocks.iter().map(|digest| Digest::try_from(&digest[..]));
    Ok(Manifest::checked(message.bytes, digests.collect::<Result<_, _>>()?)?)
}

/// The number of an encoding in a message.
#[must_use]
pub fn encoding_number(encoding: Encoding) -> i32 {
    match encoding {
        Encoding::Raw => bulk::Encoding::Raw.into(),
        Encoding::Lz4 => bulk::Encoding::Lz4.into(),
    }
}

/// The encoding that a message names by its number.
///
/// # Errors
/// [`WireError::Unknown`].
pub fn encoding(number: i32) -> Result<Encoding, WireError> {
    match bulk::Encoding::try_from(number) {
        Ok(bulk::Encoding::Raw) => Ok(Encoding::Raw),
        Ok(bulk::Encoding::Lz4) => Ok(Encoding::Lz4),
        Err(_) => Err(WireError::Unknown { what: "encoding", number }),
    }
}

/// The block of a message, as it is on the wire.
///
/// # Errors
/// [`WireError::Unknown`].
pub fn encoded(content: bytes::Bytes, number: i32) -> Result<Encoded, WireError> {
    Ok(Encoded { encoding: encoding(number)?, content })
}

/// Refuses what is more than there may be.
fn at_most(what: &'static str, got: usize, max: usize) -> Result<(), WireError> {
    if got > max { Err(WireError::TooMany { what, got, max }) } else { Ok(()) }
}

/// `reason`, cut to [`REASON_BYTES_MAX`].
#[must_use]
pub fn bounded(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

fn optional_digest(bytes: &[u8]) -> Result<Option<Digest>, BadDigest> {
    if bytes.is_empty() { Ok(None) } else { Digest::try_from(bytes).map(Some) }
}

fn bytes_of(digest: Option<&Digest>) -> bytes::Bytes {
    digest.map_or_else(Default::default, |digest| bytes::Bytes::copy_from_slice(&digest.0))
}

#[cfg(test)]
mod tests;
