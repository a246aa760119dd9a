//! Small pools, by hand.

use broadsweep_common::model::Padding;

use super::{AveragePool, MaxPool, Windowed};
use crate::kernel::Kernel;
use crate::layers::{Backward, Mode, Operation, Tensors};
use crate::layout::Layout;
use crate::optimizer::{OptimizerState, Rule};
use crate::shape::{Axis, Shape, Windows};

fn windows(side: usize, window: usize, stride: usize, padding: Padding) -> Windows {
    let axis = Axis::new(side, window, stride, padding).unwrap();
    Windows { vertical: axis, horizontal: axis, channels: 1 }
}

fn layouts(windows: &Windows) -> [Layout; 2] {
    let image = |height, width| Shape::Image { height, width, channels: 1 };
    let (vertical, horizontal) = (windows.vertical, windows.horizontal);
    let shapes = [image(vertical.input, horizontal.input), image(vertical.output, horizontal.output)];
    shapes.map(|shape| Layout::new(shape, 1))
}

fn max(windows: Windows) -> MaxPool {
    let [input, output] = layouts(&windows);
    MaxPool::new(Kernel::PORTABLE, Windowed::new(windows, 1, input, output))
}

fn average(windows: Windows) -> AveragePool {
    let [input, output] = layouts(&windows);
    AveragePool::new(Kernel::PORTABLE, windows, input, output)
}

fn run(operation: &mut dyn Operation, input: &[f32], d_output: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut output, mut d_input) = (vec![0.0; d_output.len()], vec![f32::NAN; input.len()]);
    let tensors = Tensors { trained: &[], statistics: &mut [] };
    operation.forward(Mode::Training, 1, tensors, input, &mut output);
    let mut state = OptimizerState::keeping(0);
    let step = state.step(Rule::KEEP, &mut [], 0..0);
    let d_output = &mut d_output.to_vec();
    operation.backward(Backward { rows: 1, input, output: &output, d_output, d_input: Some(&mut d_input), step });
    (output, d_input)
}

#[test]
fn of_equal_values_the_first_is_the_maximum() {
    let mut pool = max(windows(2, 2, 2, Padding::Valid));
    let (output, d_input) = run(&mut pool, &[1.0, 3.0, 3.0, 3.0], &[5.0]);
    assert_eq!(output, [3.0]);
    assert_eq!(d_input, [0.0, 5.0, 0.0, 0.0]);
}

#[test]
fn overlapping_windows_add_their_gradients() {
    let mut pool = max(windows(3, 2, 1, Padding::Valid));
    let input = [0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0];
    let (output, d_input) = run(&mut pool, &input, &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(output, [9.0; 4]);
    assert!((d_input[4] - 10.0).abs() < 1e-6);
}

#[test]
fn padding_neither_wins_nor_counts() {
    let input = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0];
    let same = windows(3, 2, 2, Padding::Same);
    let (largest, _) = run(&mut max(same), &input, &[0.0; 4]);
    assert_eq!(largest, [-1.0, -3.0, -7.0, -9.0]);
    let (mean, d_input) = run(&mut average(same), &input, &[4.0; 4]);
    assert_eq!(mean, [-3.0, -4.5, -7.5, -9.0]);
    assert_eq!(d_input, [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 2.0, 4.0]);
}
