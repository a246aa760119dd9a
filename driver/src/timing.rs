//! A moment of a few trials, trained on this machine: how long a study's trials will take on machines like it.
//!
//! What a core reaches differs by far from network to network and from batch size to batch size, and what is left out of
//! a training because it is zero makes it faster than its FLOPs say. So the speed is measured, on the study's own data, and
//! not assumed.

use std::time::{Duration, Instant};

use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::seeds;
use broadsweep_common::task::{StudyDescription, TrainerDescription};
use broadsweep_nn::EpochReport;
use broadsweep_nn::{self as nn, Checkpoint, Control, Kernel, Phase, Plan, TrainTask};

use crate::plan::TrialPlan;

/// How long a trial is tried; one batch of it at least.
const MOMENT: Duration = Duration::from_millis(400);
/// FLOPs of a batch at most, where it has more than a row: about as many as fit the moment.
const BATCH_FLOPS_MAX: u64 = 20_000_000_000;

/// How fast this machine trains the trials of a study.
#[derive(Clone, Debug)]
pub struct MeasuredSpeed {
    /// From the smallest batches and the cheapest trials that were tried to the largest and most expensive ones; not
    /// empty.
    samples: Vec<Sample>,
}

/// One trial that was tried.
#[derive(Clone, Copy, Debug)]
struct Sample {
    batch_size: usize,
    /// FLOPs that it would take as a whole.
    flops: u64,
    /// FLOPs a second that it reached.
    rate: f64,
}

/// Why a speed could not be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPace {
    /// None fits.
    #[error("each trial takes more memory than can be tried here")]
    TooLarge,
    /// There is nothing to be trained, or each trial diverged at once.
    #[error("no trial could be tried here, or each diverged at once")]
    NothingTrained,
}

impl MeasuredSpeed {
    /// Tries three of `trials` for a moment each: those of the smallest and the largest batches and one between, or, if
    /// all batches are alike, the cheapest, the most expensive and one between. None that takes more than `memory_bytes`.
    ///
    /// # Errors
    /// [`NoPace`].
    pub fn measure(
        description: &StudyDescription,
        trials: &[TrialPlan],
        data: &Dataset,
        kernel: Kernel,
        memory_bytes: u64,
    ) -> Result<Self, NoPace> {
        let mut fitting: Vec<_> = trials.iter().filter(|trial| trial.memory_bytes <= memory_bytes).collect();
        fitting.sort_by_key(|trial| (trial.batch_size, trial.flops));
        let Some(last) = fitting.len().checked_sub(1) else {
            return Err(if trials.is_empty() { NoPace::NothingTrained } else { NoPace::TooLarge });
        };
        let mut tried = [0, last / 2, last].map(|place| fitting[place]).to_vec();
        tried.dedup_by_key(|trial| (trial.batch_size, trial.flops));
        let rate = |trial: &TrialPlan| try_out(description, &trial.configuration, data, kernel);
        let sample =
            |trial: &TrialPlan| Some(Sample { batch_size: trial.batch_size, flops: trial.flops, rate: rate(trial)? });
        let samples: Vec<_> = tried.into_iter().filter_map(sample).collect();
        if samples.is_empty() { Err(NoPace::NothingTrained) } else { Ok(Self { samples }) }
    }

    /// Seconds that one slot will take for a trial, at the speed of the one that is most like it.
    #[must_use]
    pub fn seconds(&self, trial: &TrialPlan) -> f64 {
        let unlike =
            |sample: &&Sample| (sample.batch_size.abs_diff(trial.batch_size), sample.flops.abs_diff(trial.flops));
        self.samples.iter().min_by_key(unlike).map_or(f64::NAN, |sample| trial.flops as f64 / sample.rate)
    }

    /// The least and the largest FLOPs a second that were reached.
    #[must_use]
    pub fn rates(&self) -> [f64; 2] {
        let rates = || self.samples.iter().map(|sample| sample.rate);
        [rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max)]
    }
}

