//! The layers as nodes. Images are `(rows, channels, height, width)` here, since ONNX knows no other order; what is
//! flattened is in broadsweep's again, `(height, width, channels)`.

use broadsweep_common::model::{Activation, Layer, Model, Padding, Window};
use broadsweep_nn::{LayerPlan, Plan, Role, Shape, Tensor as Values, Weights};
use ndarray::IxDyn;

use super::graph::{Constant, Graph, Setting, Tensor};
use super::input::Rows;

/// What leaky relu multiplies by what is below 0.
const LEAK: f32 = 0.01;

/// Rows between two layers.
struct Flow<'g> {
    graph: &'g mut Graph,
    tensor: Tensor,
    shape: Shape,
    channels_first: bool,
}

/// Adds all layers, and gives the last one's outputs, `(rows, outputs)`.
pub(super) fn apply(graph: &mut Graph, rows: Rows, (model, plan): (&Model, &Plan), weights: &Weights) -> Tensor {
    let Rows { tensor, channels_first } = rows;
    let mut flow = Flow { graph, tensor, shape: plan.input, channels_first };
    let mut tensors = weights.tensors.as_slice();
    for (layer, planned) in model.layers.iter().zip(&plan.layers) {
        let (own, rest) = tensors.split_at(planned.tensors.len().min(tensors.len()));
        tensors = rest;
        flow.apply(layer, planned, own);
        flow.shape = planned.output;
    }
    flow.tensor
}

