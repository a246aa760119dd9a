//! A moment of a few trials, trained on this machine: how long a study's trials will take on machines like it.
//!
//! What a core reaches differs by far from network to network, and what is left out of a training because it is zero
//! makes it faster than its FLOPs say. So the pace is measured, on the study's own data, and not assumed.

use std::time::{Duration, Instant};

use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::metrics::EpochReport;
use broadsweep_common::seeds;
use broadsweep_common::task::{Select, StudyDescription, TrainerDescription};
use broadsweep_executor::machine;
use broadsweep_executor::nn::{self, Checkpoint, Control, Kernel, Phase, TrainTask};

use crate::plan::TrialPlan;

/// How long a trial is tried; one batch of it at least.
const MOMENT: Duration = Duration::from_millis(400);

/// How fast this machine trains the trials of a study.
#[derive(Clone, Debug)]
pub struct Pace {
    /// What multiplies.
    pub kernel: Kernel,
    /// From the cheapest trial that was tried to the most expensive one; not empty.
    samples: Vec<Sample>,
}

/// One trial that was tried.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// FLOPs that it would take as a whole.
    flops: u64,
    /// FLOPs a second that it reached.
    rate: f64,
}

/// Why a pace could not be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPace {
    /// A trial would not fit here.
    #[error("a trial needs more memory than this machine has")]
    TooLarge,
    /// There is nothing to be trained, or no batch of it ended.
    #[error("no trial could be tried on this machine")]
    NothingTrained,
}

impl Pace {
    /// Tries the cheapest, the middle and the most expensive of `trials` for a moment each, with the fastest kernel
    /// of this machine.
    ///
    /// # Errors
    /// [`NoPace`].
    pub fn measure(description: &StudyDescription, trials: &[TrialPlan], data: &Dataset) -> Result<Self, NoPace> {
        let kernel = Kernel::detect().into_iter().next().ok_or(NoPace::NothingTrained)?;
        let mut tried: Vec<_> = trials.iter().collect();
        tried.sort_by_key(|trial| trial.flops);
        let last = tried.len().checked_sub(1).ok_or(NoPace::NothingTrained)?;
        let mut tried = [0, last / 2, last].map(|place| tried[place]).to_vec();
        tried.dedup_by_key(|trial| trial.flops);
        if tried.iter().any(|trial| trial.memory_bytes > machine::memory_bytes() / 2) {
            return Err(NoPace::TooLarge);
        }
        let rate = |trial: &TrialPlan| rehearse(description, &trial.configuration, data, kernel);
        let sample = |trial: &TrialPlan| Some(Sample { flops: trial.flops, rate: rate(trial)? });
        let samples: Vec<_> = tried.into_iter().filter_map(sample).collect();
        if samples.is_empty() { Err(NoPace::NothingTrained) } else { Ok(Self { kernel, samples }) }
    }

    /// Seconds that one slot will take for a trial, at the pace of the one that is most like it.
    #[must_use]
    pub fn seconds(&self, trial: &TrialPlan) -> f64 {
        let nearest = self.samples.iter().min_by_key(|sample| sample.flops.abs_diff(trial.flops));
        nearest.map_or(f64::NAN, |sample| trial.flops as f64 / sample.rate)
    }

    /// The least and the largest FLOPs a second that were reached.
    #[must_use]
    pub fn rates(&self) -> [f64; 2] {
        let rates = || self.samples.iter().map(|sample| sample.rate);
        [rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max)]
    }
}

/// FLOPs a second of this configuration's first batches; `None` if none ended.
fn rehearse(
    description: &StudyDescription,
    configuration: &Configuration,
    data: &Dataset,
    kernel: Kernel,
) -> Option<f64> {
    let TrainerDescription::Network { model, training } = &description.trainer else { return None };
    let (model, training) = (model.resolve(configuration).ok()?, training.resolve(configuration).ok()?);
    let task = TrainTask {
        model: &model,
        training: &training,
        study_seed: description.seed,
        trial_seed: seeds::trial_seed(description.seed, configuration.digest(), 0),
        repeat: 0,
        select: description.select,
        test_every_trial: description.test_every_trial,
        kernel,
    };
    let mut stopwatch = Stopwatch::new(&task, data, MOMENT)?;
    nn::train(&task, data, None, &mut stopwatch).ok()?;
    stopwatch.rate()
}

