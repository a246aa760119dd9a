//! The trainer that trains nothing: the epochs that a replay reports, which are pure, and [`run`], which waits for them
//! on a slot's thread. In a simulation `in_time` waits for them.

use std::thread;
use std::time::{Duration, Instant};

use broadsweep_common::attempt::{ArtifactName, Ended};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::Part;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::replay::{Replay, ReplayDescription, ReplayEnd};
use broadsweep_common::task::{Replicate, Segment};
use broadsweep_nn::{Control as _, Phase};

use super::trainer::{Trainer, checkpoint_of, in_words};
use crate::control::SlotControl;
use broadsweep_store::Content;

/// How long a wait lasts before the control is asked again.
const SLICE: Duration = Duration::from_millis(10);

/// The replays of a study.
pub(crate) struct ReplayTrainer {
    replays: ReplayDescription,
}

impl ReplayTrainer {
    pub(crate) fn new(replays: ReplayDescription) -> Self {
        Self { replays }
    }
}

impl Trainer for ReplayTrainer {
    fn train(
        &self,
        segment: Segment,
        configuration: &Configuration,
        checkpoint: Option<Content>,
        control: &mut SlotControl,
    ) -> Ended {
        match begin(&self.replays, segment, configuration, (checkpoint, control)) {
            Ok((replay, state)) => ended(run(&replay, state, segment.until_epoch, control), control),
            Err(reason) => Ended::failed(reason),
        }
    }

    fn measure(&self, _: Replicate, _: &Configuration, _: (Content, Part), _: &mut SlotControl) -> Ended {
        Ended::failed("a replay has no weights to measure")
    }

    fn replays(&self) -> Option<&ReplayDescription> {
        Some(&self.replays)
    }
}

/// What a segment replays, and from where.
pub(super) fn begin(
    replays: &ReplayDescription,
    Segment { replicate, .. }: Segment,
    configuration: &Configuration,
    (checkpoint, control): (Option<Content>, &mut SlotControl),
) -> Result<(Replay, ReplayState), String> {
    let replay = replays.resolve(replicate.trial, configuration).map_err(in_words)?;
    let state = checkpoint_of(checkpoint, |bytes| ReplayState::from_bytes(bytes, replicate));
    control.phase(Phase::Training);
    Ok((replay, state.unwrap_or(ReplayState::new(replicate))))
}

impl Audience for SlotControl {
    fn go_on(&mut self) -> bool {
        self.allows_a_batch()
    }

    fn epoch_ended(&mut self, metrics: Metrics, state: ReplayState) -> bool {
        self.epoch_done(state.epoch(), metrics, (state.is_last(), || state.to_bytes()))
    }
}

pub(super) fn ended(replayed: Replayed, control: &SlotControl) -> Ended {
    match replayed {
        Replayed::Complete { epoch } => Ended::Trained { epoch, artifacts: Vec::new() },
        Replayed::Paused { epoch, state } => control.trained(epoch, ArtifactName::Checkpoint, state.to_bytes()),
        Replayed::Stopped => Ended::Stopped,
        Replayed::Diverged { epoch } => Ended::Diverged { epoch },
    }
}

/// One completed epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Comes first.
    pub wait: Duration,
    /// Which epoch, counted from 1.
    pub epoch: u32,
    /// What is reported then.
    pub metrics: Metrics,
}

/// How a replay, or a segment of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// All of it is done.
    Complete {
        /// The epoch that counts.
        epoch: u32,
    },
    /// The segment is done, and epochs are left.
    Paused {
        /// The epoch that counts so far.
        epoch: u32,
        /// What the next segment goes on from.
        state: ReplayState,
    },
    /// The audience said stop.
    Stopped,
    /// It diverged.
    Diverged {
        /// In this epoch.
        epoch: u32,
    },
}

/// The completed epochs from number `first` on (counted from 1). Their reports depend on the replay alone.
pub fn steps(replay: &Replay, first: u32) -> impl Iterator<Item = Step> + use<'_> {
    (first.max(1)..=replay.epochs).map(|epoch| Step {
        wait: share(replay, epoch - 1, epoch),
        epoch,
        metrics: metrics(replay, epoch),
    })
}

/// What comes after the last step: a wait, and how the replay ends.
#[must_use]
pub fn end(replay: &Replay) -> (Duration, Replayed) {
    let wait = share(replay, replay.epochs, replay.epochs_begun());
    match replay.end {
        ReplayEnd::Complete { epoch, .. } => (wait, Replayed::Complete { epoch }),
        ReplayEnd::Diverged => (wait, Replayed::Diverged { epoch: replay.epochs_begun() }),
    }
}

/// What surrounds a replay: it is told how far things are, and may end them.
pub trait Audience {
    /// Asked while waiting. With `false` the replay ends now, and the epoch under way is lost.
    fn go_on(&mut self) -> bool;

    /// An epoch is complete. With `false` the replay ends here, and the epoch counts.
    fn epoch_ended(&mut self, metrics: Metrics, state: ReplayState) -> bool;
}

/// How far a replay is: its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayState {
    replicate: Replicate,
    /// Epochs completed.
    epoch: u32,
    /// Epochs in all; 0 as long as that is not known.
    epochs: u32,
}