impl Flow<'_> {
    fn apply(&mut self, layer: &Layer, planned: &LayerPlan, own: &[Values]) {
        let of_role = |role| planned.tensors.iter().position(|tensor| tensor.role == role).and_then(|at| own.get(at));
        match layer {
            Layer::Dense { activation, .. } => {
                self.dense(of_role(Role::Weight), of_role(Role::Bias));
                self.activate(*activation);
            }
            Layer::Conv2d { kernel, stride, padding, activation, .. } => {
                let window = Window { size: *kernel, stride: *stride, padding: *padding };
                self.convolve(window, of_role(Role::Weight), of_role(Role::Bias));
                self.activate(*activation);
            }
            Layer::MaxPool(window) => self.pool("MaxPool", *window, Vec::new()),
            Layer::AveragePool(window) => {
                self.pool("AveragePool", *window, vec![("count_include_pad", Setting::Int(0))]);
            }
            Layer::Flatten => self.flatten(),
            Layer::Dropout { .. } => {}
            Layer::BatchNorm { epsilon, activation, .. } => {
                let [scale, shift, mean, variance] =
                    [Role::Scale, Role::Bias, Role::Mean, Role::Variance].map(|role| flat(of_role(role)));
                let inverse = variance.iter().map(|&variance| 1.0 / (f64::from(variance) + epsilon).sqrt());
                let factor: Vec<f32> = inverse.zip(&scale).map(|(inverse, scale)| inverse as f32 * scale).collect();
                self.normalize(&mean, &factor, &shift);
                self.activate(*activation);
            }
            Layer::Activation(activation) => self.activate(*activation),
        }
    }

    fn node(&mut self, kind: &str, others: &[&Tensor], settings: Vec<(&str, Setting)>) {
        let inputs: Vec<&Tensor> = std::iter::once(&self.tensor).chain(others.iter().copied()).collect();
        self.tensor = self.graph.node(kind, &inputs, settings);
    }

    fn dense(&mut self, weight: Option<&Values>, bias: Option<&Values>) {
        let sides: Vec<i64> = weight.map(|weight| sides(weight.values.shape())).unwrap_or_default();
        let weight = self.graph.constant("weight", &sides, &Constant::Floats(&flat(weight)));
        let bias = flat(bias);
        let bias = self.graph.constant("bias", &[bias.len() as i64], &Constant::Floats(&bias));
        self.node("Gemm", &[&weight, &bias], Vec::new());
    }

    fn convolve(&mut self, window: Window, weight: Option<&Values>, bias: Option<&Values>) {
        self.put_channels_first();
        let (mut kernels, mut of_kernels) = (Vec::new(), Vec::new());
        if let Some(weight) = weight.filter(|weight| weight.values.ndim() == 4) {
            // From (y, x, channel, filter) to (filter, channel, y, x).
            let turned = weight.values.view().permuted_axes(IxDyn(&[3, 2, 0, 1]));
            (kernels, of_kernels) = (turned.iter().copied().collect(), sides(turned.shape()));
        }
        let weight = self.graph.constant("weight", &of_kernels, &Constant::Floats(&kernels));
        let bias = flat(bias);
        let bias = self.graph.constant("bias", &[bias.len() as i64], &Constant::Floats(&bias));
        let settings = self.window(window);
        self.node("Conv", &[&weight, &bias], settings);
    }

    fn pool(&mut self, kind: &str, window: Window, further: Vec<(&'static str, Setting)>) {
        self.put_channels_first();
        let settings = self.window(window).into_iter().chain(further).collect();
        self.node(kind, &[], settings);
    }

    /// Where windows lie on the image.
    fn window(&self, Window { size, stride, padding }: Window) -> Vec<(&'static str, Setting)> {
        let (height, width) = match self.shape {
            Shape::Image { height, width, .. } => (height, width),
            Shape::Flat(values) => (values, 1),
        };
        let [vertical, horizontal] = [height, width].map(|side| around(side, size, stride, padding));
        let pads = vec![vertical.0, horizontal.0, vertical.1, horizontal.1];
        vec![
            ("kernel_shape", Setting::Ints(vec![size as i64; 2])),
            ("strides", Setting::Ints(vec![stride as i64; 2])),
            ("pads", Setting::Ints(pads)),
        ]
    }

    fn normalize(&mut self, mean: &[f32], factor: &[f32], shift: &[f32]) {
        let channels = mean.len() as i64;
        let sides = match self.shape {
            Shape::Image { .. } if self.channels_first => vec![1, channels, 1, 1],
            Shape::Image { .. } => vec![1, 1, 1, channels],
            Shape::Flat(_) => vec![1, channels],
        };
        for (kind, name, values) in [("Sub", "mean", mean), ("Mul", "factor", factor), ("Add", "shift", shift)] {
            let constant = self.graph.constant(name, &sides, &Constant::Floats(values));
            self.node(kind, &[&constant], Vec::new());
        }
    }

    fn flatten(&mut self) {
        if self.channels_first && matches!(self.shape, Shape::Image { .. }) {
            self.node("Transpose", &[], vec![("perm", Setting::Ints(vec![0, 2, 3, 1]))]);
            self.channels_first = false;
        }
        self.node("Flatten", &[], vec![("axis", Setting::Int(1))]);
    }

    fn put_channels_first(&mut self) {
        if !self.channels_first {
            self.node("Transpose", &[], vec![("perm", Setting::Ints(vec![0, 3, 1, 2]))]);
            self.channels_first = true;
        }
    }

    fn activate(&mut self, activation: Activation) {
        match activation {
            Activation::Linear => {}
            Activation::Relu => self.node("Relu", &[], Vec::new()),
            Activation::LeakyRelu => self.node("LeakyRelu", &[], vec![("alpha", Setting::Float(LEAK))]),
            Activation::Tanh => self.node("Tanh", &[], Vec::new()),
            Activation::Sigmoid => self.node("Sigmoid", &[], Vec::new()),
            Activation::Gelu => self.gelu(),
        }
    }

    /// `x (1 + erf(x / √2)) / 2`.
    fn gelu(&mut self) {
        let input = self.tensor.clone();
        let mut constant = |name, value: f32| self.graph.constant(name, &[1], &Constant::Floats(&[value]));
        let [root, one, half] =
            [constant("root", std::f32::consts::FRAC_1_SQRT_2), constant("one", 1.0), constant("half", 0.5)];
        self.node("Mul", &[&root], Vec::new());
        self.node("Erf", &[], Vec::new());
        self.node("Add", &[&one], Vec::new());
        self.node("Mul", &[&input], Vec::new());
        self.node("Mul", &[&half], Vec::new());
    }
}

/// Zeros before the first pixel of a side and after its last; an odd rest goes to the end.
fn around(side: usize, window: usize, stride: usize, padding: Padding) -> (i64, i64) {
    match padding {
        Padding::Valid => (0, 0),
        Padding::Same => {
            let zeros = ((side.div_ceil(stride) - 1) * stride + window).saturating_sub(side);
            ((zeros / 2) as i64, (zeros - zeros / 2) as i64)
        }
    }
}

fn flat(values: Option<&Values>) -> Vec<f32> {
    values.map(|values| values.values.iter().copied().collect()).unwrap_or_default()
}

fn sides(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&side| side as i64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_lie_around_an_image_as_its_plan_counts_its_windows() {
        for (side, window, stride) in (1..12).flat_map(|i| (1..7).flat_map(move |w| (1..6).map(move |s| (i, w, s)))) {
            let (before, after) = around(side, window, stride, Padding::Same);
            assert!(before <= after && after <= before + 1, "{side} {window} {stride}");
            let padded = side + (before + after) as usize;
            assert_eq!((padded - window) / stride + 1, side.div_ceil(stride), "{side} {window} {stride}");
        }
    }
}
