//! A training between two epochs: all that the next one starts from, and its bytes.
//!
//! | bytes | hold |
//! |---|---|
//! | 8 | `MAGIC`, which ends with the layout's version |
//! | 4 | length of the header, a little-endian u32 |
//! | 264 at most | `Header`, by the codec |
//! | 4 a value | trained parameters, statistics, first and second moments, little-endian f32 as the kernel has them |
//! | 4 a value | only if an older epoch counts: its trained parameters and statistics |
//!
//! The arrays stay out of the codec, whose limit they may exceed. Bytes come over the wire and from disk: what they
//! claim is held against task, data and plan before anything is allocated.

use std::mem;

use super::report::{EpochReport, Score};
use broadsweep_common::codec::{self, CodecError};
use broadsweep_common::dataset::{self, Part};
use broadsweep_common::ids::Digest;
use broadsweep_common::training::Training;
use serde::{Deserialize, Serialize};

use super::blueprint::Blueprint;
use super::early_stop::{Course, Watch};
use super::optimizer::{OptimizerState, moments};
use super::parameters::Parameters;
use super::plan::{Plan, plan};
use super::shape::ShapeError;
use super::train_task::TrainTask;

const MAGIC: [u8; 8] = *b"BSCKPT\x00\x03";
/// Magic and length of the header.
const PREFIX_BYTES: usize = 12;
/// Of the longest header: one with a watch, and with scores and all measures of both parts.
const HEADER_BYTES_MAX: u64 = 264;

/// A training between two epochs. Whatever goes on from it ends in the bits of the training that it was taken from.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    identity: Digest,
    /// Epochs that the training has at most.
    epochs_max: u32,
    pub(super) parameters: Parameters,
    pub(super) optimizer: OptimizerState,
    watch: Option<Watch>,
    /// Epochs completed.
    epoch: u32,
    /// The epoch that counts so far, with its weights; the copy's memory is there from the start.
    pub(super) kept: Option<EpochReport>,
    pub(super) kept_parameters: Parameters,
}

/// Bytes that are no checkpoint of this training.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The model itself has no shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// It begins otherwise.
    #[error("not a checkpoint in this version's layout")]
    Magic,
    /// The header cannot be read.
    #[error("the checkpoint's header {0}")]
    Header(#[from] CodecError),
    /// It was taken of something else.
    #[error("the checkpoint is of another model, training, seed, kernel or shape of data")]
    Foreign,
    /// No epoch of this training leaves this behind.
    #[error("the checkpoint was not made by this training: {what} cannot be")]
    Impossible {
        /// The first thing that is wrong.
        what: &'static str,
    },
    /// Cut or lengthened.
    #[error("the checkpoint's numbers take {got} bytes; they should take {want}")]
    Length {
        /// Bytes after the header.
        got: u64,
        /// Bytes of the model's numbers.
        want: u64,
    },
}

/// All but the arrays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    identity: Digest,
    epoch: u32,
    steps: u64,
    course: Option<Course>,
    kept: Option<EpochReport>,
}

/// Names all that decides a training's bits, but for the data's contents: a run has one data set.
pub(super) fn identity(task: &TrainTask<'_>, data: &dataset::Header) -> Digest {
    // The debug form holds every field, also those that are yet to come, and floats in digits that tell all of them
    // apart. A build that writes it otherwise refuses the checkpoints of this one, which is safe.
    Digest::of(format!("broadsweep checkpoint v3 {task:?} {data:?}").as_bytes())
}

impl Checkpoint {
    /// Before the first epoch.
    pub(super) fn start(task: &TrainTask<'_>, plan: &Plan, blueprint: &Blueprint, identity: Digest) -> Self {
        let parameters = Parameters::initialize(task.model, plan, blueprint, task.trial_seed);
        Self {
            identity,
            epochs_max: task.training.epochs,
            kept_parameters: parameters.clone(),
            parameters,
            optimizer: OptimizerState::new(task.training, blueprint),
            watch: task.training.early_stop.map(Watch::new),
            epoch: 0,
            kept: None,
        }
    }

