//! From gradients to steps. The rules are written down at `common::training::Optimizer`.
//!
//! A layer takes its step as soon as its gradient is there, part by part, while the part is in the first cache: there
//! is no vector of all gradients. Every rule goes value by value, so the parts leave no trace in the bits.

use std::ops::Range;

use broadsweep_common::training::{Optimizer, Training};

use super::blueprint::Blueprint;
use super::simd::Work;
use super::tensor::Role;

/// First moments below this become 0. They are far below what reaches a weight, and numbers that are smaller still,
/// the subnormal ones, take many times as long.
const TINY: f32 = 1e-30;

/// An optimizer's memory of past gradients.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OptimizerState {
    optimizer: Optimizer,
    l2: f32,
    /// Velocity, or Adam's first moment. Empty for a rule without one.
    first: Vec<f32>,
    /// Adam's second moment. Empty for a rule without one.
    second: Vec<f32>,
    /// Steps taken.
    steps: u64,
}

/// Numbers that the rule remembers of each weight.
pub(super) fn moments(optimizer: Optimizer) -> u64 {
    match optimizer {
        Optimizer::Sgd { momentum: 0.0, .. } => 0,
        Optimizer::Sgd { .. } => 1,
        Optimizer::Adam { .. } => 2,
    }
}

/// One step of all weights: the rule with its factors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    method: Method,
    rate: f32,
    l2: f32,
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Descend,
    Roll {
        momentum: f32,
        nesterov: bool,
    },
    Adam(Adam),
    /// Leaves the weights and puts the gradient where the first moment would be.
    #[cfg(test)]
    Keep,
}

/// One layer's share of a step: its weights, and what is remembered of them.
pub(super) struct Step<'a> {
    rule: Rule,
    trained: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl OptimizerState {
    pub(super) fn new(training: &Training, blueprint: &Blueprint) -> Self {
        let [trained, _] = blueprint.run_lengths();
        let moments = moments(training.optimizer);
        let moment = |number| vec![0.0; if number <= moments { trained } else { 0 }];
        let (first, second) = (moment(1), moment(2));
        Self { optimizer: training.optimizer, l2: training.l2 as f32, first, second, steps: 0 }
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

    /// Begins a step with this learning rate.
    pub(super) fn begin(&mut self, rate: f64) -> Rule {
        self.steps += 1;
        let method = match self.optimizer {
            Optimizer::Sgd { momentum: 0.0, .. } => Method::Descend,
            Optimizer::Sgd { momentum, nesterov } => Method::Roll { momentum: momentum as f32, nesterov },
            Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
                Method::Adam(Adam::new(rate, (beta1, beta2, epsilon, weight_decay), self.steps))
            }
        };
        Rule { method, rate: rate as f32, l2: self.l2 }
    }

    /// The step of the weights in `range` of the trained run, which are `trained`.
    pub(super) fn step<'a>(&'a mut self, rule: Rule, trained: &'a mut [f32], range: Range<usize>) -> Step<'a> {
        let moment = |values: &'a mut Vec<f32>| values.get_mut(range.clone()).unwrap_or_default();
        Step { rule, trained, first: moment(&mut self.first), second: moment(&mut self.second) }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        4 * (self.first.len() + self.second.len())
    }
}

#[cfg(test)]
impl OptimizerState {
    /// For [`Rule::KEEP`]: so many gradients are kept as first moments.
    pub(super) fn keeping(values: usize) -> Self {
        let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };
        Self { optimizer, l2: 0.0, first: vec![0.0; values], second: Vec::new(), steps: 0 }
    }
}

#[cfg(test)]
impl Rule {
    /// Puts gradients where first moments would be.
    pub(super) const KEEP: Self = Self { method: Method::Keep, rate: 0.0, l2: 0.0 };
}