/// Counts what a training does, and ends it after a while.
struct Stopwatch {
    limit: Duration,
    /// When the batches that count began, and the FLOPs before them: the first one, which finds nothing in the caches,
    /// counts only where it takes long.
    since: Option<(Instant, u64)>,
    /// FLOPs of the batches that ended, and of the one under way.
    done: u64,
    under_way: u64,
    training: Batches,
    evaluation: Batches,
    phase: Phase,
    /// Rows of the phase that no batch has taken yet.
    left: u64,
}

/// The batches of a phase.
#[derive(Clone, Copy)]
struct Batches {
    rows: u64,
    batch: u64,
    flops_a_row: u64,
}

impl Stopwatch {
    fn new(task: &TrainTask<'_>, data: &Dataset, limit: Duration) -> Option<Self> {
        let plan = nn::plan(task.model, &data.header().shape, data.header().targets).ok()?;
        let rows = |part| data.rows(part) as u64;
        let watches_test = task.test_every_trial || task.select == Select::Test;
        let scored = rows(Part::Validation) + if watches_test { rows(Part::Test) } else { 0 };
        let training = Batches {
            rows: rows(Part::Train),
            batch: task.training.batch_size as u64,
            flops_a_row: plan.training_flops,
        };
        let evaluation =
            Batches { rows: scored, batch: plan.evaluation_rows() as u64, flops_a_row: plan.forward_flops };
        let phase = Phase::Training;
        Some(Self { limit, since: None, done: 0, under_way: 0, training, evaluation, phase, left: 0 })
    }

    fn batches(&self) -> Batches {
        match self.phase {
            Phase::Training => self.training,
            Phase::Evaluation => self.evaluation,
        }
    }

    fn complete_batch(&mut self) {
        self.done += std::mem::take(&mut self.under_way);
    }

    /// FLOPs a second so far; `None` before a batch ended.
    fn rate(&self) -> Option<f64> {
        let (since, before) = self.since?;
        let (done, seconds) = (self.done - before, since.elapsed().as_secs_f64());
        (done > 0 && seconds > 0.0).then(|| done as f64 / seconds)
    }
}

impl Control for Stopwatch {
    fn go_on(&mut self) -> bool {
        self.complete_batch();
        let now = Instant::now();
        match self.since {
            None => self.since = Some((now, 0)),
            Some((since, _)) if now - since >= self.limit => return false,
            Some((since, 0)) if self.phase == Phase::Training && now - since < self.limit / 4 => {
                self.since = Some((now, self.done));
            }
            Some(_) => {}
        }
        let Batches { batch, flops_a_row, .. } = self.batches();
        let rows = batch.min(self.left);
        self.left -= rows;
        self.under_way = rows.saturating_mul(flops_a_row);
        true
    }

    fn phase(&mut self, phase: Phase) {
        self.complete_batch();
        self.phase = phase;
        self.left = self.batches().rows;
    }

