//! The table of what a model says: written while its rows are read, piece by piece.

use std::io::{self, IsTerminal, Write};

use broadsweep_common::dataset::Part;
use broadsweep_common::schema::{Outputs, Schema};
use broadsweep_nn::{Prediction, Predictor};
use indicatif::{ProgressBar, ProgressStyle};

use crate::results::show::{counted, printable_lines};
use broadsweep_data::DataError;
use broadsweep_data::input::InputRows;

/// How far a long input is.
const TEMPLATE: &str = "{spinner} {wide_msg}";
/// Bytes that are held back until there are so many, or a piece ends.
const HELD_BYTES: usize = 64 << 10;

/// Why a table is not whole.
pub(super) enum Stopped {
    /// A row cannot be read.
    Input(DataError),
    /// It cannot be written.
    Output(io::Error),
}

impl From<DataError> for Stopped {
    fn from(error: DataError) -> Self {
        Self::Input(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<csv::Error> for Stopped {
    fn from(error: csv::Error) -> Self {
        Self::Output(match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            other => io::Error::other(format!("{other:?}")),
        })
    }
}

/// Writes a header line and a line a row, while they are read and predicted. Tells how many rows there were.
pub(super) fn write_table(
    to: impl Write,
    is_terminal: bool,
    rows: &mut InputRows<'_>,
    predictor: &mut Predictor<'_>,
    schema: &Schema,
) -> Result<u64, Stopped> {
    let mut writer = csv::Writer::from_writer(to);
    let (mut row, mut progress) = (0_u64, None);
    while let Some(piece) = rows.next_piece(predictor.batch_rows())? {
        if row == 0 {
            // Not before the first rows were read: whatever is wrong with them, nothing is written.
            writer.write_record(header(schema))?;
        } else if !is_terminal {
            show_progress(&mut progress, row);
        }
        let mut written = Ok(());
        predictor.predict((&piece, Part::Test), |prediction| {
            if written.is_ok() {
                written = write_row(&mut writer, row, schema, prediction);
            }
            row += 1;
        });
        written?;
        writer.flush()?;
    }
    Ok(row)
}

/// A line on a terminal that goes when its holder does: of an input that takes more than one piece.
fn show_progress(progress: &mut Option<PassingLine>, row: u64) {
    if progress.is_none() && io::stderr().is_terminal() {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        *progress = Some(PassingLine(bar));
    }
    if let Some(PassingLine(bar)) = progress {
        bar.set_message(format!("{} predicted", counted(row, "row")));
        bar.tick();
    }
}

/// A line that is gone once this is dropped.
struct PassingLine(ProgressBar);

impl Drop for PassingLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// What somebody reads while it is written: a terminal gets to see no names of classes that could move its cursor.
pub(super) struct Audience<W> {
    to: W,
    is_terminal: bool,
    held: Vec<u8>,
}

impl<W: Write> Audience<W> {
    pub(super) fn new(to: W, is_terminal: bool) -> Self {
        Self { to, is_terminal, held: Vec::new() }
    }
}

impl<W: Write> Write for Audience<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() < HELD_BYTES {
            return Ok(bytes.len());
        }
        // A terminal gets whole lines, since a letter must not be cut before it is looked at.
        let line_end = || self.held.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
        let whole = if self.is_terminal { line_end() } else { self.held.len() };
        if whole > 0 {
            let rest = self.held.split_off(whole);
            self.flush()?;
            self.held = rest;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let written = if self.is_terminal {
            self.to.write_all(printable_lines(&String::from_utf8_lossy(&held)).as_bytes())
        } else {
            self.to.write_all(&held)
        };
        written.and_then(|()| self.to.flush())
    }
}

/// What stands in each column.
fn header(schema: &Schema) -> Vec<String> {
    let mut header = vec!["row".to_owned()];
    match &schema.outputs {
        Outputs::Classes { names, .. } => {
            header.push("predicted".to_owned());
            header.extend(names.iter().map(|name| format!("probability.{name}")));
        }
        Outputs::Values { names, .. } => header.extend(names.iter().map(|name| format!("predicted.{name}"))),
    }
    header
}

/// Numbers as they parse back to the same bits.
fn write_row(
    writer: &mut csv::Writer<impl Write>,
    row: u64,
    schema: &Schema,
    prediction: Prediction<'_>,
) -> csv::Result<()> {
    writer.write_field(row.to_string())?;
    let numbers = match prediction {
        Prediction::Class { class, probabilities } => {
            writer.write_field(schema.output_name(class).unwrap_or_default())?;
            probabilities
        }
        Prediction::Values(values) => values,
    };
    numbers.iter().try_for_each(|number| writer.write_field(format!("{number:?}")))?;
    writer.write_record(None::<&[u8]>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_to_see_text_alone_in_whole_lines() {
        for (is_terminal, name) in [(false, "\u{1b}[2J\u{202e}größe"), (true, "\\u{1b}[2J\\u{202e}größe")] {
            let mut seen = Vec::new();
            let mut audience = Audience::new(&mut seen, is_terminal);
            let line = "\u{1b}[2J\u{202e}größe\n".repeat(10_000);
            // Letters come in pieces, as a buffer has them.
            line.as_bytes().chunks(8191).for_each(|piece| audience.write_all(piece).unwrap());
            audience.flush().unwrap();
            assert!(seen == format!("{name}\n").repeat(10_000).as_bytes(), "{is_terminal}");
        }
    }
}