impl Step<'_> {
    /// The layer's weights, all of which the gradient by its inputs has to be taken with before the first changes.
    pub(super) fn trained(&self) -> &[f32] {
        self.trained
    }

    /// Takes the step of the weights from place `from` of the layer on: `gradient` is theirs, and they are of one
    /// tensor with this role.
    #[inline(always)]
    pub(super) fn descend(&mut self, role: Role, from: usize, gradient: &[f32]) {
        let range = from..from + gradient.len();
        let is_penalized = role == Role::Weight;
        let l2 = if is_penalized { self.rule.l2 } else { 0.0 };
        let rate = self.rule.rate;
        let weights = &mut self.trained[range.clone()];
        match &self.rule.method {
            Method::Descend => descend(rate, l2, weights, gradient),
            Method::Roll { momentum, nesterov } => {
                let velocity = &mut self.first[range];
                // Two loops: one that asks each value which rule it is would not be vectorised.
                if *nesterov {
                    roll(
                        |velocity, push| momentum * velocity - push,
                        *momentum,
                        (rate, l2),
                        (weights, velocity, gradient),
                    );
                } else {
                    roll(|velocity, _| velocity, *momentum, (rate, l2), (weights, velocity, gradient));
                }
            }
            Method::Adam(adam) => {
                let decay = if is_penalized { adam.decay } else { 0.0 };
                let moments = (&mut self.first[range.clone()], &mut self.second[range]);
                adam.step((rate, l2, decay), weights, moments, gradient);
            }
            #[cfg(test)]
            Method::Keep => self.first[range].copy_from_slice(gradient),
        }
    }
}

/// [`Step::descend`], to be compiled for wide registers.
pub(super) struct Descent<'a, 'b> {
    pub(super) step: &'a mut Step<'b>,
    pub(super) role: Role,
    pub(super) from: usize,
    pub(super) gradient: &'a [f32],
}

impl Work for Descent<'_, '_> {
    #[inline(always)]
    fn run(self) {
        self.step.descend(self.role, self.from, self.gradient);
    }
}

#[inline(always)]
fn descend(rate: f32, l2: f32, weights: &mut [f32], gradients: &[f32]) {
    for (weight, gradient) in weights.iter_mut().zip(gradients) {
        *weight -= rate * (gradient + l2 * *weight);
    }
}

/// `by` says how far a weight goes, from the new velocity and the push that made it.
#[inline(always)]
fn roll(
    by: impl Fn(f32, f32) -> f32,
    momentum: f32,
    (rate, l2): (f32, f32),
    (weights, velocity, gradients): (&mut [f32], &mut [f32], &[f32]),
) {
    for ((weight, velocity), gradient) in weights.iter_mut().zip(velocity).zip(gradients) {
        let push = rate * (gradient + l2 * *weight);
        *velocity = without_tiny(momentum * *velocity - push);
        *weight += by(*velocity, push);
    }
}

/// NaN stays NaN.
#[inline(always)]
fn without_tiny(moment: f32) -> f32 {
    if moment.abs() < TINY { 0.0 } else { moment }
}

/// One step's factors (Kingma and Ba, 2015, algorithm 1).
#[derive(Clone, Copy, Debug)]
struct Adam {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    /// What a weight loses by itself.
    decay: f32,
    /// `1 / (1 - beta1^t)`.
    unbias_first: f32,
    /// `1 / (1 - beta2^t)`.
    unbias_second: f32,
}

impl Adam {
    fn new(rate: f64, (beta1, beta2, epsilon, weight_decay): (f64, f64, f64, f64), steps: u64) -> Self {
        Self {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            // Never 0: what fills up a block has no gradient, and 0 / 0 is no step.
            epsilon: (epsilon as f32).max(f32::MIN_POSITIVE),
            decay: (rate * weight_decay) as f32,
            unbias_first: (1.0 / (1.0 - libm::pow(beta1, steps as f64))) as f32,
            unbias_second: (1.0 / (1.0 - libm::pow(beta2, steps as f64))) as f32,
        }
    }

