//! The columns of an output: those that are kept, then what the model says.

use std::collections::BTreeSet;

use broadsweep_common::schema::{Outputs, Schema};

use super::table::OutputTableError;
use broadsweep_common::application::{KeptColumn, KeptKind};

/// What a class, or the only value, stands under.
const PREDICTION: &str = "prediction";

/// The columns of an output, in their order:
///
/// - the kept ones;
/// - of classes `prediction`, the class by its name, and, `with_probabilities`, `probability.<name>` for each;
/// - of values `prediction.<name>` for each, or `prediction` if there is one.
#[must_use]
pub fn columns_of(schema: &Schema, kept: &[KeptColumn], with_probabilities: bool) -> Vec<KeptColumn> {
    let column = |name: String, kind| KeptColumn { name, kind };
    let number = |name| column(name, KeptKind::Number);
    let mut columns = kept.to_vec();
    match &schema.outputs {
        Outputs::Classes { names, .. } => {
            columns.push(column(PREDICTION.to_owned(), KeptKind::Text));
            let shown = if with_probabilities { names.as_slice() } else { &[] };
            columns.extend(shown.iter().map(|name| number(format!("probability.{name}"))));
        }
        Outputs::Values { names, .. } if names.len() == 1 => columns.push(number(PREDICTION.to_owned())),
        Outputs::Values { names, .. } => {
            columns.extend(names.iter().map(|name| number(format!("{PREDICTION}.{name}"))));
        }
    }
    columns
}

/// Looks whether an output can have these columns, before anything is computed.
///
/// # Errors
/// [`OutputTableError::TwoColumns`], if two of them would have one name.
pub fn check(schema: &Schema, kept: &[KeptColumn], with_probabilities: bool) -> Result<(), OutputTableError> {
    let columns = columns_of(schema, kept, with_probabilities);
    let mut names = BTreeSet::new();
    let twice = columns.iter().position(|column| !names.insert(column.name.as_str()));
    match twice {
        None => Ok(()),
        Some(place) => {
            let both_are_kept = place < kept.len();
            Err(OutputTableError::TwoColumns { name: columns[place].name.clone(), both_are_kept })
        }
    }
}
