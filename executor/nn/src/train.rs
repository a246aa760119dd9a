//! The training loop: epochs and batches, under a control that may end them.
//!
//! It knows no cluster and no clock. Its bits depend on model, training, seeds, data and kernel only.

use broadsweep_common::dataset::{Dataset, Header, Part};
use broadsweep_common::measure::{MEASURES_MAX, Measure};
use broadsweep_common::task::Select;

use super::batch::{Batch, shuffle};
use super::blueprint::Blueprint;
use super::checkpoint::{Checkpoint, identity};
use super::evaluate::{Means, score};
use super::loss::Tally;
use super::measures::Meter;
use super::network::{self, Network};
use super::plan::{Plan, plan};
use super::report::{EpochReport, Score, TrainingEnd};
use super::shape::ShapeError;
use super::train_task::TrainTask;
use super::weights::Weights;

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
    ///
    /// `checkpoint` is what the next epoch starts from. Its bytes are made only when they are asked for; whether the
    /// training goes on or stops here, another one can go on from them. After the last epoch nobody needs them.
    fn epoch_ended(&mut self, report: &EpochReport, checkpoint: &Checkpoint) -> bool;
}

/// How a training ended.
#[derive(Clone, Debug)]
pub struct Trained {
    /// In numbers.
    pub training: TrainingEnd,
    /// Of the epoch that counts: the best with early stop, else the last complete one. `None` if the training
    /// diverged, completed no epoch, or has epochs left.
    pub weights: Option<Weights>,
    /// What the next segment goes on from, where the training has epochs left.
    pub checkpoint: Option<Checkpoint>,
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
    #[error("early stop watches the {part} rows, but the data has none")]
    NothingToWatch {
        /// Which rows are missing.
        part: Part,
    },
    /// The study asks for what these rows do not have.
    #[error("this data cannot be measured by {0:?}")]
    Measure(Measure),
    /// The study asks for too much.
    #[error("{0} measures are asked for; {MEASURES_MAX} are allowed")]
    TooManyMeasures(usize),
    /// The checkpoint would go on to other bits.
    #[error("the checkpoint is of another model, training, seed, kernel or shape of data")]
    ForeignCheckpoint,
}

/// Trains one network, from the start or from where a checkpoint was taken. It ends in the same bits either way: the
/// reports of the epochs that are left, the outcome and the weights.
///
/// A loss that is NaN or infinite, in a batch or over the rows whose error counts, ends the training as diverged; so
/// does such a weight at the end of an epoch. A control that says stop after what is the last epoch anyway changes
/// nothing: the training is complete. So it is at once after a checkpoint of the last epoch, or of one at which early
/// stop ruled to stop.
///
/// # Errors
/// [`TrainError`], before anything is allocated.
pub fn train(
    task: &TrainTask<'_>,
    data: &Dataset,
    from: Option<Checkpoint>,
    control: &mut impl Control,
) -> Result<Trained, TrainError> {
    train_until(task, data, from, task.training.epochs, control)
}

/// As [`train`], but no further than epoch `until_epoch`: if that is not the training's last one, it pauses there, and
/// goes on from its checkpoint to the bits of a training that never paused. A control that says stop after that epoch
/// changes nothing either.
///
/// # Errors
/// [`TrainError`], before anything is allocated.
pub fn train_until(
    task: &TrainTask<'_>,
    data: &Dataset,
    from: Option<Checkpoint>,
    until_epoch: u32,
    control: &mut impl Control,
) -> Result<Trained, TrainError> {
    let plan = plan(task.model, &data.header().shape, data.header().targets)?;
    check_rows(data.header(), task.training.early_stop.is_some(), task.select)?;
    check_measures(data.header(), task.measures)?;
    let identity = identity(task, data.header());
    if from.as_ref().is_some_and(|checkpoint| !checkpoint.is_of(identity)) {
        return Err(TrainError::ForeignCheckpoint);
    }
    let blueprint = Blueprint::new(task.model, &plan, task.kernel.blocking());
    let state = from.unwrap_or_else(|| Checkpoint::start(task, &plan, &blueprint, identity));
    let mut trainer = Trainer::new(task, data, (plan, blueprint), state);
    let training = trainer.run(until_epoch, control);
    Ok(trainer.finish(training))
}

/// Whether the data has the rows that a training needs, with early stop or without.
///
/// # Errors
/// [`TrainError`].
pub fn check_rows(data: &Header, stops_early: bool, select: Select) -> Result<(), TrainError> {
    if data.rows(Part::Train) == 0 {
        return Err(TrainError::NoTrainingRows);
    }
    let part = watched_part(select);
    if stops_early && data.rows(part) == 0 {
        return Err(TrainError::NothingToWatch { part });
    }
    Ok(())
}

/// Whether the data has what it is to be measured by.
///
/// # Errors
/// [`TrainError`].
pub fn check_measures(data: &Header, measures: &[Measure]) -> Result<(), TrainError> {
    if measures.len() > MEASURES_MAX {
        return Err(TrainError::TooManyMeasures(measures.len()));
    }
    let unfit = measures.iter().find(|measure| !measure.fits(data.targets));
    unfit.map_or(Ok(()), |measure| Err(TrainError::Measure(*measure)))
}

