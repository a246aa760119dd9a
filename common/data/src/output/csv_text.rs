//! Rows as CSV: a header line, then a line a row. Numbers are written in the shortest way that parses back to the same
//! bits; a cell that is missing is empty.

use std::fmt::Display;

use super::{OutputFormat, OutputTableError};
use broadsweep_common::application::{KeptCell, KeptColumn};

pub(super) struct CsvText(csv::Writer<Vec<u8>>);

impl CsvText {
    /// The header line.
    pub(super) fn new(columns: &[KeptColumn]) -> Result<Self, OutputTableError> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(columns.iter().map(|column| &column.name)).map_err(refused)?;
        Ok(Self(writer))
    }

    pub(super) fn push(&mut self, cells: &[KeptCell]) -> Result<(), OutputTableError> {
        for cell in cells {
            let written = match cell {
                KeptCell::Missing => self.0.write_field(""),
                KeptCell::Text(text) => self.0.write_field(text),
                KeptCell::Integer(integer) => self.0.write_field(integer.to_string()),
                KeptCell::Number(number) => self.0.write_field(format!("{number:?}")),
                KeptCell::Flag(flag) => self.0.write_field(flag.to_string()),
            };
            written.map_err(refused)?;
        }
        self.0.write_record(None::<&[u8]>).map_err(refused)
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, OutputTableError> {
        self.0.into_inner().map_err(refused)
    }
}

fn refused(error: impl Display) -> OutputTableError {
    OutputTableError::Refused { format: OutputFormat::Csv, what: error.to_string() }
}