/// FLOPs a second of this configuration's first batches; `None` if none ended.
fn try_out(
    description: &StudyDescription,
    configuration: &Configuration,
    data: &Dataset,
    kernel: Kernel,
) -> Option<f64> {
    let TrainerDescription::Network { model, training } = &description.trainer else { return None };
    let model = model.resolve(configuration).ok()?;
    let mut training = training.resolve(configuration).ok()?;
    let plan = nn::plan(&model, &data.header().shape, data.header().targets).ok()?;
    let measures: Vec<_> = description.measures.iter().map(|reported| reported.measure).collect();
    training.batch_size = batch_size_tried(training.batch_size, plan.training_flops)?;
    let task = TrainTask {
        model: &model,
        training: &training,
        study_seed: description.seed,
        trial_seed: seeds::trial_seed(description.seed, configuration.digest(), 0),
        repeat: 0,
        select: description.select,
        watched: description.watched,
        measures: &measures,
        test_every_trial: description.test_every_trial,
        kernel,
    };
    let mut stopwatch = Stopwatch::new(&task, &plan, data, MOMENT);
    nn::train(&task, data, None, &mut stopwatch).ok()?;
    stopwatch.rate()
}

/// Rows of a batch that is tried: nobody can stop a batch, and nobody waits for minutes. `None` where there is nothing
/// to be multiplied.
fn batch_size_tried(batch_size: usize, flops_a_row: u64) -> Option<usize> {
    let rows_max = BATCH_FLOPS_MAX.checked_div(flops_a_row)?.max(1);
    Some(batch_size.min(usize::try_from(rows_max).unwrap_or(usize::MAX)))
}

/// Counts what a training does, and ends it after a while.
struct Stopwatch {
    limit: Duration,
    /// When the batches that count began, and the FLOPs before them: the first one, which finds nothing in the caches,
    /// counts only where it takes long.
    since: Option<(Instant, u64)>,
    /// When the last batch ended.
    until: Option<Instant>,
    batches: u64,
    /// FLOPs of the batches that ended, and of the one under way.
    done: u64,
    under_way: Option<u64>,
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
    /// `plan` is the task's.
    fn new(task: &TrainTask<'_>, plan: &Plan, data: &Dataset, limit: Duration) -> Self {
        let rows = |part| data.rows(part) as u64;
        let scored = [Part::Validation, Part::Test].into_iter().filter(|&part| task.reports(part, data.header()));
        let training = Batches {
            rows: rows(Part::Train),
            batch: task.training.batch_size as u64,
            flops_a_row: plan.training_flops,
        };
        let evaluation = Batches {
            rows: scored.map(rows).sum(),
            batch: plan.evaluation_rows() as u64,
            flops_a_row: plan.forward_flops,
        };
        Self {
            limit,
            since: None,
            until: None,
            batches: 0,
            done: 0,
            under_way: None,
            training,
            evaluation,
            phase: Phase::Training,
            left: 0,
        }
    }

    fn batches(&self) -> Batches {
        match self.phase {
            Phase::Training => self.training,
            Phase::Evaluation => self.evaluation,
        }
    }

    fn complete_batch(&mut self) {
        if let Some(flops) = self.under_way.take() {
            self.done += flops;
            self.batches += 1;
            self.until = Some(Instant::now());
        }
    }

