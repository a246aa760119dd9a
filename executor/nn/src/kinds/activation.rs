//! A function on its own.

use broadsweep_common::model::Activation;

use super::Description;
use crate::shape::Shape;

pub(super) fn describe(function: Activation, input: Shape) -> Result<Description, String> {
    Ok(Description::new(input, [])?.with_function(function))
}