/// Bytes that are no checkpoint of this replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no checkpoint of this replay")]
pub struct ForeignState;

impl ReplayState {
    /// Bytes that a state takes.
    pub const BYTES: usize = 16;

    /// The beginning.
    #[must_use]
    pub fn new(replicate: Replicate) -> Self {
        Self { replicate, epoch: 0, epochs: 0 }
    }

    /// Epochs completed.
    #[must_use]
    pub fn epoch(self) -> u32 {
        self.epoch
    }

    /// Whether nothing follows but the end.
    #[must_use]
    pub fn is_last(self) -> bool {
        self.epoch >= self.epochs
    }

    /// Sixteen bytes: the replicate, and the epochs completed.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let Replicate { trial, repeat, fold } = self.replicate;
        [trial.0, repeat, fold, self.epoch].map(u32::to_le_bytes).concat()
    }

    /// Reads what [`Self::to_bytes`] wrote for the same replicate.
    ///
    /// # Errors
    /// [`ForeignState`].
    pub fn from_bytes(bytes: &[u8], replicate: Replicate) -> Result<Self, ForeignState> {
        let (_, epoch) = bytes.split_last_chunk::<4>().ok_or(ForeignState)?;
        let state = Self { replicate, epoch: u32::from_le_bytes(*epoch), epochs: 0 };
        if state.to_bytes() == bytes { Ok(state) } else { Err(ForeignState) }
    }

    /// Learns how many epochs there are.
    pub(super) fn learn(&mut self, epochs: u32) {
        self.epochs = epochs;
    }

    /// Takes in that an epoch is complete.
    pub(super) fn completed(&mut self, epoch: u32) -> Self {
        self.epoch = epoch;
        *self
    }
}

/// Waits for each epoch that follows `state`, and reports it, until the end, until `until_epoch` or until `audience`
/// says stop.
pub fn run(replay: &Replay, mut state: ReplayState, until_epoch: u32, audience: &mut impl Audience) -> Replayed {
    state.learn(replay.epochs_begun());
    for Step { wait, epoch, metrics } in segment(replay, state, until_epoch) {
        if !rest(wait, audience) {
            return Replayed::Stopped;
        }
        let goes_on = audience.epoch_ended(metrics, state.completed(epoch));
        if !goes_on && !state.is_last() && epoch < until_epoch {
            return Replayed::Stopped;
        }
    }
    if let Some(paused) = pause(replay, state, until_epoch) {
        return paused;
    }
    let (wait, replayed) = end(replay);
    if rest(wait, audience) { replayed } else { Replayed::Stopped }
}

/// The steps that follow `state`, as far as `until_epoch`.
pub(super) fn segment(replay: &Replay, state: ReplayState, until_epoch: u32) -> impl Iterator<Item = Step> + use<'_> {
    steps(replay, state.epoch.saturating_add(1)).take_while(move |step| step.epoch <= until_epoch)
}

/// How a segment ends that leaves epochs to the next; `None` for the last one.
pub(super) fn pause(replay: &Replay, state: ReplayState, until_epoch: u32) -> Option<Replayed> {
    let counted = match replay.end {
        ReplayEnd::Complete { epoch, .. } => epoch,
        ReplayEnd::Diverged => u32::MAX,
    };
    (until_epoch < replay.epochs_begun()).then(|| Replayed::Paused { epoch: counted.min(state.epoch), state })
}

/// Waits in slices; says whether to go on. A wait of 0 asks nobody and reads no clock.
fn rest(wait: Duration, audience: &mut impl Audience) -> bool {
    if wait.is_zero() {
        return true;
    }
    let began = Instant::now();
    while let Some(left) = wait.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        if !audience.go_on() {
            return false;
        }
        thread::sleep(left.min(SLICE));
    }
    audience.go_on()
}

/// The wait after `from` epochs until `to` are over: all epochs have even shares, in sum the whole to the nanosecond.
fn share(replay: &Replay, from: u32, to: u32) -> Duration {
    let begun = u128::from(replay.epochs_begun().max(1));
    let until = |epochs: u32| replay.wait.as_nanos() * u128::from(epochs) / begun;
    Duration::from_nanos_u128(until(to) - until(from))
}

/// The epoch that counts is reported as it was given. The others are worse, the more the further away they are.
fn metrics(replay: &Replay, epoch: u32) -> Metrics {
    let (counted_epoch, counted) = match &replay.end {
        ReplayEnd::Complete { epoch, metrics } => (*epoch, metrics),
        // Of a training that diverged, no numbers are recorded.
        ReplayEnd::Diverged => {
            return Metrics::from_iter([(MetricName::LEARNING_RATE, 0.0), (MetricName::TRAINING_LOSS, 0.0)]);
        }
    };
    if epoch == counted_epoch {
        return counted.clone();
    }
    let away = f64::from(counted_epoch.abs_diff(epoch)) / f64::from(replay.epochs);
    // A fraction stays one: far away it comes near 1.
    let worse = |value: f64| value + (1.0 - value).abs() * away;
    let of = |(name, value): (&MetricName, f64)| {
        let is_the_same = *name == MetricName::LEARNING_RATE;
        (name.clone(), if is_the_same { value } else { worse(value) })
    };
    counted.iter().map(of).collect()
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
