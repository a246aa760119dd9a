//! What commands say: results to the standard output, all else to the standard error. Nobody has to listen. Here every
//! text passes on its way to a terminal: whatever a file or a node calls itself, it stays text.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, anyhow};

use super::hint;
use crate::results::show::{printable_json, printable_lines};

/// A result, for people.
pub(super) fn print(text: impl AsRef<str>) -> anyhow::Result<()> {
    print_bytes(printable_lines(text.as_ref()).as_bytes())
}

/// A result as a JSON document.
pub(super) fn print_json(document: impl AsRef<str>) -> anyhow::Result<()> {
    print_bytes(printable_json(document.as_ref()).as_bytes())
}

/// A result as it is, for programs. Who reads no further, as `head` does, has what it wanted: that is no failure.
pub(super) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    unless_closed(stdout.write_all(bytes).and_then(|()| stdout.flush()))
        .context("cannot write to the standard output")
}

/// Why results were not printed that are in this folder: nothing is lost.
pub(super) fn safe_in(folder: &Path, error: &anyhow::Error) -> anyhow::Error {
    let (path, again) = (folder.display(), hint::report(folder));
    anyhow!("{error:#}\nthe results are safe in {path}\nto see them: {again}")
}

/// A line that is no result. A command does not fail because nobody hears it.
pub(super) fn say(line: impl Display) {
    let line = line.to_string();
    let _ = writeln!(io::stderr(), "{}", printable_lines(&line));
}

/// What came of a write, where a reader may leave in the middle.
pub(super) fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
