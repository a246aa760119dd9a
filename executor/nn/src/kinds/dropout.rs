//! Some values set to 0. What each was multiplied with is kept for the way back.

use super::Description;
use super::description::output_bytes;
use crate::shape::Shape;

pub(super) fn describe(input: Shape) -> Result<Description, String> {
    let described = Description::new(input, [])?;
    Ok(Description { row_bytes: described.row_bytes + output_bytes(input), ..described })
}
