//! The keys of `[data]` that tables have: their files, their columns, and how their text is written.

use std::collections::BTreeSet;

use broadsweep_common::configuration::Value;
use broadsweep_common::schema::Dialect;

use super::data::read_files_of_parts;
use super::diagnostic::Diagnostic;
use super::reader::{Node, Table};
use super::{ColumnName, TableFormat, TableSource};

/// Keys of every table.
pub(super) const SOURCE: &[&str] = &[
    "train_file",
    "validation_file",
    "test_file",
    "label_column",
    "feature_columns",
    "leave_out",
    "group_column",
    "category_columns",
    "categories",
];
/// Keys of a table that is text.
pub(super) const TEXT: &[&str] = &["delimiter", "decimal", "header", "encoding"];

/// Words that a text column may have, unless the study says otherwise.
const CATEGORIES_MAX: u32 = 64;

const DELIMITERS: &[(&str, u8)] = &[(",", b','), (";", b';'), ("|", b'|'), ("tab", b'\t'), ("space", b' ')];
const DECIMALS: &[(&str, u8)] = &[(".", b'.'), (",", b',')];

/// Reads the keys of a table.
pub(super) fn read(table: &Table<'_>, is_text: bool) -> Result<TableSource, Diagnostic> {
    let label_column = read_column(&table.require("label_column", "the name of a column, or its number from 1")?)?;
    let (features, leave_out) = (table.get("feature_columns"), table.get("leave_out"));
    if let (Some(_), Some(node)) = (&features, &leave_out) {
        let message = "`leave_out` leaves columns out of all others, and `feature_columns` names those that stay";
        return Err(node.error(message).with_note("write one of the two"));
    }
    let columns = |node: &Node<'_>| read_columns(node, &label_column);
    let names = |key: &str| table.get(key).map_or(Ok(Vec::new()), |node| read_columns(&node, &label_column));
    Ok(TableSource {
        files: read_files_of_parts(table)?,
        format: if is_text { TableFormat::Text(read_dialect(table)?) } else { TableFormat::Parquet },
        feature_columns: features.as_ref().map(columns).transpose()?,
        leave_out: leave_out.as_ref().map_or(Ok(Vec::new()), columns)?,
        group_column: table.get("group_column").map(|node| read_column(&node)).transpose()?,
        category_columns: names("category_columns")?,
        categories_max: match table.get("categories") {
            Some(node) => node.whole(1, 65_536)? as u32,
            None => CATEGORIES_MAX,
        },
        label_column,
    })
}

fn read_dialect(table: &Table<'_>) -> Result<Dialect, Diagnostic> {
    let word = |key: &str, words| table.get(key).map(|node| node.word(words)).transpose();
    let delimiter = match table.get("delimiter").as_ref().map(Node::text) {
        Some(Ok("\t")) => Some(b'\t'),
        Some(Ok(" ")) => Some(b' '),
        _ => word("delimiter", DELIMITERS)?,
    };
    let decimal = word("decimal", DECIMALS)?;
    if delimiter == Some(b',') && decimal == Some(b',') {
        return Err(table.error("`delimiter` and `decimal` cannot both be a comma"));
    }
    let header = match table.get("header") {
        None => None,
        Some(node) => match node.scalar() {
            Ok(Value::Flag(header)) => Some(header),
            _ => return Err(node.refused("true (the first line names the columns) or false")),
        },
    };
    let encoding = match table.get("encoding") {
        None => None,
        Some(node) => {
            let refused =
                || node.refused("an encoding, as in \"latin1\", \"windows-1252\", \"utf-16le\" or \"shift_jis\"");
            let name = node.text().map_err(|_| refused())?;
            if encoding_rs::Encoding::for_label(name.as_bytes()).is_none() {
                return Err(refused());
            }
            Some(name.to_owned())
        }
    };
    Ok(Dialect { delimiter, decimal, header, encoding })
}

/// A column by its name, or by its number.
fn read_column(node: &Node<'_>) -> Result<ColumnName, Diagnostic> {
    match node.scalar() {
        Ok(Value::Integer(number)) if number >= 1 => Ok(ColumnName::Number(number as usize)),
        Ok(Value::Choice(name)) if !name.is_empty() => Ok(ColumnName::Name(name)),
        _ => Err(node.refused("the name of a column in quotes, or its number from 1")),
    }
}

fn read_columns(node: &Node<'_>, label_column: &ColumnName) -> Result<Vec<ColumnName>, Diagnostic> {
    let nodes = node.array()?;
    let key = node.place.rsplit(' ').next().unwrap_or_default();
    if nodes.is_empty() {
        return Err(node.error(format!("`{key}` is empty")).with_note("leave it out"));
    }
    let mut seen = BTreeSet::new();
    let mut columns = Vec::new();
    for node in &nodes {
        let column = read_column(node)?;
        if column == *label_column {
            let message = format!("{} is the label's column; it cannot stand in `{key}` too", node.quoted());
            return Err(node.error(message));
        }
        if !seen.insert(column.clone()) {
            return Err(node.error(format!("{} stands in `{key}` twice", node.quoted())));
        }
        columns.push(column);
    }
    Ok(columns)
}