    /// Ends an epoch, whose weights are in place; keeps them if the epoch counts.
    pub(super) fn complete_epoch(&mut self, report: EpochReport, watched: Option<f64>) {
        self.epoch += 1;
        let counts = match (&mut self.watch, watched) {
            (Some(watch), Some(watched)) => watch.see(watched),
            _ => true,
        };
        if counts {
            self.kept = Some(report);
            self.kept_parameters.copy_from(&self.parameters);
        }
    }

    /// Epochs completed.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether the training ends with this epoch: it was the last one asked for, or early stop ruled to stop.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.epoch >= self.epochs_max || self.watch.as_ref().is_some_and(Watch::rules_to_stop)
    }

    pub(super) fn is_of(&self, identity: Digest) -> bool {
        self.identity == identity
    }

    /// The bytes that [`Checkpoint::from_bytes`] reads. The same training gives the same ones after the same epoch.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = self.header_bytes();
        let values: usize = self.arrays().map(<[f32]>::len).sum();
        let mut bytes = vec![0; PREFIX_BYTES + header.len() + 4 * values];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..PREFIX_BYTES].copy_from_slice(&(header.len() as u32).to_le_bytes());
        let (front, mut body) = bytes.split_at_mut(PREFIX_BYTES + header.len());
        front[PREFIX_BYTES..].copy_from_slice(&header);
        for array in self.arrays() {
            let (bytes, rest) = mem::take(&mut body).split_at_mut(4 * array.len());
            let (words, _) = bytes.as_chunks_mut::<4>();
            words.iter_mut().zip(array).for_each(|(word, value)| *word = value.to_le_bytes());
            body = rest;
        }
        bytes
    }

    /// Reads a checkpoint of `task` on this data back.
    ///
    /// # Errors
    /// [`CheckpointError`], if the bytes are not what [`Checkpoint::to_bytes`] gives after an epoch of this task.
    /// Other finite numbers in the arrays are not noticed: whoever keeps checkpoints names them by their digest.
    pub fn from_bytes(bytes: &[u8], task: &TrainTask<'_>, data: &dataset::Header) -> Result<Self, CheckpointError> {
        let plan = plan(task.model, &data.shape, data.targets)?;
        let blueprint = Blueprint::new(task.model, &plan, task.kernel.blocking());
        let (header, body) = Header::read(bytes)?;
        let identity = identity(task, data);
        if header.identity != identity {
            return Err(CheckpointError::Foreign);
        }
        let watch = header.check(task, data)?;
        let (got, want) = (body.len() as u64, array_bytes(&blueprint, task.training, header.counts_an_older_epoch()));
        if got != want {
            return Err(CheckpointError::Length { got, want });
        }
        let zeros = Parameters::zeros(&blueprint);
        let mut checkpoint = Self {
            identity,
            epochs_max: task.training.epochs,
            kept_parameters: zeros.clone(),
            parameters: zeros,
            optimizer: OptimizerState::new(task.training, &blueprint),
            watch,
            epoch: header.epoch,
            kept: header.kept,
        };
        checkpoint.read_arrays(body, &header);
        checkpoint.check_arrays()?;
        Ok(checkpoint)
    }

    #[expect(clippy::expect_used, reason = "the header's size is bounded, and far below the codec's limit")]
    fn header_bytes(&self) -> Vec<u8> {
        let course = self.watch.as_ref().map(Watch::course);
        let Self { identity, epoch, kept, .. } = *self;
        let header = Header { identity, epoch, steps: self.optimizer.steps(), course, kept };
        codec::encode(&header).expect("a header is encoded")
    }

    /// In the order of the layout.
    fn arrays(&self) -> impl Iterator<Item = &[f32]> {
        let [first, second] = self.optimizer.moments();
        let Parameters { trained, statistics } = &self.parameters;
        let is_older = self.kept.is_some_and(|report| report.epoch != self.epoch);
        let older = is_older.then_some([&self.kept_parameters.trained[..], &self.kept_parameters.statistics]);
        [trained, statistics, first, second].into_iter().chain(older.into_iter().flatten())
    }

    /// `body` has to be as long as the layout says.
    fn read_arrays(&mut self, mut body: &[u8], header: &Header) {
        let mut fill = |array: &mut [f32]| {
            let (bytes, rest) = body.split_at(4 * array.len());
            let (words, _) = bytes.as_chunks::<4>();
            array.iter_mut().zip(words).for_each(|(slot, &word)| *slot = f32::from_le_bytes(word));
            body = rest;
        };
        fill(&mut self.parameters.trained);
        fill(&mut self.parameters.statistics);
        self.optimizer.resume(header.steps, &mut fill);
        if header.counts_an_older_epoch() {
            fill(&mut self.kept_parameters.trained);
            fill(&mut self.kept_parameters.statistics);
        } else {
            self.kept_parameters.copy_from(&self.parameters);
        }
    }

    /// An epoch that leaves other numbers behind is a divergence.
    fn check_arrays(&self) -> Result<(), CheckpointError> {
        require(self.parameters.are_finite() && self.kept_parameters.are_finite(), "a weight that is not finite")?;
        require(self.optimizer.is_possible(), "a moment of the optimizer")
    }
}

