//! The training loop: epochs and batches, under a control that may end them.
//!
//! It knows no cluster and no clock. Its bits depend on model, training, seeds and data only.

use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::metrics::{self, EpochReport, Score};
use broadsweep_common::model::Model;
use broadsweep_common::task::Select;
use broadsweep_common::training::Training;

use super::batch::{Batch, shuffle};
use super::early_stop::Watch;
use super::evaluate::score;
use super::loss::Tally;
use super::network::Network;
use super::optimizer::OptimizerState;
use super::parameters::Parameters;
use super::plan::{Plan, plan};
use super::shape::ShapeError;
use super::weights::Weights;

/// What is trained, and how.
#[derive(Clone, Copy, Debug)]
pub struct TrainTask<'a> {
    /// The layers.
    pub model: &'a Model,
    /// Optimizer, batches and epochs.
    pub training: &'a Training,
    /// Shared by all trials: with `repeat`, the order of the rows.
    pub study_seed: u64,
    /// The trial's own: weights at the start, and dropout.
    pub trial_seed: u64,
    /// Which repetition of the configuration this is.
    pub repeat: u32,
    /// Whose error early stop watches.
    pub select: Select,
    /// Whether the test rows are scored after every epoch in any case.
    pub test_every_trial: bool,
}

/// What a training spends its time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Fitting weights.
    Training,
    /// Scoring validation or test rows.
    Evaluation,
}

/// What surrounds a training: it is told how far things are, and may end them.
pub trait Control {
    /// Asked between batches of both phases. With `false` the training ends now, and the epoch under way is lost.
    fn go_on(&mut self) -> bool;

    /// A phase begins; the one before it ends. The caller has a clock, the trainer has none.
    fn phase(&mut self, phase: Phase);

    /// An epoch is complete. With `false` the training ends here, and the epoch counts.
    fn epoch_ended(&mut self, report: &EpochReport) -> bool;
}

/// How a training ended.
#[derive(Clone, Debug)]
pub struct Trained {
    /// In numbers.
    pub training: metrics::Training,
    /// Of the epoch that counts: the best with early stop, else the last complete one. `None` if the training
    /// diverged or completed no epoch.
    pub weights: Option<Weights>,
}

/// Why a training cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// The layers fit neither each other nor the data.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// There is nothing to train on.
    #[error("the data has no training rows")]
    NoTrainingRows,
    /// Early stop has nothing to watch.
    #[error("early stop watches the {part} error, but the data has no {part} rows")]
    NothingToWatch {
        /// Which rows are missing.
        part: Part,
    },
}

/// Trains one network.
///
/// A loss that is NaN or infinite, in a batch or over the rows whose error counts, ends the training as diverged; so
/// does such a weight at the end of an epoch. A control that says stop after what is the last epoch anyway changes
/// nothing: the training is complete.
///
/// # Errors
/// [`TrainError`], before anything is allocated.
pub fn train(task: &TrainTask<'_>, data: &Dataset, control: &mut impl Control) -> Result<Trained, TrainError> {
    let plan = plan(task.model, &data.header().shape, data.header().targets)?;
    if data.rows(Part::Train) == 0 {
        return Err(TrainError::NoTrainingRows);
    }
    let watched = watched_part(task.select);
    if task.training.early_stop.is_some() && data.rows(watched) == 0 {
        return Err(TrainError::NothingToWatch { part: watched });
    }
    let mut trainer = Trainer::new(task, data, plan);
    let training = trainer.run(control);
    Ok(trainer.finish(training))
}

fn watched_part(select: Select) -> Part {
    match select {
        Select::Validation => Part::Validation,
        Select::Test => Part::Test,
    }
}

/// All that an epoch starts from, and all that it leaves behind: what a checkpoint would hold.
struct State {
    parameters: Parameters,
    optimizer: OptimizerState,
    watch: Option<Watch>,
    /// Epochs completed.
    epoch: u32,
    /// The epoch that counts so far, with its weights; the copy's memory is there from the start.
    kept: Option<EpochReport>,
    kept_parameters: Parameters,
}

/// A training under way: its state, and buffers that hold nothing from one batch to the next.
struct Trainer<'a> {
    task: TrainTask<'a>,
    data: &'a Dataset,
    plan: Plan,
    state: State,
    network: Network,
    batch: Batch,
    gradients: Vec<f32>,
    order: Vec<u32>,
}

/// Why an epoch has no report.
enum Interrupted {
    Stopped,
    Diverged,
}

impl<'a> Trainer<'a> {
    fn new(task: &TrainTask<'a>, data: &'a Dataset, plan: Plan) -> Self {
        let rows = task.training.batch_size.min(data.rows(Part::Train)).max(plan.evaluation_rows());
        let parameters = Parameters::initialize(task.model, &plan, task.trial_seed);
        Self {
            task: *task,
            data,
            network: Network::new(task.model, &plan, rows),
            batch: Batch::new(data, rows),
            gradients: vec![0.0; parameters.trained.len()],
            order: vec![0; data.rows(Part::Train)],
            state: State {
                kept_parameters: parameters.clone(),
                parameters,
                optimizer: OptimizerState::new(task.training, &plan),
                watch: task.training.early_stop.map(Watch::new),
                epoch: 0,
                kept: None,
            },
            plan,
        }
    }

