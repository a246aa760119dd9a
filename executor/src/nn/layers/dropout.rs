//! Inverted dropout (Srivastava et al., 2014): what remains is scaled in training, so evaluation changes nothing.

use broadsweep_common::seeds::{self, Rng};
use rand_chacha::rand_core::Rng as _;

use super::{Backward, Mode, Operation, Tensors};

/// A dropout layer.
pub(crate) struct Dropout {
    /// Index into the model's layers: part of the seed.
    layer: usize,
    /// A value is dropped if its random word is below this; 2^32 × rate.
    threshold: u32,
    scale: f32,
    rng: Rng,
    /// What each value was multiplied with: 0 or `scale`.
    mask: Vec<f32>,
}

impl Dropout {
    /// `values` is the number of values of the largest batch.
    pub(crate) fn new(layer: usize, rate: f64, values: usize) -> Self {
        Self {
            layer,
            threshold: (rate * 4_294_967_296.0) as u32,
            scale: (1.0 / (1.0 - rate)) as f32,
            rng: seeds::dropout_rng(0, layer, 0),
            mask: vec![0.0; values],
        }
    }
}

impl Operation for Dropout {
    fn begin_epoch(&mut self, trial_seed: u64, epoch: u32) {
        self.rng = seeds::dropout_rng(trial_seed, self.layer, epoch);
    }

    fn forward(&mut self, mode: Mode, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        match mode {
            Mode::Evaluation => output.copy_from_slice(input),
            Mode::Training => {
                for ((output, input), mask) in output.iter_mut().zip(input).zip(&mut self.mask) {
                    *mask = if self.rng.next_u32() < self.threshold { 0.0 } else { self.scale };
                    *output = input * *mask;
                }
            }
        }
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        for ((d_input, d_output), mask) in d_input.iter_mut().zip(pass.d_output).zip(&self.mask) {
            *d_input = d_output * mask;
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

    fn run(dropout: &mut Dropout, mode: Mode) -> Vec<f32> {
        let mut output = vec![0.0; 10_000];
        dropout.forward(mode, Tensors { trained: &[], statistics: &mut [] }, &vec![1.0; 10_000], &mut output);
        output
    }

    #[test]
    fn training_drops_the_rate_and_scales_the_rest() {
        let mut dropout = Dropout::new(3, 0.25, 10_000);
        dropout.begin_epoch(7, 1);
        let output = run(&mut dropout, Mode::Training);
        let dropped = output.iter().filter(|&&value| value == 0.0).count();
        // 2,500 expected; the standard deviation is 43.
        assert!((2_330..2_670).contains(&dropped), "{dropped} of 10,000");
        assert!(output.iter().all(|&value| value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
    }

    #[test]
    fn an_epoch_repeats_its_masks_and_another_epoch_has_others() {
        let mut dropout = Dropout::new(3, 0.5, 10_000);
        let mut masks = [1, 2, 1].map(|epoch| {
            dropout.begin_epoch(7, epoch);
            run(&mut dropout, Mode::Training)
        });
        assert_eq!(masks[0], masks[2]);
        assert_ne!(masks[0], masks[1]);
        masks[0] = run(&mut dropout, Mode::Training);
        assert_ne!(masks[0], masks[2], "two batches of an epoch share a mask");
    }

    #[test]
    fn evaluation_changes_nothing() {
        assert_eq!(run(&mut Dropout::new(0, 0.9, 10_000), Mode::Evaluation), vec![1.0; 10_000]);
    }
}
