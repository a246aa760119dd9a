//! One value of each window and channel.

use super::Description;
use super::description::output_bytes;
use crate::shape::{Shape, Windows};

/// The largest value. Where it was is kept for the way back.
pub(super) fn describe_max(windows: Windows) -> Result<Description, String> {
    let described = describe_average(windows)?;
    Ok(Description { row_bytes: described.row_bytes + output_bytes(described.output), ..described })
}

/// The mean.
pub(super) fn describe_average(windows: Windows) -> Result<Description, String> {
    let Windows { vertical, horizontal, channels } = windows;
    let output = Shape::Image { height: vertical.output, width: horizontal.output, channels };
    Ok(Description { windows: Some(windows), ..Description::new(output, [])? })
}