    fn run(&mut self, control: &mut impl Control) -> metrics::Training {
        while self.state.epoch < self.task.training.epochs {
            let report = match self.train_epoch(control) {
                Ok(report) => report,
                Err(Interrupted::Stopped) => return metrics::Training::Stopped(self.state.kept),
                Err(Interrupted::Diverged) => return metrics::Training::Diverged { epoch: self.state.epoch + 1 },
            };
            let is_last = self.complete_epoch(report);
            if !control.epoch_ended(&report) && !is_last {
                return metrics::Training::Stopped(self.state.kept);
            }
            if is_last {
                break;
            }
        }
        match self.state.kept {
            Some(report) => metrics::Training::Complete(report),
            None => metrics::Training::Stopped(None), // no epochs were asked for
        }
    }

    /// Keeps the epoch if it counts; says whether it was the last.
    fn complete_epoch(&mut self, report: EpochReport) -> bool {
        let state = &mut self.state;
        state.epoch += 1;
        let watched = self.watched(&report);
        let state = &mut self.state;
        let (counts, stop) = match (&mut state.watch, watched) {
            (Some(watch), Some(score)) => {
                let ruling = watch.see(score.error);
                (ruling.is_best, ruling.stop)
            }
            _ => (true, false),
        };
        if counts {
            state.kept = Some(report);
            state.kept_parameters.copy_from(&state.parameters);
        }
        stop || state.epoch >= self.task.training.epochs
    }

    fn train_epoch(&mut self, control: &mut impl Control) -> Result<EpochReport, Interrupted> {
        let epoch = self.state.epoch + 1;
        let training = self.task.training;
        let learning_rate = training.learning_rate * libm::pow(training.learning_rate_decay, f64::from(epoch - 1));
        control.phase(Phase::Training);
        let training_loss = self.fit(epoch, learning_rate, control)?;
        control.phase(Phase::Evaluation);
        let validation = self.score(Part::Validation, control)?;
        let looks_at_test = self.task.test_every_trial || self.task.select == Select::Test;
        let test = if looks_at_test { self.score(Part::Test, control)? } else { None };
        let report = EpochReport { epoch, learning_rate, training_loss, validation, test };
        let watched_is_finite = self.watched(&report).is_none_or(|score| score.loss.is_finite());
        let validation_is_finite = validation.is_none_or(|score| score.loss.is_finite());
        if watched_is_finite && validation_is_finite { Ok(report) } else { Err(Interrupted::Diverged) }
    }

    /// One pass over the training rows. The mean loss a row.
    fn fit(&mut self, epoch: u32, rate: f64, control: &mut impl Control) -> Result<f64, Interrupted> {
        shuffle(&mut self.order, self.task.study_seed, self.task.repeat, epoch);
        self.network.begin_epoch(self.task.trial_seed, epoch);
        let mut total = Tally::default();
        for rows in self.order.chunks(self.task.training.batch_size) {
            if !control.go_on() {
                return Err(Interrupted::Stopped);
            }
            self.batch.gather(self.data, Part::Train, rows.iter().map(|&row| row as usize));
            let parameters = &mut self.state.parameters;
            let tally = self.network.train(parameters, &self.batch, &mut self.gradients);
            if !tally.loss.is_finite() {
                return Err(Interrupted::Diverged);
            }
            self.state.optimizer.step(rate, &mut parameters.trained, &self.gradients);
            total.add(tally);
        }
        if self.state.parameters.are_finite() { Ok(total.mean_loss()) } else { Err(Interrupted::Diverged) }
    }

    fn score(&mut self, part: Part, control: &mut impl Control) -> Result<Option<Score>, Interrupted> {
        if self.data.rows(part) == 0 {
            return Ok(None);
        }
        let rows = self.plan.evaluation_rows();
        let parameters = &mut self.state.parameters;
        let go_on = || control.go_on();
        let tally = score(&mut self.network, parameters, self.data, part, (&mut self.batch, rows), go_on);
        let tally = tally.ok_or(Interrupted::Stopped)?;
        Ok(Some(tally.score(self.task.model.loss)))
    }

    fn watched(&self, report: &EpochReport) -> Option<Score> {
        match self.task.select {
            Select::Validation => report.validation,
            Select::Test => report.test,
        }
    }

    fn finish(self, training: metrics::Training) -> Trained {
        let counts = match training {
            metrics::Training::Complete(_) | metrics::Training::Stopped(Some(_)) => true,
            metrics::Training::Stopped(None) | metrics::Training::Diverged { .. } => false,
        };
        let weights = counts.then(|| Weights::of(&self.state.kept_parameters, &self.plan));
        Trained { training, weights }
    }
}
