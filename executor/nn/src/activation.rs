//! The functions at the end of layers, and their derivatives.
//!
//! Comparisons are written so that NaN stays NaN, or a diverged training would look healthy. They choose factors, not
//! results: where some values stay as they are, the compiler makes stores under a mask, and some processors take an age
//! for one. So relu gives -0 below 0, and NaN at an infinity below 0.

use broadsweep_common::model::Activation;

use super::functions::{normal_density, normal_distribution, sigmoid, tanh};
use super::kernel::Kernel;
use super::layout::Layout;
use super::simd::Work;

const LEAK: f32 = 0.01;

/// A function, and where the values lie that it is applied to.
#[derive(Clone, Copy)]
pub(super) struct Applied {
    pub(super) kernel: Kernel,
    pub(super) activation: Activation,
    pub(super) layout: Layout,
}

impl Applied {
    /// Applies the function to all values of so many rows.
    pub(super) fn apply(&self, rows: usize, values: &mut [f32]) {
        let activation = self.activation;
        if activation != Activation::Linear {
            for run in self.layout.runs(rows) {
                self.kernel.vectorize(Apply { activation, values: &mut values[run] });
            }
        }
    }

    /// From the derivative by what comes after the function to that by what goes into it.
    ///
    /// `outputs` are the function's values; `inputs` what it was applied to, and empty unless it [`needs_inputs`].
    pub(super) fn differentiate(&self, rows: usize, inputs: &[f32], outputs: &[f32], gradients: &mut [f32]) {
        let activation = self.activation;
        if activation != Activation::Linear {
            for run in self.layout.runs(rows) {
                self.kernel.vectorize(Differentiate {
                    activation,
                    inputs: inputs.get(run.clone()).unwrap_or_default(),
                    outputs: &outputs[run.clone()],
                    gradients: &mut gradients[run],
                });
            }
        }
    }
}

/// [`apply`], to be compiled for wide registers.
struct Apply<'a> {
    activation: Activation,
    values: &'a mut [f32],
}

impl Work for Apply<'_> {
    #[inline(always)]
    fn run(self) {
        apply(self.activation, self.values);
    }
}

/// [`differentiate`], to be compiled for wide registers.
struct Differentiate<'a> {
    activation: Activation,
    inputs: &'a [f32],
    outputs: &'a [f32],
    gradients: &'a mut [f32],
}

impl Work for Differentiate<'_> {
    #[inline(always)]
    fn run(self) {
        differentiate(self.activation, self.inputs, self.outputs, self.gradients);
    }
}

/// Whether the derivative needs the values before the function, and not only those after it.
pub(super) fn needs_inputs(activation: Activation) -> bool {
    match activation {
        Activation::Gelu => true,
        Activation::Linear | Activation::Relu | Activation::LeakyRelu | Activation::Tanh | Activation::Sigmoid => {
            false
        }
    }
}

/// Applies the function to each value.
#[inline(always)]
fn apply(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Linear => {}
        Activation::Relu => map(values, |x| x * if x < 0.0 { 0.0 } else { 1.0 }),
        Activation::LeakyRelu => map(values, |x| x * if x < 0.0 { LEAK } else { 1.0 }),
        Activation::Tanh => map(values, tanh),
        Activation::Sigmoid => map(values, sigmoid),
        Activation::Gelu => map(values, |x| x * normal_distribution(x)),
    }
}

/// Multiplies each gradient with the function's derivative.
///
/// `outputs` are the function's values; `inputs` what it was applied to, for functions that [`needs_inputs`].
/// Where relu has no derivative, at 0, it counts as 0.
#[inline(always)]
fn differentiate(activation: Activation, inputs: &[f32], outputs: &[f32], gradients: &mut [f32]) {
    match activation {
        Activation::Linear => {}
        Activation::Relu => scale(gradients, outputs, |d, y| d * if y > 0.0 { 1.0 } else { 0.0 }),
        Activation::LeakyRelu => scale(gradients, outputs, |d, y| d * if y > 0.0 { 1.0 } else { LEAK }),
        Activation::Tanh => scale(gradients, outputs, |d, y| d * (1.0 - y * y)),
        Activation::Sigmoid => scale(gradients, outputs, |d, y| d * y * (1.0 - y)),
        Activation::Gelu => {
            scale(gradients, inputs, |d, x| d * (normal_distribution(x) + x * normal_density(x)));
        }
    }
}

#[inline(always)]
fn map(values: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in values {
        *value = function(*value);
    }
}

#[inline(always)]
fn scale(gradients: &mut [f32], values: &[f32], function: impl Fn(f32, f32) -> f32) {
    debug_assert_eq!(gradients.len(), values.len());
    for (gradient, &value) in gradients.iter_mut().zip(values) {
        *gradient = function(*gradient, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_known_values() {
        let table = [
            (Activation::Linear, [-1.0, 0.0, 2.0]),
            (Activation::Relu, [0.0, 0.0, 2.0]),
            (Activation::LeakyRelu, [-0.01, 0.0, 2.0]),
            (Activation::Tanh, [-0.761_594, 0.0, 0.964_028]),
            (Activation::Sigmoid, [0.268_941, 0.5, 0.880_797]),
            (Activation::Gelu, [-0.158_655, 0.0, 1.954_5]),
        ];
        for (activation, expected) in table {
            let mut values = [-1.0, 0.0, 2.0];
            apply(activation, &mut values);
            for (value, expected) in values.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-5, "{activation}: {value}, not {expected}");
            }
        }
    }

    #[test]
    fn nan_goes_through_every_function() {
        for &(_, activation) in Activation::WORDS {
            let mut values = [f32::NAN];
            apply(activation, &mut values);
            assert!(values[0].is_nan(), "{activation}");
        }
    }
}
