//! Cross-correlation with square kernels, and a bias a filter.

use broadsweep_common::model::Activation;

use super::Description;
use crate::shape::{Shape, Windows};
use crate::tensor::Role;

pub(super) fn describe(filters: usize, windows: Windows, activation: Activation) -> Result<Description, String> {
    let Windows { vertical, horizontal, channels } = windows;
    let output = Shape::Image { height: vertical.output, width: horizontal.output, channels: filters };
    let kernel = vec![vertical.window, horizontal.window, channels, filters];
    let tensors = [("weight", kernel, Role::Weight), ("bias", vec![filters], Role::Bias)];
    let described = Description::new(output, tensors)?.with_function(activation);
    let flops = 2 * output.values() as u64 * windows.patch_values() as u64;
    Ok(Description { flops, windows: Some(windows), ..described })
}
