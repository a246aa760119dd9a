//! How a network is trained, in two forms: as a study writes it ([`TrainingDescription`]), and as one trial
//! does it, with every value fixed and in range ([`Training`]).

use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::setting::{Bounds, Setting, SettingError, words};

/// Step size of the optimizer.
pub const LEARNING_RATE: Bounds<f64> = Bounds::Above(0.0, 1e6);
/// Factor on the learning rate from one epoch to the next.
pub const LEARNING_RATE_DECAY: Bounds<f64> = Bounds::Above(0.0, 1.0);
/// Weight of the past in a moving mean: momentum, and Adam's two betas.
pub const MOMENTUM: Bounds<f64> = Bounds::Below(0.0, 1.0);
/// L2 penalty and weight decay.
pub const PENALTY: Bounds<f64> = Bounds::Within(0.0, 1e3);
/// Rows of a batch.
pub const BATCH_SIZE: Bounds<u32> = Bounds::Within(1, 65_536);
/// Passes over the training rows, at most.
pub const EPOCHS_MAX: u32 = 100_000;
/// Passes over the training rows.
pub const EPOCHS: Bounds<u32> = Bounds::Within(1, EPOCHS_MAX);
/// Epochs without improvement before training stops.
pub const PATIENCE: Bounds<u32> = Bounds::Within(1, 100_000);
/// Smallest fall of the validation error that counts as an improvement.
pub const MIN_DELTA: Bounds<f64> = Bounds::Within(0.0, 1e6);
/// Added to Adam's root of the second moment.
pub const ADAM_EPSILON: Bounds<f64> = Bounds::Above(0.0, 1.0);

/// The optimizer's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OptimizerKind {
    /// Stochastic gradient descent, with momentum or without.
    Sgd,
    /// Kingma and Ba, 2015.
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW,
}

words!(OptimizerKind { Sgd => "sgd", Adam => "adam", AdamW => "adamw" });

/// Training as a study writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of `Training` and `Optimizer`, documented there")]
pub struct TrainingDescription {
    pub optimizer: Setting<OptimizerKind>,
    pub learning_rate: Setting<f64>,
    pub learning_rate_decay: Setting<f64>,
    pub momentum: Setting<f64>,
    pub nesterov: Setting<bool>,
    pub beta1: Setting<f64>,
    pub beta2: Setting<f64>,
    pub epsilon: Setting<f64>,
    pub weight_decay: Setting<f64>,
    pub l2: Setting<f64>,
    pub batch_size: Setting<u32>,
    pub epochs: Setting<u32>,
    pub early_stop: Option<EarlyStopDescription>,
}

/// Early stop as a study writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of `EarlyStop`, documented there")]
pub struct EarlyStopDescription {
    pub patience: Setting<u32>,
    pub min_delta: Setting<f64>,
}

/// Training that one trial does.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// What turns gradients into steps.
    pub optimizer: Optimizer,
    /// Step size in the first epoch.
    pub learning_rate: f64,
    /// The step size of epoch `e`, counted from 0, is `learning_rate × learning_rate_decay^e`.
    pub learning_rate_decay: f64,
    /// Adds `l2 / 2 × ‖W‖²` to the loss, over the weights of dense and conv2d layers; biases and batch norm are free.
    pub l2: f64,
    /// Rows of a batch. The last batch of an epoch holds what is left.
    pub batch_size: usize,
    /// Passes over the training rows, at most.
    pub epochs: u32,
    /// When to stop before that.
    pub early_stop: Option<EarlyStop>,
}

/// What turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// `v = momentum × v - rate × g`, `w += v`; with Nesterov, `w += momentum × v - rate × g`.
    Sgd {
        /// Weight of the past; 0 is plain gradient descent.
        momentum: f64,
        /// Look ahead along the velocity (Sutskever et al., 2013).
        nesterov: bool,
    },
    /// Adam; with `weight_decay` above 0, `AdamW`.
    Adam {
        /// Weight of the past in the first moment.
        beta1: f64,
        /// Weight of the past in the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
        /// Decoupled decay: `w -= rate × weight_decay × w`, on the weights that L2 would reach.
        weight_decay: f64,
    },
}