    #[inline(always)]
    fn step(
        &self,
        (rate, l2, decay): (f32, f32, f32),
        weights: &mut [f32],
        (first, second): (&mut [f32], &mut [f32]),
        gradients: &[f32],
    ) {
        let values = weights.iter_mut().zip(first).zip(second).zip(gradients);
        for (((weight, first), second), gradient) in values {
            let gradient = gradient + l2 * *weight;
            *first = without_tiny(self.beta1 * *first + (1.0 - self.beta1) * gradient);
            // This one may be tiny and matter: it is the square of what divides.
            let square = self.beta2 * *second + (1.0 - self.beta2) * gradient * gradient;
            *second = if square < f32::MIN_POSITIVE { 0.0 } else { square };
            let root = (*second * self.unbias_second).sqrt();
            *weight -= decay * *weight + rate * (*first * self.unbias_first) / (root + self.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two weights, the second one free of penalties, after each of two steps along `gradients`.
    fn steps(optimizer: Optimizer, l2: f32, rate: f64, gradients: [[f32; 2]; 2]) -> [[f32; 2]; 2] {
        let (first, second) = (vec![0.0; 2], vec![0.0; 2]);
        let mut state = OptimizerState { optimizer, l2, first, second, steps: 0 };
        let mut weights = [1.0, 1.0];
        gradients.map(|gradients| {
            let rule = state.begin(rate);
            let mut step = state.step(rule, &mut weights, 0..2);
            step.descend(Role::Weight, 0, &gradients[..1]);
            step.descend(Role::Bias, 1, &gradients[1..]);
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

    #[test]
    fn gradients_as_small_as_their_epsilon_take_steps_of_the_rate_and_no_epsilon_divides_by_nothing() {
        let rule = |epsilon| Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon, weight_decay: 0.0 };
        // Roots of 9e-31: about the gradient itself, far above the epsilon.
        let [[first, _], _] = steps(rule(1e-20), 0.0, 0.1, [[3e-14, 3e-14], [0.0, 0.0]]);
        assert!((first - 0.9).abs() < 1e-4, "{first}");
        assert_eq!(steps(rule(1e-300), 0.0, 0.1, [[0.0, 0.0], [0.0, 0.0]]), [[1.0; 2]; 2]);
    }

    #[test]
    fn l2_pulls_adams_gradient_and_its_epsilon_shortens_steps() {
        let rule = |epsilon| Optimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon, weight_decay: 0.0 };
        // Penalised with 0.5: a whole step along 2.5; then along -1 + 0.45 = -0.55: m = 0.225 - 0.055 = 0.17, unbiased
        // / 0.19 = 0.8947368; v = 0.061875 + 0.003025 = 0.0649, unbiased / 0.0199 = 3.2613065, root 1.8059088.
        let expected = [[0.9, 0.9], [0.850_455, 0.873_330]];
        assert_close(steps(rule(1e-7), 0.5, 0.1, [[2.0, 2.0], [-1.0, -1.0]]), expected);
        // 1 - 0.1 × 2 / (2 + 1).
        let [first, _] = steps(rule(1.0), 0.0, 0.1, [[2.0, 2.0], [0.0, 0.0]]);
        assert_close([first; 2], [[0.933_333_3; 2]; 2]);
    }

    #[test]
    fn second_moments_too_small_for_whole_digits_become_nothing() {
        let optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.75, epsilon: 1e-7, weight_decay: 0.0 };
        let moments = || vec![0.0; 2];
        let mut state = OptimizerState { optimizer, l2: 0.0, first: moments(), second: moments(), steps: 0 };
        let (rule, mut weights) = (state.begin(0.1), [1.0; 2]);
        // A quarter of their squares: the smallest number that has all digits, and a quarter of that.
        let gradient = [2_f32.powi(-62), 2_f32.powi(-63)];
        state.step(rule, &mut weights, 0..2).descend(Role::Weight, 0, &gradient);
        assert_eq!(state.second, [f32::MIN_POSITIVE, 0.0]);
    }

    #[test]
    fn moments_that_reach_no_weight_become_nothing_and_nan_stays() {
        assert_eq!(without_tiny(-1e-31), 0.0);
        assert_eq!(without_tiny(-1e-29), -1e-29);
        assert_eq!(without_tiny(TINY), TINY);
        assert!(without_tiny(f32::NAN).is_nan());
    }
}
