//! The log of an attempt: what its program printed, on its way from an executor to the driver.
//!
//! It is text for people and no result: nobody acknowledges it, it is not journaled, and it never holds back what is. A
//! line that was overwritten by way of `\r`, as progress bars do it, stands there only in its last state. Of a long log the
//! first and the last bytes are kept; where some are missing between them, the next piece's offset tells how many.

use bytes::Bytes;

use crate::ids::AttemptId;

/// Bytes of one piece.
pub const PIECE_BYTES_MAX: usize = 64 << 10;
/// Pieces in a message.
pub const PIECES_MAX: usize = 256;
/// Bytes in all pieces of a message.
pub const PIECES_BYTES_MAX: usize = 512 << 10;
/// Bytes of a log that are kept from its beginning, and as many up to its end.
pub const KEPT_BYTES: usize = 256 << 10;

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// Whose log.
    pub attempt: AttemptId,
    /// Bytes of the log before it, whether they came or not.
    pub offset: u64,
    /// What follows them.
    pub text: Bytes,
}
