//! What an input is, before a model is known that takes it.

use std::path::PathBuf;

use broadsweep_common::schema::Dialect;

use super::inputs;
use crate::any_table::AnyTable;
use crate::error::{DataError, Origin};
use crate::input::starts_with;
use crate::parquet::ParquetTable;
use crate::table::Table;

/// What an input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputLook {
    /// Tables.
    Table {
        /// The first one.
        file: String,
        /// Its columns, in their order.
        columns: Vec<String>,
    },
    /// Arrays or pictures.
    Array,
}

/// Looks at the first file of an input.
///
/// # Errors
/// [`DataError`], if there is none, or if it cannot be read.
pub fn look(inputs: &[PathBuf]) -> Result<InputLook, DataError> {
    let listed = inputs::list(inputs, true, &mut Vec::new())?;
    let Some(first) = listed.into_iter().next() else {
        return Err(DataError::NoRows { file: Origin::file("the input".into()) });
    };
    let file = Origin::file(first.path);
    let is_array = first.is_picture
        || starts_with(&file, &[0, 0])?
        || starts_with(&file, b"PK\x03\x04")?
        || starts_with(&file, b"\x93NUMPY")?;
    if is_array {
        return Ok(InputLook::Array);
    }
    let table = if starts_with(&file, b"PAR1")? {
        AnyTable::Parquet(ParquetTable::open(file.clone())?)
    } else {
        AnyTable::Text(Table::find(file.clone(), &Dialect::default(), None)?)
    };
    Ok(InputLook::Table { file: file.to_string(), columns: table.names().all().to_vec() })
}
