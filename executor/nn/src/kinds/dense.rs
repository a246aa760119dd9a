//! `y = f(x W + b)`.

use broadsweep_common::model::Activation;

use super::Description;
use crate::shape::Shape;
use crate::tensor::Role;

pub(super) fn describe(units: usize, activation: Activation, input: Shape) -> Result<Description, String> {
    let Shape::Flat(inputs) = input else {
        return Err(format!("needs flat values, but gets an image ({input}); put a flatten layer before it"));
    };
    let tensors = [("weight", vec![inputs, units], Role::Weight), ("bias", vec![units], Role::Bias)];
    let described = Description::new(Shape::Flat(units), tensors)?;
    Ok(Description { flops: 2 * inputs as u64 * units as u64, ..described.with_function(activation) })
}