/// Stops a training whose validation error no longer falls. The trial's result is its best epoch, and the
/// weights are that epoch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStop {
    /// Epochs without improvement before training stops.
    pub patience: u32,
    /// Smallest fall that counts as an improvement.
    pub min_delta: f64,
}

impl TrainingDescription {
    /// The training of one configuration.
    ///
    /// # Errors
    /// [`SettingError`] for the first setting without a usable value.
    pub fn resolve(&self, configuration: &Configuration) -> Result<Training, SettingError> {
        let number = |setting: &Setting<f64>, name: &str, bounds: Bounds<f64>| {
            let place = place(name);
            setting.resolve(configuration, &place).and_then(|value| bounds.check(value, &place))
        };
        let count = |setting: &Setting<u32>, name: &str, bounds: Bounds<u32>| {
            let place = place(name);
            setting.resolve(configuration, &place).and_then(|value| bounds.check(value, &place))
        };
        let adam = |weight_decay| {
            Ok(Optimizer::Adam {
                beta1: number(&self.beta1, "beta1", MOMENTUM)?,
                beta2: number(&self.beta2, "beta2", MOMENTUM)?,
                epsilon: number(&self.epsilon, "epsilon", ADAM_EPSILON)?,
                weight_decay,
            })
        };
        let optimizer = match self.optimizer.resolve(configuration, &place("optimizer"))? {
            OptimizerKind::Sgd => Optimizer::Sgd {
                momentum: number(&self.momentum, "momentum", MOMENTUM)?,
                nesterov: self.nesterov.resolve(configuration, &place("nesterov"))?,
            },
            OptimizerKind::Adam => adam(0.0)?,
            OptimizerKind::AdamW => adam(number(&self.weight_decay, "weight_decay", PENALTY)?)?,
        };
        let early_stop = match &self.early_stop {
            None => None,
            Some(early_stop) => Some(EarlyStop {
                patience: count(&early_stop.patience, "early_stop.patience", PATIENCE)?,
                min_delta: number(&early_stop.min_delta, "early_stop.min_delta", MIN_DELTA)?,
            }),
        };
        Ok(Training {
            optimizer,
            learning_rate: number(&self.learning_rate, "learning_rate", LEARNING_RATE)?,
            learning_rate_decay: number(&self.learning_rate_decay, "learning_rate_decay", LEARNING_RATE_DECAY)?,
            l2: number(&self.l2, "l2", PENALTY)?,
            batch_size: count(&self.batch_size, "batch_size", BATCH_SIZE)? as usize,
            epochs: count(&self.epochs, "epochs", EPOCHS)?,
            early_stop,
        })
    }
}

fn place(name: &str) -> String {
    format!("[training] {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> TrainingDescription {
        TrainingDescription {
            optimizer: Setting::Fixed(OptimizerKind::Sgd),
            learning_rate: Setting::Fixed(0.1),
            learning_rate_decay: Setting::Fixed(1.0),
            momentum: Setting::Fixed(0.9),
            nesterov: Setting::Fixed(false),
            beta1: Setting::Fixed(0.9),
            beta2: Setting::Fixed(0.999),
            epsilon: Setting::Fixed(1e-7),
            weight_decay: Setting::Fixed(0.01),
            l2: Setting::Fixed(0.0),
            batch_size: Setting::Fixed(64),
            epochs: Setting::Fixed(2),
            early_stop: None,
        }
    }

    #[test]
    fn only_adamw_takes_the_weight_decay() {
        for (kind, expected) in [(OptimizerKind::Adam, 0.0), (OptimizerKind::AdamW, 0.01)] {
            let training = TrainingDescription { optimizer: Setting::Fixed(kind), ..description() };
            let Optimizer::Adam { weight_decay, .. } = training.resolve(&Configuration::default()).unwrap().optimizer
            else {
                panic!("{kind} became plain gradient descent");
            };
            assert!((weight_decay - expected).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_learning_rate_of_nan_is_out_of_range() {
        let training = TrainingDescription { learning_rate: Setting::Fixed(f64::NAN), ..description() };
        assert!(matches!(training.resolve(&Configuration::default()), Err(SettingError::Range { .. })));
    }
}