fn watched_part(select: Select) -> Part {
    match select {
        Select::Validation => Part::Validation,
        Select::Test => Part::Test,
    }
}

/// A training under way: its state, and buffers that hold nothing from one epoch to the next.
struct Trainer<'a> {
    task: TrainTask<'a>,
    data: &'a Dataset,
    plan: Plan,
    blueprint: Blueprint,
    state: Checkpoint,
    network: Network,
    batch: Batch,
    meter: Meter,
    order: Vec<u32>,
}

/// Why an epoch has no report.
enum Interrupted {
    Stopped,
    Diverged,
}

impl<'a> Trainer<'a> {
    fn new(task: &TrainTask<'a>, data: &'a Dataset, (plan, blueprint): (Plan, Blueprint), state: Checkpoint) -> Self {
        let rows = task.training.batch_size.min(data.rows(Part::Train)).max(plan.evaluation_rows());
        let mut network = Network::new(task.model, &plan, &blueprint, task.kernel, rows);
        for (part, batch) in [
            (Part::Train, task.training.batch_size),
            (Part::Validation, plan.evaluation_rows()),
            (Part::Test, plan.evaluation_rows()),
        ] {
            let rows = data.rows(part);
            [batch.min(rows), rows % batch]
                .into_iter()
                .filter(|rows| *rows > 0)
                .for_each(|rows| network.expect(rows));
        }
        Self {
            task: *task,
            data,
            network,
            batch: Batch::new(data.header().targets, task.kernel, blueprint.input, rows),
            meter: Meter::new(task.measures, data, &task.reported_parts(data.header())),
            order: vec![0; data.rows(Part::Train)],
            state,
            plan,
            blueprint,
        }
    }

    fn run(&mut self, until_epoch: u32, control: &mut impl Control) -> TrainingEnd {
        while !self.state.is_last() && self.state.epoch() < until_epoch {
            let report = match self.train_epoch(control) {
                Ok(report) => report,
                Err(Interrupted::Stopped) => return TrainingEnd::Stopped(self.state.kept),
                Err(Interrupted::Diverged) => return TrainingEnd::Diverged { epoch: self.state.epoch() + 1 },
            };
            self.state.complete_epoch(report, self.task.watched(&report));
            let goes_on = control.epoch_ended(&report, &self.state);
            if !goes_on && !self.state.is_last() && self.state.epoch() < until_epoch {
                return TrainingEnd::Stopped(self.state.kept);
            }
        }
        match self.state.kept {
            Some(report) if self.state.is_last() => TrainingEnd::Complete(report),
            Some(report) => TrainingEnd::Paused(report),
            None => TrainingEnd::Stopped(None), // no epochs were asked for
        }
    }

    fn train_epoch(&mut self, control: &mut impl Control) -> Result<EpochReport, Interrupted> {
        let epoch = self.state.epoch() + 1;
        let learning_rate = self.task.learning_rate(epoch);
        control.phase(Phase::Training);
        let training_loss = self.fit(epoch, learning_rate, control)?;
        control.phase(Phase::Evaluation);
        let validation = self.score(Part::Validation, control)?;
        let test = self.score(Part::Test, control)?;
        let report = EpochReport { epoch, learning_rate, training_loss, validation, test };
        let watched_is_finite = self.task.watched_score(&report).is_none_or(|score| score.loss.is_finite());
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
            let Checkpoint { parameters, optimizer, .. } = &mut self.state;
            let rule = optimizer.begin(rate);
            let tally = self.network.train(network::Trained { parameters, optimizer, rule }, &self.batch);
            if !tally.loss.is_finite() {
                return Err(Interrupted::Diverged);
            }
            total.add(tally);
        }
        if self.state.parameters.are_finite() { Ok(total.mean_loss()) } else { Err(Interrupted::Diverged) }
    }

    fn score(&mut self, part: Part, control: &mut impl Control) -> Result<Option<Score>, Interrupted> {
        if !self.task.reports(part, self.data.header()) {
            return Ok(None);
        }
        let rows = self.plan.evaluation_rows();
        let parameters = &mut self.state.parameters;
        let go_on = || control.go_on();
        let means = Means { batch: &mut self.batch, rows, witness: &mut self.meter };
        let tally = score(&mut self.network, parameters, self.data, part, means, go_on);
        let tally = tally.ok_or(Interrupted::Stopped)?;
        Ok(Some(self.meter.score(&tally)))
    }

    fn finish(self, training: TrainingEnd) -> Trained {
        let counts = match training {
            TrainingEnd::Complete(_) | TrainingEnd::Stopped(Some(_)) => true,
            TrainingEnd::Paused(_) | TrainingEnd::Stopped(None) | TrainingEnd::Diverged { .. } => false,
        };
        let weights = counts.then(|| Weights::of(&self.state.kept_parameters, &self.plan, &self.blueprint));
        let checkpoint = matches!(training, TrainingEnd::Paused(_)).then_some(self.state);
        Trained { training, weights, checkpoint }
    }
}
