//! Channels normalised over the batch, or over running statistics.

use broadsweep_common::model::Activation;

use super::Description;
use crate::shape::Shape;
use crate::tensor::Role;

pub(super) fn describe(activation: Activation, input: Shape) -> Result<Description, String> {
    let tensors = [("scale", Role::Scale), ("shift", Role::Bias), ("mean", Role::Mean), ("variance", Role::Variance)];
    let by_channel = tensors.map(|(name, role)| (name, vec![input.channels()], role));
    Ok(Description::new(input, by_channel)?.with_function(activation))
}