impl Header {
    /// The header, and the bytes after it.
    fn read(bytes: &[u8]) -> Result<(Self, &[u8]), CheckpointError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(CheckpointError::Magic)?;
        let (length, rest) = rest.split_first_chunk().ok_or(CheckpointError::Magic)?;
        let length = u32::from_le_bytes(*length) as usize;
        let what = "the length of its header";
        let (header, body) = rest.split_at_checked(length).ok_or(CheckpointError::Impossible { what })?;
        Ok((codec::decode(header)?, body))
    }

    /// Compares all with what the epochs of `task` leave behind; gives back the watch that goes on.
    fn check(&self, task: &TrainTask<'_>, data: &dataset::Header) -> Result<Option<Watch>, CheckpointError> {
        let training = task.training;
        require((1..=training.epochs).contains(&self.epoch), "its epoch")?;
        let batches = data.rows(Part::Train).div_ceil(training.batch_size) as u64;
        require(self.steps == u64::from(self.epoch) * batches, "its number of steps")?;
        let what = "the epoch that counts";
        let kept = self.kept.filter(|kept| self.may_keep(kept, task, data));
        let kept = kept.ok_or(CheckpointError::Impossible { what })?;
        match (training.early_stop, self.course, task.watched(&kept)) {
            (None, None, _) => require(kept.epoch == self.epoch, what).map(|()| None),
            (Some(rule), Some(course), Some(watched)) => Watch::resume(rule, course, self.epoch, watched)
                .map(Some)
                .ok_or(CheckpointError::Impossible { what: "the course of early stop" }),
            _ => Err(CheckpointError::Impossible { what: "the presence of early stop" }),
        }
    }

    /// Whether an epoch can have had this report and not be a divergence.
    fn may_keep(&self, report: &EpochReport, task: &TrainTask<'_>, data: &dataset::Header) -> bool {
        let fits = |part, score: Option<Score>| {
            let is_whole = score.is_none_or(|score| score.further.as_slice().len() == task.measures.len());
            score.is_some() == task.reports(part, data) && is_whole
        };
        let is_finite = |score: Score| score.loss.is_finite() && score.error.is_finite();
        (1..=self.epoch).contains(&report.epoch)
            && report.learning_rate.to_bits() == task.learning_rate(report.epoch).to_bits()
            && report.training_loss.is_finite()
            && fits(Part::Validation, report.validation)
            && fits(Part::Test, report.test)
            && report.validation.is_none_or(is_finite)
            && task.watched_score(report).is_none_or(is_finite)
    }

    fn counts_an_older_epoch(&self) -> bool {
        self.kept.is_some_and(|kept| kept.epoch != self.epoch)
    }
}

impl Blueprint {
    /// Bytes that a checkpoint of this training takes, at most.
    pub(super) fn checkpoint_bytes(&self, training: &Training) -> u64 {
        PREFIX_BYTES as u64 + HEADER_BYTES_MAX + array_bytes(self, training, training.early_stop.is_some())
    }
}

/// A plan's sizes are bounded: nothing here comes near 2^64.
fn array_bytes(blueprint: &Blueprint, training: &Training, an_older_epoch_counts: bool) -> u64 {
    let copies = if an_older_epoch_counts { 2 } else { 1 };
    let [trained, statistics] = blueprint.run_lengths().map(|values| values as u64);
    4 * (copies * (trained + statistics) + moments(training.optimizer) * trained)
}

fn require(holds: bool, what: &'static str) -> Result<(), CheckpointError> {
    if holds { Ok(()) } else { Err(CheckpointError::Impossible { what }) }
}
