//! Layers, in two forms: as a study writes them, with settings that may be searched
//! ([`ModelDescription`]), and as one trial trains them, with every value fixed and in range ([`Model`]).
//!
//! Images are `(height, width, channels)`; a layer that needs a flat input follows a `flatten`.
//! Whether the shapes of neighbours fit is the trainer's plan to say, not this module's.

use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::setting::{Bounds, Setting, SettingError, words};

/// Layers that one model may have.
pub const LAYERS_MAX: usize = 256;
/// Units of a dense layer, filters of a convolution.
pub const UNITS: Bounds<u32> = Bounds::Within(1, 65_536);
/// Side of a kernel or pooling window, in pixels; also its stride.
pub const WINDOW: Bounds<u32> = Bounds::Within(1, 64);
/// Share of values that dropout sets to zero.
pub const DROPOUT_RATE: Bounds<f64> = Bounds::Below(0.0, 1.0);
/// Weight of the past in batch norm's running statistics.
pub const BATCH_NORM_MOMENTUM: Bounds<f64> = Bounds::Below(0.0, 1.0);
/// Added to a variance before its root is taken.
pub const EPSILON: Bounds<f64> = Bounds::Above(0.0, 1.0);

/// What a network is trained to make small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Mean cross entropy of the softmax over classes, in nats. Targets are classes.
    CrossEntropy,
    /// Mean over rows and outputs of the squared difference. Targets are numbers.
    MeanSquaredError,
}

words!(Loss { CrossEntropy => "cross_entropy", MeanSquaredError => "mean_squared_error" });