    /// FLOPs a second so far; `None` before a batch that counts ended.
    fn rate(&self) -> Option<f64> {
        let ((since, before), until) = (self.since?, self.until?);
        let (done, seconds) = (self.done - before, until.saturating_duration_since(since).as_secs_f64());
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
            Some((since, _))
                if self.batches == 1 && self.phase == Phase::Training && now - since < self.limit / 4 =>
            {
                self.since = Some((now, self.done));
            }
            Some(_) => {}
        }
        let Batches { batch, flops_a_row, .. } = self.batches();
        let rows = batch.min(self.left);
        self.left -= rows;
        self.under_way = Some(rows.saturating_mul(flops_a_row));
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
    use crate::plan::Planner;
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
            files_bytes: 0,
            target_scaling: Vec::new(),
        };
        Dataset::open(Arc::new(DatasetBuilder::new(header).unwrap().finish())).unwrap()
    }

    fn planned(study: &Study, data: &Dataset) -> (StudyDescription, Vec<TrialPlan>) {
        let description = study.description(Vec::new());
        let drawn = study.drawn().unwrap();
        let trials = Planner::new(study, &description.trainer, data.header()).plan_all(drawn).unwrap();
        (description, trials)
    }

    /// Trains this trial until the stopwatch says stop.
    fn timed(description: &StudyDescription, trial: &TrialPlan, data: &Dataset, limit: Duration) -> Stopwatch {
        let TrainerDescription::Network { model, training } = &description.trainer else { unreachable!() };
        let model = model.resolve(&trial.configuration).unwrap();
        let training = training.resolve(&trial.configuration).unwrap();
        let measures: Vec<_> = description.measures.iter().map(|reported| reported.measure).collect();
        let task = TrainTask {
            model: &model,
            training: &training,
            study_seed: 0,
            trial_seed: 0,
            repeat: 0,
            select: description.select,
            watched: description.watched,
            measures: &measures,
            test_every_trial: description.test_every_trial,
            kernel: Kernel::PORTABLE,
        };
        let plan = nn::plan(&model, &data.header().shape, data.header().targets).unwrap();
        let mut stopwatch = Stopwatch::new(&task, &plan, data, limit);
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
        let (description, mut trials) = planned(&study, &data);
        let speed = MeasuredSpeed::measure(&description, &trials, &data, Kernel::PORTABLE, u64::MAX).unwrap();
        assert_eq!(speed.samples.len(), 3);
        let [least, most] = speed.rates();
        assert!(0.0 < least && least <= most && most.is_finite());
        let paced = |rates: [f64; 3]| {
            let samples = speed.samples.iter().zip(rates).map(|(sample, rate)| Sample { rate, ..*sample });
            MeasuredSpeed { samples: samples.collect() }
        };
        let rates_of = |speed: &MeasuredSpeed, trials: &[TrialPlan]| -> Vec<f64> {
            trials.iter().map(|trial| (trial.flops as f64 / speed.seconds(trial)).round()).collect()
        };
        // Of 2, 5, 20 and 300 units, 5 were the middle; the study has 2, 300, 20, 5.
        assert_eq!(rates_of(&paced([2.0, 4.0, 8.0]), &trials), [2.0, 8.0, 4.0, 4.0]);
        // Batches say more than FLOPs.
        let mut speed = paced([2.0, 4.0, 8.0]);
        for (sample, batch_size) in speed.samples.iter_mut().zip([16, 32, 128]) {
            sample.batch_size = batch_size;
        }
        for (trial, batch_size) in trials.iter_mut().zip([100, 16, 33, 128]) {
            trial.batch_size = batch_size;
        }
        assert_eq!(rates_of(&speed, &trials), [8.0, 2.0, 4.0, 8.0]);
    }

    #[test]
    fn what_does_not_fit_here_and_what_is_not_there_are_not_tried() {
        let study = parse(STUDY, "s.toml").unwrap();
        let data = data([100, 0, 100]);
        let (description, mut trials) = planned(&study, &data);
        let measure =
            |trials: &[TrialPlan]| MeasuredSpeed::measure(&description, trials, &data, Kernel::PORTABLE, 1 << 40);
        trials[1].memory_bytes = u64::MAX;
        let fitting = measure(&trials).unwrap();
        assert!(fitting.samples.iter().all(|sample| sample.flops != trials[1].flops));
        for trial in &mut trials {
            trial.memory_bytes = u64::MAX;
        }
        assert_eq!(measure(&trials).unwrap_err(), NoPace::TooLarge);
        assert_eq!(measure(&[]).unwrap_err(), NoPace::NothingTrained);
    }

    #[test]
    fn a_batch_is_cut_to_what_ends_in_a_moment_and_nothing_to_multiply_is_not_tried() {
        assert_eq!(batch_size_tried(64, 200_000_000), Some(64));
        assert_eq!(batch_size_tried(256, 4_000_000_000), Some(5));
        assert_eq!(batch_size_tried(256, u64::MAX), Some(1));
        assert_eq!(batch_size_tried(256, 0), None);
    }
}
