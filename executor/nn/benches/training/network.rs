//! The networks that the bench trains, by name. `tests/rivals/training_networks.py` reads the same names.
//!
//! | name | is |
//! |---|---|
//! | `mlp` | 784-512-512-10 |
//! | `convnet` | the network of TensorFlow's MNIST tutorial, with dropout |
//! | `dense:100-50-10` | 100 values, 50 units, 10 classes; as many layers as are written |
//! | `conv3:16x14x14` | two convolutions 3x3 of 16 channels on 14x14 pixels, the mean of each channel, 10 classes |
//! | `norm3:16x14x14` | the same, with batch norm between each convolution and its relu |
//!
//! `@32` behind a name is the batch size; without it, 64. Hidden layers end in relu, and convolutions keep their size.
//! There are two convolutions, since the first one's input gradient is never computed.

use std::str::FromStr;

use broadsweep_common::model::{Activation, Initialization, Layer, Loss, Model, Padding, Window};

const BATCH: usize = 64;
const CLASSES: usize = 10;
const NAMES: &str =
    "it is mlp, convnet, dense:100-50-10, conv3:16x14x14 or norm3:16x14x14, with @32 behind it for the batch size";

/// A network to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// As it was asked for, with the batch size.
    pub(crate) name: String,
    /// Shape of a row.
    pub(crate) input: Vec<u32>,
    pub(crate) classes: u32,
    pub(crate) batch: usize,
    pub(crate) model: Model,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let (kind, batch) = match name.split_once('@') {
            Some((kind, batch)) => (kind, number(batch)?),
            None => (name, BATCH),
        };
        let (input, layers) = match kind {
            "mlp" => mlp(&[784, 512, 512, 10]),
            "convnet" => (vec![28, 28, 1], convnet()),
            _ => match kind.split_once(':') {
                Some(("dense", widths)) => mlp(&numbers(widths, '-')?),
                Some((family, sides)) => {
                    let (hidden, kernel): (fn(usize, usize) -> Vec<Layer>, _) = match family.split_at_checked(4) {
                        Some(("conv", kernel)) => (plain, kernel),
                        Some(("norm", kernel)) => (normalized, kernel),
                        _ => return Err(NAMES.to_owned()),
                    };
                    convolutions(hidden, number(kernel)?, &numbers(sides, 'x')?)?
                }
                None => return Err(NAMES.to_owned()),
            },
        };
        let Some(Layer::Dense { units, .. }) = layers.last() else {
            return Err("a dense network needs at least two widths".to_owned());
        };
        let classes = *units as u32;
        let model = Model { loss: Loss::CrossEntropy, layers };
        Ok(Self { name: format!("{kind}@{batch}"), input, classes, batch, model })
    }
}

/// Shape of a row, and layers.
type Parts = (Vec<u32>, Vec<Layer>);

fn mlp(widths: &[usize]) -> Parts {
    let last = widths.len() - 1;
    let function = |place| if place == last { Activation::Linear } else { Activation::Relu };
    let layers = widths.iter().enumerate().skip(1).map(|(place, &units)| dense(units, function(place)));
    (vec![widths[0] as u32], layers.collect())
}

fn convnet() -> Vec<Layer> {
    vec![
        conv(32, 5, Activation::Relu),
        Layer::MaxPool(Window { size: 2, stride: 2, padding: Padding::Same }),
        conv(64, 5, Activation::Relu),
        Layer::MaxPool(Window { size: 2, stride: 2, padding: Padding::Same }),
        Layer::Flatten,
        dense(512, Activation::Relu),
        Layer::Dropout { rate: 0.5 },
        dense(CLASSES, Activation::Linear),
    ]
}

fn plain(filters: usize, kernel: usize) -> Vec<Layer> {
    vec![conv(filters, kernel, Activation::Relu)]
}

fn normalized(filters: usize, kernel: usize) -> Vec<Layer> {
    let norm = Layer::BatchNorm { momentum: 0.9, epsilon: 1e-3, activation: Activation::Relu };
    vec![conv(filters, kernel, Activation::Linear), norm]
}

fn convolutions(
    hidden: impl Fn(usize, usize) -> Vec<Layer>,
    kernel: usize,
    sides: &[usize],
) -> Result<Parts, String> {
    let &[channels, height, width] = sides else {
        return Err("a convolution is on CHANNELSxHEIGHTxWIDTH, as conv3:16x14x14".to_owned());
    };
    if height != width {
        return Err("the image has to be a square".to_owned());
    }
    let mut layers = [hidden(channels, kernel), hidden(channels, kernel)].concat();
    layers.extend([
        Layer::AveragePool(Window { size: height, stride: height, padding: Padding::Valid }),
        Layer::Flatten,
        dense(CLASSES, Activation::Linear),
    ]);
    Ok((vec![height as u32, width as u32, channels as u32], layers))
}

fn dense(units: usize, activation: Activation) -> Layer {
    Layer::Dense { units, activation, initialization: Initialization::Glorot }
}

fn conv(filters: usize, kernel: usize, activation: Activation) -> Layer {
    Layer::Conv2d {
        filters,
        kernel,
        stride: 1,
        padding: Padding::Same,
        activation,
        initialization: Initialization::He,
    }
}

fn numbers(text: &str, between: char) -> Result<Vec<usize>, String> {
    text.split(between).map(number).collect()
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=65_536) => Ok(number),
        _ => Err(format!("'{text}' is no number from 1 to 65536")),
    }
}
