//! Trains a network for some passes, and takes the time of each.
//!
//! A pass is an epoch. Between the phases of the passes stand bursts of the peak, so that both meet the same machine.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use broadsweep_common::dataset::{Dataset, DatasetBuilder, Element, Header, Part, Scaling, TargetKind};
use broadsweep_common::measure::Watched;
use broadsweep_common::task::Select;
use broadsweep_common::training::{EPOCHS_MAX, Optimizer, Training};
use broadsweep_nn::{self as nn, Checkpoint, Control, Kernel, Phase, Plan, TrainTask};
use broadsweep_nn::{EpochReport, TrainingEnd};

use super::clock::{Lap, Start};
use super::network::Network;
use super::peak::Width;

/// Feature bytes of each part at most: some more than MNIST's. Networks that are quicker than that have shorter passes.
const PART_BYTES: usize = 64 << 20;
/// How long the pace is taken before the passes.
const PACE_S: f64 = 0.3;

/// What was measured of one network.
pub(crate) struct Measured {
    pub(crate) plan: Plan,
    pub(crate) training: Passes,
    pub(crate) evaluation: Passes,
    /// GFLOP/s of each burst, by width.
    pub(crate) peaks: Vec<(Width, Vec<f64>)>,
}

/// The passes of one phase.
#[derive(Default)]
pub(crate) struct Passes {
    /// In one pass.
    pub(crate) rows: usize,
    pub(crate) laps: Vec<Lap>,
}

/// Measures `passes` passes of about `seconds` of training each. One pass more goes before them and does not count.
pub(crate) fn measure(network: &Network, kernel: Kernel, passes: u32, seconds: f64) -> Result<Measured> {
    let targets = TargetKind::Classes { count: network.classes };
    let plan = nn::plan(&network.model, &network.input, targets)?;
    let row_bytes: usize = network.input.iter().map(|&side| side as usize).product();
    let batches_max = (PART_BYTES / (row_bytes * network.batch)).max(1);

    let mut pace = BatchCount::default();
    train(network, kernel, &random(network, [network.batch * batches_max.min(4), 0])?, EPOCHS_MAX, &mut pace)?;
    let batches = ((seconds * pace.batches_a_second()) as usize).clamp(1, batches_max);
    let rows = batches * network.batch;
    let evaluation_rows = rows.next_multiple_of(plan.evaluation_rows());

    let mut watch = Watch::new(Width::detected());
    train(network, kernel, &random(network, [rows, evaluation_rows])?, passes + 1, &mut watch)?;
    watch.training.laps.remove(0);
    watch.evaluation.laps.remove(0);
    let training = Passes { rows, ..watch.training };
    let evaluation = Passes { rows: evaluation_rows, ..watch.evaluation };
    Ok(Measured { plan, training, evaluation, peaks: watch.peaks })
}

/// Stochastic gradient descent with momentum.
pub(crate) fn training(network: &Network, epochs: u32) -> Training {
    Training {
        optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: false },
        learning_rate: 0.001,
        learning_rate_decay: 1.0,
        l2: 0.0,
        batch_size: network.batch,
        epochs,
        early_stop: None,
    }
}

fn train(network: &Network, kernel: Kernel, data: &Dataset, epochs: u32, control: &mut impl Control) -> Result<()> {
    let training = training(network, epochs);
    let task = TrainTask {
        model: &network.model,
        training: &training,
        study_seed: 1,
        trial_seed: 2,
        repeat: 0,
        select: Select::Validation,
        watched: Watched::ERROR,
        measures: &[],
        test_every_trial: false,
        kernel,
    };
    match nn::train(&task, data, None, control)?.training {
        TrainingEnd::Diverged { epoch } => {
            bail!("{} diverged in pass {epoch}: its time says nothing", network.name)
        }
        TrainingEnd::Complete(_) | TrainingEnd::Paused(_) | TrainingEnd::Stopped(_) => Ok(()),
    }
}

/// Pixels and classes at random, as many as `rows` says for training and for evaluation. Four pixels of five are 0, as
/// in MNIST.
fn random(network: &Network, rows: [usize; 2]) -> Result<Dataset> {
    let mut builder = DatasetBuilder::new(Header {
        shape: network.input.clone(),
        element: Element::U8,
        targets: TargetKind::Classes { count: network.classes },
        rows: [rows[0] as u64, rows[1] as u64, 0],
        scaling: Scaling::Uniform { factor: 1.0 / 255.0, offset: 0.0 },
        files_bytes: 0,
        target_scaling: Vec::new(),
    })?;
    let mut state = 1;
    for (part, rows) in [Part::Train, Part::Validation].into_iter().zip(rows) {
        for row in 0..rows {
            for pixel in builder.feature_row(part, row) {
                let drawn = next(&mut state);
                *pixel = if drawn.is_multiple_of(5) { (drawn >> 32) as u8 } else { 0 };
            }
            let class = (next(&mut state) >> 32) as u32 % network.classes;
            builder.target_row(part, row).copy_from_slice(&class.to_ne_bytes());
        }
    }
    Dataset::open(Arc::new(builder.finish())).context("the bench's own data")
}

/// `SplitMix64` (Steele et al., 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Counts batches for a while, from the second one on.
#[derive(Default)]
struct BatchCount {
    started: Option<Start>,
    batches: u32,
    wall_s: f64,
}

impl BatchCount {
    fn batches_a_second(&self) -> f64 {
        f64::from(self.batches) / self.wall_s
    }
}

impl Control for BatchCount {
    fn go_on(&mut self) -> bool {
        // The first call stands before the first batch, the second one behind it.
        let Some(started) = &self.started else {
            self.batches += 1;
            if self.batches == 2 {
                self.batches = 0;
                self.started = Some(Start::now());
            }
            return true;
        };
        self.batches += 1;
        self.wall_s = started.elapsed().wall_s;
        self.wall_s < PACE_S
    }

    fn phase(&mut self, _: Phase) {}

    fn epoch_ended(&mut self, _: &EpochReport, _: &Checkpoint) -> bool {
        true
    }
}

/// Takes the time of each phase; bursts of the peak lie between them.
struct Watch {
    under_way: Option<(Phase, Start)>,
    training: Passes,
    evaluation: Passes,
    peaks: Vec<(Width, Vec<f64>)>,
}

impl Watch {
    fn new(widths: Vec<Width>) -> Self {
        let peaks = widths.into_iter().map(|width| (width, Vec::new())).collect();
        Self { under_way: None, training: Passes::default(), evaluation: Passes::default(), peaks }
    }

    fn end_phase(&mut self) {
        match self.under_way.take() {
            Some((Phase::Training, start)) => self.training.laps.push(start.elapsed()),
            Some((Phase::Evaluation, start)) => self.evaluation.laps.push(start.elapsed()),
            None => {}
        }
    }
}

impl Control for Watch {
    fn go_on(&mut self) -> bool {
        true
    }

    fn phase(&mut self, phase: Phase) {
        self.end_phase();
        for (width, bursts) in &mut self.peaks {
            bursts.push(width.burst());
        }
        self.under_way = Some((phase, Start::now()));
    }

    fn epoch_ended(&mut self, _: &EpochReport, _: &Checkpoint) -> bool {
        self.end_phase();
        true
    }
}
