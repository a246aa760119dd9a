//! Inverted dropout (Srivastava et al., 2014): what remains is scaled in training, so evaluation changes nothing.

use broadsweep_common::seeds::{self, Rng};
use rand_chacha::rand_core::Rng as _;

use super::{Backward, Mode, Operation, Tensors};
use crate::layout::{Layout, Piece};

/// A dropout layer.
pub(crate) struct Dropout {
    /// Index into the model's layers: part of the seed.
    layer: usize,
    /// A value is dropped if its random word is below this; 2^32 × rate.
    threshold: u32,
    scale: f32,
    rng: Rng,
    input: Layout,
    output: Layout,
    /// What each value was multiplied with, 0 or `scale`, in the inputs' layout.
    mask: Vec<f32>,
}

impl Dropout {
    pub(crate) fn new(layer: usize, rate: f64, (input, output): (Layout, Layout), rows_max: usize) -> Self {
        Self {
            layer,
            threshold: (rate * 4_294_967_296.0) as u32,
            scale: (1.0 / (1.0 - rate)) as f32,
            rng: seeds::dropout_rng(0, layer, 0),
            mask: vec![0.0; input.len(rows_max)],
            input,
            output,
        }
    }
}

impl Operation for Dropout {
    fn begin_epoch(&mut self, trial_seed: u64, epoch: u32) {
        self.rng = seeds::dropout_rng(trial_seed, self.layer, epoch);
    }

    /// Random words are drawn in the plain order of the values, so that every layout drops the same ones.
    fn forward(&mut self, mode: Mode, rows: usize, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        if mode == Mode::Evaluation {
            for (from, to) in self.input.lines(rows).zip(self.output.lines(rows)) {
                output[to].copy_from_slice(&input[from]);
            }
            return;
        }
        for row in 0..rows {
            for Piece { to: place, length, .. } in self.input.pieces(rows, row) {
                for mask in &mut self.mask[place..place + length] {
                    *mask = if self.rng.next_u32() < self.threshold { 0.0 } else { self.scale };
                }
            }
        }
        for (from, to) in self.input.lines(rows).zip(self.output.lines(rows)) {
            let masks = &self.mask[from.clone()];
            for ((output, input), mask) in output[to].iter_mut().zip(&input[from]).zip(masks) {
                *output = input * mask;
            }
        }
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        for (to, from) in self.input.lines(pass.rows).zip(self.output.lines(pass.rows)) {
            let masks = &self.mask[to.clone()];
            for ((d_input, d_output), mask) in d_input[to].iter_mut().zip(&pass.d_output[from]).zip(masks) {
                *d_input = d_output * mask;
            }
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * self.mask.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropout(layer: usize, rate: f64) -> Dropout {
        let layout = Layout::Flat { values: 1000, lanes: 8 };
        Dropout::new(layer, rate, (layout, layout), 10)
    }

    fn run(dropout: &mut Dropout, mode: Mode) -> Vec<f32> {
        let mut output = vec![0.0; 10_000];
        let tensors = Tensors { trained: &[], statistics: &mut [] };
        dropout.forward(mode, 10, tensors, &vec![1.0; 10_000], &mut output);
        output
    }

    #[test]
    fn training_drops_the_rate_and_scales_the_rest() {
        let mut layer = dropout(3, 0.25);
        layer.begin_epoch(7, 1);
        let output = run(&mut layer, Mode::Training);
        let dropped = output.iter().filter(|&&value| value == 0.0).count();
        // 2,500 expected; the standard deviation is 43.
        assert!((2_330..2_670).contains(&dropped), "{dropped} of 10,000");
        assert!(output.iter().all(|&value| value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
    }

    #[test]
    fn an_epoch_repeats_its_masks_and_another_epoch_has_others() {
        let mut layer = dropout(3, 0.5);
        let mut masks = [1, 2, 1].map(|epoch| {
            layer.begin_epoch(7, epoch);
            run(&mut layer, Mode::Training)
        });
        assert_eq!(masks[0], masks[2]);
        assert_ne!(masks[0], masks[1]);
        masks[0] = run(&mut layer, Mode::Training);
        assert_ne!(masks[0], masks[2], "two batches of an epoch share a mask");
    }

    #[test]
    fn evaluation_changes_nothing() {
        assert_eq!(run(&mut dropout(0, 0.9), Mode::Evaluation), vec![1.0; 10_000]);
    }
}
