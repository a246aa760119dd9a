//! From gradients to steps. The rules are written down at `common::training::Optimizer`.

use std::ops::Range;

use broadsweep_common::training::{Optimizer, Training};

use super::parameters::places;
use super::plan::{Plan, Role};

/// An optimizer with its memory of past gradients.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OptimizerState {
    rule: Optimizer,
    l2: f32,
    /// The trained run, cut where penalties begin and end.
    segments: Vec<Segment>,
    /// Velocity, or Adam's first moment. Empty for a rule without one.
    first: Vec<f32>,
    /// Adam's second moment. Empty for a rule without one.
    second: Vec<f32>,
    /// Steps taken.
    steps: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Segment {
    range: Range<usize>,
    /// Whether L2 and weight decay reach it.
    penalized: bool,
}

/// Numbers that the rule remembers of each weight.
pub(super) fn moments(rule: Optimizer) -> u64 {
    match rule {
        Optimizer::Sgd { momentum: 0.0, .. } => 0,
        Optimizer::Sgd { .. } => 1,
        Optimizer::Adam { .. } => 2,
    }
}

impl OptimizerState {
    pub(super) fn new(training: &Training, plan: &Plan) -> Self {
        let trained = places(plan).filter(|place| !place.role.is_statistic());
        let segments = trained.map(|place| Segment { range: place.range, penalized: place.role == Role::Weight });
        let moments = moments(training.optimizer);
        let moment = |number| vec![0.0; if number <= moments { plan.parameters as usize } else { 0 }];
        Self {
            rule: training.optimizer,
            l2: training.l2 as f32,
            segments: segments.collect(),
            first: moment(1),
            second: moment(2),
            steps: 0,
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn moments(&self) -> [&[f32]; 2] {
        [&self.first, &self.second]
    }

    /// Goes on after `steps` steps with moments that `fill` writes.
    pub(super) fn resume(&mut self, steps: u64, mut fill: impl FnMut(&mut [f32])) {
        self.steps = steps;
        fill(&mut self.first);
        fill(&mut self.second);
    }

    /// Whether finite weights can stand beside these moments: an infinite velocity or first moment, or anything that
    /// is NaN, would have reached them. A second moment may be infinite: it divides.
    pub(super) fn is_possible(&self) -> bool {
        self.first.iter().all(|value| value.is_finite()) && self.second.iter().all(|&value| value >= 0.0)
    }

    /// Takes one step along `gradients`, which lie as `weights` do.
    pub(super) fn step(&mut self, rate: f64, weights: &mut [f32], gradients: &[f32]) {
        self.steps += 1;
        for Segment { range, penalized } in &self.segments {
            let weights = &mut weights[range.clone()];
            let gradients = &gradients[range.clone()];
            let l2 = if *penalized { self.l2 } else { 0.0 };
            match self.rule {
                Optimizer::Sgd { momentum: 0.0, .. } => descend(rate as f32, l2, weights, gradients),
                Optimizer::Sgd { momentum, nesterov } => {
                    let velocity = &mut self.first[range.clone()];
                    let momentum = momentum as f32;
                    roll(rate as f32, momentum, nesterov, l2, (weights, velocity, gradients));
                }
                Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
                    let decay = if *penalized { (rate * weight_decay) as f32 } else { 0.0 };
                    let adam = Adam::new(rate, beta1, beta2, epsilon, self.steps);
                    let moments = (&mut self.first[range.clone()], &mut self.second[range.clone()]);
                    adam.step(l2, decay, weights, moments, gradients);
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        4 * (self.first.len() + self.second.len())
    }
}

fn descend(rate: f32, l2: f32, weights: &mut [f32], gradients: &[f32]) {
    for (weight, gradient) in weights.iter_mut().zip(gradients) {
        *weight -= rate * (gradient + l2 * *weight);
    }
}

fn roll(
    rate: f32,
    momentum: f32,
    nesterov: bool,
    l2: f32,
    (weights, velocity, gradients): (&mut [f32], &mut [f32], &[f32]),
) {
    for ((weight, velocity), gradient) in weights.iter_mut().zip(velocity).zip(gradients) {
        let push = rate * (gradient + l2 * *weight);
        *velocity = momentum * *velocity - push;
        *weight += if nesterov { momentum * *velocity - push } else { *velocity };
    }
}

/// One step's factors (Kingma and Ba, 2015, algorithm 1).
struct Adam {
    rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    /// `1 / (1 - beta1^t)`.
    unbias_first: f32,
    /// `1 / (1 - beta2^t)`.
    unbias_second: f32,
}

impl Adam {
    fn new(rate: f64, beta1: f64, beta2: f64, epsilon: f64, steps: u64) -> Self {
        Self {
            rate: rate as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            epsilon: epsilon as f32,
            unbias_first: (1.0 / (1.0 - libm::pow(beta1, steps as f64))) as f32,
            unbias_second: (1.0 / (1.0 - libm::pow(beta2, steps as f64))) as f32,
        }
    }

    fn step(
        &self,
        l2: f32,
        decay: f32,
        weights: &mut [f32],
        (first, second): (&mut [f32], &mut [f32]),
        gradients: &[f32],
    ) {
        let values = weights.iter_mut().zip(first).zip(second).zip(gradients);
        for (((weight, first), second), gradient) in values {
            let gradient = gradient + l2 * *weight;
            *first = self.beta1 * *first + (1.0 - self.beta1) * gradient;
            *second = self.beta2 * *second + (1.0 - self.beta2) * gradient * gradient;
            let root = (*second * self.unbias_second).sqrt();
            *weight -= decay * *weight + self.rate * (*first * self.unbias_first) / (root + self.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two weights, the second one free of penalties, after each of two steps along `gradients`.
    fn steps(rule: Optimizer, l2: f32, rate: f64, gradients: [[f32; 2]; 2]) -> [[f32; 2]; 2] {
        let mut optimizer = OptimizerState {
            rule,
            l2,
            segments: vec![Segment { range: 0..1, penalized: true }, Segment { range: 1..2, penalized: false }],
            first: vec![0.0; 2],
            second: vec![0.0; 2],
            steps: 0,
        };
        let mut weights = [1.0, 1.0];
        gradients.map(|gradients| {
            optimizer.step(rate, &mut weights, &gradients);
            weights
        })
    }

    fn assert_close(actual: [[f32; 2]; 2], expected: [[f32; 2]; 2]) {
        for (actual, expected) in actual.as_flattened().iter().zip(expected.as_flattened()) {
            assert!((actual - expected).abs() < 2e-6, "{actual}, not {expected}");
        }
    }

    #[test]
    fn plain_descent_follows_the_gradient_and_l2_pulls_weights_alone() {
        let rule = Optimizer::Sgd { momentum: 0.0, nesterov: false };
        // Free: 1 - 0.1 × 2 = 0.8, then 0.8 - 0.1 × -1 = 0.9. Penalised with 0.5: 1 - 0.1 (2 + 0.5) = 0.75, then
        // 0.75 - 0.1 (-1 + 0.375) = 0.8125.
        assert_close(steps(rule, 0.5, 0.1, [[2.0, 2.0], [-1.0, -1.0]]), [[0.75, 0.8], [0.8125, 0.9]]);
    }

    #[test]
    fn momentum_carries_the_velocity_on() {
        let rule = Optimizer::Sgd { momentum: 0.9, nesterov: false };
        // v = -0.2, w = 0.8; v = 0.9 × -0.2 - 0.1 × 1 = -0.28, w = 0.52.
        // Penalised with 0.5: v = -0.25, w = 0.75; v = -0.225 - 0.1 (1 + 0.375) = -0.3625, w = 0.3875.
        assert_close(steps(rule, 0.5, 0.1, [[2.0, 2.0], [1.0, 1.0]]), [[0.75, 0.8], [0.3875, 0.52]]);
    }

    #[test]
    fn nesterov_looks_ahead() {
        let rule = Optimizer::Sgd { momentum: 0.9, nesterov: true };
        // v = -0.2, w = 1 + 0.9 × -0.2 - 0.2 = 0.62; v = -0.18 - 0.1 = -0.28, w = 0.62 - 0.252 - 0.1 = 0.268.
        assert_close(steps(rule, 0.0, 0.1, [[2.0, 2.0], [1.0, 1.0]]), [[0.62, 0.62], [0.268, 0.268]]);
    }

    #[test]
    fn adam_starts_with_whole_steps_and_divides_by_the_root() {
        let rule = Optimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-7, weight_decay: 0.0 };
        // Step 1: m = 0.2, v = 0.04; unbiased 2 and 4; w = 1 - 0.1 × 2 / 2 = 0.9.
        // Step 2: m = 0.18 - 0.1 = 0.08, unbiased / 0.19 = 0.4210526; v = 0.0396 + 0.01 = 0.0496, unbiased
        // / 0.0199 = 2.4924623, root 1.5787534; w = 0.9 - 0.1 × 0.4210526 / 1.5787534 = 0.8733300.
        let expected = [[0.9, 0.9], [0.873_330, 0.873_330]];
        assert_close(steps(rule, 0.0, 0.1, [[2.0, 2.0], [-1.0, -1.0]]), expected);
    }

    #[test]
    fn decoupled_decay_shrinks_weights_whatever_the_gradient() {
        let rule = Optimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-7, weight_decay: 0.1 };
        // As Adam, and the penalised weight also loses 0.1 × 0.1 of itself: 0.9 - 0.01 = 0.89, then
        // 0.89 - 0.0089 - 0.0266700 = 0.8544300.
        let expected = [[0.89, 0.9], [0.854_430, 0.873_330]];
        assert_close(steps(rule, 0.0, 0.1, [[2.0, 2.0], [-1.0, -1.0]]), expected);
    }
}
