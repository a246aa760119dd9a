//! What commands say: results to the standard output, all else to the standard error. Nobody has to listen.

use std::fmt::Display;
use std::io::{self, Write};

/// A result. Who reads no further, as `head` does, has what it wanted: that is no failure.
pub(super) fn print(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut stdout = io::stdout();
    unless_closed(stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()))
}

/// A line that is no result. A command does not fail because nobody hears it.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What came of a write, where a reader may leave in the middle.
pub(super) fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