    fn epoch_ended(&mut self, _report: &EpochReport, _checkpoint: &Checkpoint) -> bool {
        self.complete_batch();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broadsweep_common::dataset::{DatasetBuilder, Element, Header, Scaling, TargetKind};

    use super::*;
    use crate::plan::StudyPlan;
    use crate::study::{Study, parse};

    const STUDY: &str = "name = 'a'\n[data]\nformat = 'idx'\ntrain_features = 'a'\ntrain_labels = 'b'\n\
        test_features = 'c'\ntest_labels = 'd'\n[model]\nloss = 'cross_entropy'\n\
        layers = [{ kind = 'dense', units = '$width' }, { kind = 'dense', units = 2 }]\n\
        [training]\noptimizer = 'sgd'\nlearning_rate = 0.1\nbatch_size = 16\nepochs = 3\n\
        [search]\nsampler = 'grid'\nselect = 'test'\n[search.space]\nwidth = { values = [2, 300, 20, 5] }\n";

    fn data(rows: [u64; 3]) -> Dataset {
        let header = Header {
            shape: vec![7],
            element: Element::U8,
            targets: TargetKind::Classes { count: 2 },
            rows,
            scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
        };
        Dataset::open(Arc::new(DatasetBuilder::new(header).unwrap().finish())).unwrap()
    }

    fn planned(study: &Study, data: &Dataset) -> (StudyDescription, Vec<TrialPlan>) {
        let description = study.description(Vec::new());
        let configurations = study.configurations().unwrap();
        let plan = StudyPlan::new(study, &description.trainer, configurations, data.header()).unwrap();
        (description, plan.trials)
    }

    /// Trains this trial until the stopwatch says stop.
    fn timed(description: &StudyDescription, trial: &TrialPlan, data: &Dataset, limit: Duration) -> Stopwatch {
        let TrainerDescription::Network { model, training } = &description.trainer else { unreachable!() };
        let model = model.resolve(&trial.configuration).unwrap();
        let training = training.resolve(&trial.configuration).unwrap();
        let task = TrainTask {
            model: &model,
            training: &training,
            study_seed: 0,
            trial_seed: 0,
            repeat: 0,
            select: description.select,
            test_every_trial: description.test_every_trial,
            kernel: Kernel::PORTABLE,
        };
        let mut stopwatch = Stopwatch::new(&task, data, limit).unwrap();
        nn::train(&task, data, None, &mut stopwatch).unwrap();
        stopwatch
    }

    #[test]
    fn a_whole_training_has_the_flops_that_were_planned() {
        let study = parse(STUDY, "s.toml").unwrap();
        let data = data([100, 0, 2500]); // last batches that are not full, in both phases
        let (description, trials) = planned(&study, &data);
        for trial in trials {
            let stopwatch = timed(&description, &trial, &data, Duration::MAX);
            assert_eq!(stopwatch.done, trial.flops, "{}", trial.configuration);
            assert!(stopwatch.rate().unwrap() > 0.0);
        }
    }

    #[test]
    fn a_moment_ends_with_the_batch_under_way() {
        let study = parse(STUDY, "s.toml").unwrap();
        let data = data([100, 0, 2500]);
        let (description, trials) = planned(&study, &data);
        let [one, whole] = [1, u64::MAX].map(Duration::from_nanos).map(|limit| {
            let stopwatch = timed(&description, &trials[1], &data, limit);
            assert!(stopwatch.rate().unwrap() > 0.0);
            stopwatch.done
        });
        assert!(0 < one && one < whole, "{one} of {whole}");
    }

    #[test]
    fn each_trial_goes_at_the_pace_of_the_one_that_is_most_like_it() {
        let study = parse(STUDY, "s.toml").unwrap();
        let data = data([200, 0, 100]);
        let (description, trials) = planned(&study, &data);
        let pace = Pace::measure(&description, &trials, &data).unwrap();
        assert_eq!(pace.samples.len(), 3);
        let [least, most] = pace.rates();
        assert!(0.0 < least && least <= most && most.is_finite());
        let rates = [2.0, 4.0, 8.0];
        let samples = pace.samples.iter().zip(rates).map(|(sample, rate)| Sample { rate, ..*sample }).collect();
        let pace = Pace { samples, ..pace };
        let expected = [2.0, 8.0, 4.0, 4.0]; // of 2, 5, 20 and 300 units, 5 were the middle
        for (trial, rate) in trials.iter().zip(expected) {
            let nearest = trial.flops as f64 / pace.seconds(trial);
            assert!((nearest / rate - 1.0).abs() < 1e-9, "{}: {nearest}, not {rate}", trial.configuration);
        }
    }

    #[test]
    fn what_does_not_fit_here_and_what_is_not_there_are_not_tried() {
        let study = parse(STUDY, "s.toml").unwrap();
        let data = data([100, 0, 100]);
        let (description, mut trials) = planned(&study, &data);
        trials[1].memory_bytes = u64::MAX;
        assert_eq!(Pace::measure(&description, &trials, &data).unwrap_err(), NoPace::TooLarge);
        assert_eq!(Pace::measure(&description, &[], &data).unwrap_err(), NoPace::NothingTrained);
    }
}