/// The function at the end of a layer, applied to each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// The value itself.
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `x` above 0, `0.01 x` below.
    LeakyRelu,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x Φ(x)` with the normal distribution's Φ, in its exact form (Hendrycks and Gimpel, 2016).
    Gelu,
}

words!(Activation {
    Linear => "linear",
    Relu => "relu",
    LeakyRelu => "leaky_relu",
    Tanh => "tanh",
    Sigmoid => "sigmoid",
    Gelu => "gelu",
});

/// What a window does at the edge of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Padding {
    /// Only whole windows: `ceil((side - window + 1) / stride)` outputs.
    Valid,
    /// Zeros around the image: `ceil(side / stride)` outputs; an odd rest of zeros goes to the bottom and right.
    Same,
}

words!(Padding { Valid => "valid", Same => "same" });

/// How weights start. Biases start at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Initialization {
    /// Uniform in ±√(6 / (inputs + outputs)) (Glorot and Bengio, 2010).
    Glorot,
    /// Normal with variance 2 / inputs (He et al., 2015).
    He,
}

words!(Initialization { Glorot => "glorot", He => "he" });

/// A model as a study writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDescription {
    /// What is made small.
    pub loss: Loss,
    /// From input to output.
    pub layers: Vec<LayerDescription>,
}

/// A layer as a study writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of `Layer`, documented there")]
pub enum LayerDescription {
    Dense {
        units: Setting<u32>,
        activation: Setting<Activation>,
        initialization: Setting<Initialization>,
    },
    Conv2d {
        filters: Setting<u32>,
        kernel: Setting<u32>,
        stride: Setting<u32>,
        padding: Setting<Padding>,
        activation: Setting<Activation>,
        initialization: Setting<Initialization>,
    },
    MaxPool {
        size: Setting<u32>,
        stride: Setting<u32>,
        padding: Setting<Padding>,
    },
    AveragePool {
        size: Setting<u32>,
        stride: Setting<u32>,
        padding: Setting<Padding>,
    },
    Flatten,
    Dropout {
        rate: Setting<f64>,
    },
    BatchNorm {
        momentum: Setting<f64>,
        epsilon: Setting<f64>,
        activation: Setting<Activation>,
    },
    Activation {
        function: Setting<Activation>,
    },
    /// No layer: the one behind it is there only where the flag is true. An entry of its own, and not a box around the
    /// other: a peer could send boxes within boxes until the stack ends.
    OnlyIf {
        flag: Setting<bool>,
    },
}

/// A model that one trial trains.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What is made small.
    pub loss: Loss,
    /// From input to output.
    pub layers: Vec<Layer>,
}

/// A layer that one trial trains: every value fixed and in range.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// `y = activation(x W + b)`.
    Dense {
        /// Outputs.
        units: usize,
        /// Applied to each output.
        activation: Activation,
        /// How `W` starts.
        initialization: Initialization,
    },
    /// Cross-correlation with `filters` square kernels, plus a bias a filter.
    Conv2d {
        /// Output channels.
        filters: usize,
        /// Side of the kernel, in pixels.
        kernel: usize,
        /// Pixels between two windows.
        stride: usize,
        /// What happens at the edge.
        padding: Padding,
        /// Applied to each output.
        activation: Activation,
        /// How the kernels start.
        initialization: Initialization,
    },
    /// The largest value of each window and channel; of equal ones, the first in row-major order.
    MaxPool(Window),
    /// The mean of each window and channel; padding does not count.
    AveragePool(Window),
    /// `(height, width, channels)` to one row.
    Flatten,
    /// Sets values to 0 at random and scales the rest by `1 / (1 - rate)`; in training only.
    Dropout {
        /// Share of values set to 0.
        rate: f64,
    },
    /// Normalises each channel (or each value of a flat input) over the batch, then scales and shifts it
    /// (Ioffe and Szegedy, 2015). Evaluation uses running statistics.
    BatchNorm {
        /// Weight of the past in the running statistics.
        momentum: f64,
        /// Added to the variance.
        epsilon: f64,
        /// Applied to each output.
        activation: Activation,
    },
    /// An activation on its own.
    Activation(Activation),
}

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side, in pixels.
    pub size: usize,
    /// Pixels between two windows.
    pub stride: usize,
    /// What happens at the edge.
    pub padding: Padding,
}

impl ModelDescription {
    /// The model of one configuration.
    ///
    /// # Errors
    /// [`SettingError`] for the first setting without a usable value; it names the layer, counted from 1.
    pub fn resolve(&self, configuration: &Configuration) -> Result<Model, SettingError> {
        let present = self.present(configuration)?;
        let layers = present.into_iter().map(|(number, layer)| {
            let place = |setting: &str| format!("layer {number} ({}): {setting}", layer.kind());
            layer.resolve(configuration, &place)
        });
        let layers = layers.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok(Model { loss: self.loss, layers })
    }

    /// The layers that a configuration has, each with its number among those of the study, counted from 1.
    ///
    /// # Errors
    /// [`SettingError`] for a flag without a usable value.
    pub fn present(&self, configuration: &Configuration) -> Result<Vec<(usize, &LayerDescription)>, SettingError> {
        let (mut number, mut is_there, mut present) = (1, true, Vec::new());
        for layer in &self.layers {
            if let LayerDescription::OnlyIf { flag } = layer {
                is_there &= flag.resolve(configuration, &format!("layer {number}: if"))?;
                continue;
            }
            if is_there {
                present.push((number, layer));
            }
            (number, is_there) = (number + 1, true);
        }
        Ok(present)
    }
}

impl LayerDescription {
    /// The layer's name in study files.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Conv2d { .. } => "conv2d",
            Self::MaxPool { .. } => "max_pool",
            Self::AveragePool { .. } => "average_pool",
            Self::Flatten => "flatten",
            Self::Dropout { .. } => "dropout",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Activation { .. } => "activation",
            Self::OnlyIf { .. } => "if",
        }
    }

    /// `None` of what is no layer.
    fn resolve(
        &self,
        configuration: &Configuration,
        place: &dyn Fn(&str) -> String,
    ) -> Result<Option<Layer>, SettingError> {
        let count = |setting: &Setting<u32>, name: &str, bounds: Bounds<u32>| {
            let value = setting.resolve(configuration, &place(name))?;
            bounds.check(value, &place(name)).map(|value| value as usize)
        };
        let number = |setting: &Setting<f64>, name: &str, bounds: Bounds<f64>| {
            let value = setting.resolve(configuration, &place(name))?;
            bounds.check(value, &place(name))
        };
        let activation = |setting: &Setting<Activation>| setting.resolve(configuration, &place("activation"));
        let window = |size: &Setting<u32>, stride: &Setting<u32>, padding: &Setting<Padding>| {
            Ok(Window {
                size: count(size, "size", WINDOW)?,
                stride: count(stride, "stride", WINDOW)?,
                padding: padding.resolve(configuration, &place("padding"))?,
            })
        };
        Ok(Some(match self {
            Self::Dense { units, activation: function, initialization } => Layer::Dense {
                units: count(units, "units", UNITS)?,
                activation: activation(function)?,
                initialization: initialization.resolve(configuration, &place("initialization"))?,
            },
            Self::Conv2d { filters, kernel, stride, padding, activation: function, initialization } => {
                Layer::Conv2d {
                    filters: count(filters, "filters", UNITS)?,
                    kernel: count(kernel, "kernel", WINDOW)?,
                    stride: count(stride, "stride", WINDOW)?,
                    padding: padding.resolve(configuration, &place("padding"))?,
                    activation: activation(function)?,
                    initialization: initialization.resolve(configuration, &place("initialization"))?,
                }
            }
            Self::MaxPool { size, stride, padding } => Layer::MaxPool(window(size, stride, padding)?),
            Self::AveragePool { size, stride, padding } => Layer::AveragePool(window(size, stride, padding)?),
            Self::Flatten => Layer::Flatten,
            Self::Dropout { rate } => Layer::Dropout { rate: number(rate, "rate", DROPOUT_RATE)? },
            Self::BatchNorm { momentum, epsilon, activation: function } => Layer::BatchNorm {
                momentum: number(momentum, "momentum", BATCH_NORM_MOMENTUM)?,
                epsilon: number(epsilon, "epsilon", EPSILON)?,
                activation: activation(function)?,
            },
            Self::Activation { function } => Layer::Activation(function.resolve(configuration, &place("function"))?),
            Self::OnlyIf { .. } => return Ok(None),
        }))
    }
}

impl Model {
    /// The same, as a study without a search writes it.
    #[must_use]
    pub fn description(&self) -> ModelDescription {
        ModelDescription { loss: self.loss, layers: self.layers.iter().map(Layer::description).collect() }
    }
}

impl Layer {
    /// The layer's name in study files.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Conv2d { .. } => "conv2d",
            Self::MaxPool(_) => "max_pool",
            Self::AveragePool(_) => "average_pool",
            Self::Flatten => "flatten",
            Self::Dropout { .. } => "dropout",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Activation(_) => "activation",
        }
    }

    /// The same, as a study without a search writes it. What is wider than a study can say becomes as wide as it can.
    fn description(&self) -> LayerDescription {
        let count = |value: usize| Setting::Fixed(u32::try_from(value).unwrap_or(u32::MAX));
        match *self {
            Self::Dense { units, activation, initialization } => LayerDescription::Dense {
                units: count(units),
                activation: Setting::Fixed(activation),
                initialization: Setting::Fixed(initialization),
            },
            Self::Conv2d { filters, kernel, stride, padding, activation, initialization } => {
                LayerDescription::Conv2d {
                    filters: count(filters),
                    kernel: count(kernel),
                    stride: count(stride),
                    padding: Setting::Fixed(padding),
                    activation: Setting::Fixed(activation),
                    initialization: Setting::Fixed(initialization),
                }
            }
            Self::MaxPool(Window { size, stride, padding }) => LayerDescription::MaxPool {
                size: count(size),
                stride: count(stride),
                padding: Setting::Fixed(padding),
            },
            Self::AveragePool(Window { size, stride, padding }) => LayerDescription::AveragePool {
                size: count(size),
                stride: count(stride),
                padding: Setting::Fixed(padding),
            },
            Self::Flatten => LayerDescription::Flatten,
            Self::Dropout { rate } => LayerDescription::Dropout { rate: Setting::Fixed(rate) },
            Self::BatchNorm { momentum, epsilon, activation } => LayerDescription::BatchNorm {
                momentum: Setting::Fixed(momentum),
                epsilon: Setting::Fixed(epsilon),
                activation: Setting::Fixed(activation),
            },
            Self::Activation(function) => LayerDescription::Activation { function: Setting::Fixed(function) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Value;

    #[test]
    fn a_layer_is_there_where_its_flag_is_true_and_numbers_are_those_of_the_study() {
        let dense = |units: u32| LayerDescription::Dense {
            units: Setting::Fixed(units),
            activation: Setting::Searched("function".into()),
            initialization: Setting::Fixed(Initialization::Glorot),
        };
        let flag = Setting::Conditional { parameter: "second".into(), default: false };
        let layers = vec![dense(1), LayerDescription::OnlyIf { flag }, dense(2), dense(3)];
        let description = ModelDescription { loss: Loss::CrossEntropy, layers };
        let configuration = |second: Option<bool>| {
            let second = second.map(|second| ("second", Value::Flag(second)));
            second.into_iter().chain([("function", Value::Choice("relu".into()))]).collect::<Configuration>()
        };
        let rows = [(Some(true), vec![1, 2, 3]), (Some(false), vec![1, 3]), (None, vec![1, 3])];
        for (second, numbers) in rows {
            let configuration = configuration(second);
            let units = |layer: &Layer| if let Layer::Dense { units, .. } = layer { *units } else { 0 };
            let model = description.resolve(&configuration).unwrap();
            assert_eq!(model.layers.iter().map(units).collect::<Vec<_>>(), numbers, "{second:?}");
            let present = description.present(&configuration).unwrap();
            assert_eq!(present.into_iter().map(|(number, _)| number).collect::<Vec<_>>(), numbers);
        }
        let error = description.resolve(&Configuration::from_iter([("second", Value::Integer(1))])).unwrap_err();
        assert!(error.to_string().starts_with("layer 2: if is `1`"), "{error}");
    }

    #[test]
    fn a_model_is_described_as_it_is() {
        let window = Window { size: 3, stride: 2, padding: Padding::Same };
        let (activation, initialization) = (Activation::Gelu, Initialization::He);
        let layers = vec![
            Layer::Conv2d { filters: 4, kernel: 5, stride: 1, padding: Padding::Valid, activation, initialization },
            Layer::MaxPool(window),
            Layer::AveragePool(Window { size: 2, ..window }),
            Layer::BatchNorm { momentum: 0.9, epsilon: 1e-3, activation },
            Layer::Activation(Activation::Tanh),
            Layer::Flatten,
            Layer::Dropout { rate: 0.25 },
            Layer::Dense { units: 7, activation, initialization },
        ];
        let model = Model { loss: Loss::MeanSquaredError, layers };
        assert_eq!(model.description().resolve(&Configuration::default()).unwrap(), model);
    }

    #[test]
    fn a_searched_width_out_of_range_names_layer_and_range() {
        let description = ModelDescription {
            loss: Loss::CrossEntropy,
            layers: vec![
                LayerDescription::Flatten,
                LayerDescription::Dense {
                    units: Setting::Searched("width".into()),
                    activation: Setting::Fixed(Activation::Relu),
                    initialization: Setting::Fixed(Initialization::Glorot),
                },
            ],
        };
        let width = |units| Configuration::from_iter([("width", Value::Integer(units))]);
        let error = description.resolve(&width(0)).unwrap_err();
        assert_eq!(error.to_string(), "layer 2 (dense): units is 0; it has to be from 1 to 65536");
        let model = description.resolve(&width(8)).unwrap();
        assert!(matches!(model.layers[1], Layer::Dense { units: 8, .. }));
    }
}
