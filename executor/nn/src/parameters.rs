//! The numbers that training makes, in two runs of memory, and how they start.
//!
//! One run holds all that is trained, the other all running statistics, in layer order. Layers know their ranges;
//! optimizers, copies and checkpoints know the runs alone.

use broadsweep_common::model::{Initialization, Layer, Model};
use broadsweep_common::seeds::{self, Rng};
use rand_chacha::rand_core::Rng as _;

use super::blueprint::Blueprint;
use super::plan::Plan;
use super::tensor::Role;

/// All numbers that training makes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameters {
    /// Weights, biases, scales and shifts.
    pub(super) trained: Vec<f32>,
    /// Running statistics of batch norm.
    pub(super) statistics: Vec<f32>,
}

impl Parameters {
    pub(super) fn zeros(blueprint: &Blueprint) -> Self {
        let [trained, statistics] = blueprint.run_lengths();
        Self { trained: vec![0.0; trained], statistics: vec![0.0; statistics] }
    }

    /// Weights drawn from the trial's seed, biases and shifts 0, scales 1, running means 0 and variances 1. The same
    /// numbers however they are laid out; what fills up a block is 0.
    pub(super) fn initialize(model: &Model, plan: &Plan, blueprint: &Blueprint, trial_seed: u64) -> Self {
        let mut parameters = Self::zeros(blueprint);
        let mut places = blueprint.places();
        for (index, (layer, planned)) in model.layers.iter().zip(&plan.layers).enumerate() {
            for (tensor, place) in planned.tensors.iter().zip(places.by_ref()) {
                let values = &mut parameters.run_mut(place.packing.role)[place.range];
                match place.packing.role {
                    Role::Weight => {
                        let mut rng = seeds::initialization_rng(trial_seed, index);
                        draw(initialization(layer), &tensor.shape, &mut rng, |index, value| {
                            values[place.packing.place(index)] = value;
                        });
                    }
                    Role::Bias | Role::Mean => {}
                    Role::Scale | Role::Variance => {
                        (0..tensor.values()).for_each(|index| values[place.packing.place(index)] = 1.0);
                    }
                }
            }
        }
        parameters
    }

    pub(super) fn run(&self, role: Role) -> &[f32] {
        if role.is_statistic() { &self.statistics } else { &self.trained }
    }

    pub(super) fn run_mut(&mut self, role: Role) -> &mut [f32] {
        if role.is_statistic() { &mut self.statistics } else { &mut self.trained }
    }

    /// Takes over the other's numbers without allocating.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.trained.copy_from_slice(&other.trained);
        self.statistics.copy_from_slice(&other.statistics);
    }

    pub(super) fn are_finite(&self) -> bool {
        self.trained.iter().chain(&self.statistics).all(|value| value.is_finite())
    }
}

fn initialization(layer: &Layer) -> Initialization {
    match layer {
        Layer::Dense { initialization, .. } | Layer::Conv2d { initialization, .. } => *initialization,
        Layer::MaxPool(_)
        | Layer::AveragePool(_)
        | Layer::Flatten
        | Layer::Dropout { .. }
        | Layer::BatchNorm { .. }
        | Layer::Activation(_) => unreachable!("weights of products are those of dense and conv2d layers alone"),
    }
}

/// Draws the weights of a dense layer, `(inputs, units)`, or of a convolution, `(kernel, kernel, channels, filters)`,
/// whose inputs and outputs are counted over the whole kernel; `put` takes each with its index.
fn draw(initialization: Initialization, shape: &[usize], rng: &mut Rng, mut put: impl FnMut(usize, f32)) {
    let [kernel @ .., channels, filters] = shape else { return };
    let field: usize = kernel.iter().product();
    let (inputs, outputs) = ((field * channels) as f64, (field * filters) as f64);
    let values = field * channels * filters;
    match initialization {
        Initialization::Glorot => {
            let limit = (6.0 / (inputs + outputs)).sqrt();
            (0..values).for_each(|index| put(index, (limit * (2.0 * uniform(rng) - 1.0)) as f32));
        }
        Initialization::He => {
            let deviation = (2.0 / inputs).sqrt();
            for first in (0..values).step_by(2) {
                let pair = (first..values).zip(normal_pair(rng));
                pair.for_each(|(index, z)| put(index, (deviation * z) as f32));
            }
        }
    }
}

/// Uniform in `[0, 1)`, a multiple of 2^-53.
fn uniform(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Two independent standard normal numbers (Box and Muller, 1958).
fn normal_pair(rng: &mut Rng) -> [f64; 2] {
    let radius = (-2.0 * libm::log(1.0 - uniform(rng))).sqrt();
    let angle = std::f64::consts::TAU * uniform(rng);
    [radius * libm::cos(angle), radius * libm::sin(angle)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(initialization: Initialization, shape: &[usize]) -> Vec<f32> {
        let mut values = vec![0.0; shape.iter().product()];
        draw(initialization, shape, &mut seeds::initialization_rng(1, 0), |index, value| values[index] = value);
        values
    }

    fn mean_and_variance(values: &[f32]) -> (f64, f64) {
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|&value| (f64::from(value) - mean).powi(2));
        (mean, squares.sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn glorot_fills_its_range_and_never_leaves_it() {
        for (shape, inputs, outputs) in [(&[300, 200][..], 300.0, 200.0), (&[5, 5, 32, 64], 800.0, 1600.0)] {
            let values = drawn(Initialization::Glorot, shape);
            let limit = (6.0_f64 / (inputs + outputs)).sqrt();
            let largest = f64::from(values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())));
            assert!((0.999 * limit..=limit * 1.000_001).contains(&largest), "{largest}, limit {limit}");
            let (mean, variance) = mean_and_variance(&values);
            assert!(mean.abs() < 0.02 * limit && (variance / (limit * limit / 3.0) - 1.0).abs() < 0.02);
        }
    }

    #[test]
    fn he_has_two_by_inputs_as_variance() {
        for (shape, inputs) in [(&[300, 201][..], 300.0), (&[5, 5, 32, 64], 800.0)] {
            let (mean, variance) = mean_and_variance(&drawn(Initialization::He, shape));
            assert!(mean.abs() < 0.001, "{mean}");
            assert!((variance * inputs / 2.0 - 1.0).abs() < 0.02, "{variance}");
        }
    }
}
