//! Tables of what a model says, as bytes: the same bytes for the same rows, on any machine.
//!
//! | module | holds |
//! |---|---|
//! | `columns` | which columns a table has, and whether their names differ |
//! | `table` | rows, put one after the other |
//! | `csv_text`, `json_lines`, `parquet_file` | how each format writes them |

mod columns;
mod csv_text;
mod json_lines;
mod parquet_file;
mod table;
#[cfg(test)]
mod tests;

pub use broadsweep_common::application::OutputFormat;
pub use columns::{check, columns_of};
pub use table::{OutputTable, OutputTableError};

/// Letters of a name that a message shows.
const LETTERS_SHOWN_MAX: usize = 40;
