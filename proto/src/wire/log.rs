//! Pieces of logs, as messages.

use broadsweep_common::log::{LogPiece, PIECE_BYTES_MAX, PIECES_BYTES_MAX, PIECES_MAX};

use super::{WireError, at_most, attempt, attempt_message};
use crate::session::{self, executor_item};

/// The message of a piece.
#[must_use]
pub fn log_item(piece: LogPiece) -> executor_item::Item {
    let LogPiece { attempt, offset, text } = piece;
    executor_item::Item::Logged(session::Logged { attempt: Some(attempt_message(attempt)), offset, text })
}

/// The pieces that came together.
///
/// # Errors
/// [`WireError`], if they are more than an executor sends, or one of them is none.
pub fn log_pieces(messages: Vec<session::Logged>) -> Result<Vec<LogPiece>, WireError> {
    at_most("pieces of logs", messages.len(), PIECES_MAX)?;
    at_most("bytes of logs", messages.iter().map(|piece| piece.text.len()).sum(), PIECES_BYTES_MAX)?;
    messages.into_iter().map(log_piece).collect()
}

fn log_piece(message: session::Logged) -> Result<LogPiece, WireError> {
    let session::Logged { attempt: whose, offset, text } = message;
    at_most("bytes in a piece of a log", text.len(), PIECE_BYTES_MAX)?;
    offset.checked_add(text.len() as u64).ok_or(WireError::LogTooLong)?;
    Ok(LogPiece { attempt: attempt(whose)?, offset, text })
}
