//! Replays a trial: the epochs that it reports, which are pure; [`run`], which waits for them on a slot's thread; and
//! [`run_in_time`], which waits for them as a simulation says.

use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{EpochReport, Score, Training};
use broadsweep_common::replay::{Replay, ReplayEnd};

/// How long a wait lasts before the control is asked again.
const SLICE: Duration = Duration::from_millis(10);
/// The same in a simulation, where each slice costs an event.
const SLICE_IN_TIME: Duration = Duration::from_millis(50);

/// One completed epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Comes first.
    pub wait: Duration,
    /// What is reported then.
    pub report: EpochReport,
}

/// The completed epochs from number `first` on (counted from 1). Their reports depend on the replay alone.
pub fn steps(replay: &Replay, first: u32) -> impl Iterator<Item = Step> + use<> {
    let replay = *replay;
    (first.max(1)..=replay.epochs)
        .map(move |epoch| Step { wait: share(&replay, epoch - 1, epoch), report: report(&replay, epoch) })
}

/// What comes after the last step: a wait, and how the training ends.
#[must_use]
pub fn end(replay: &Replay) -> (Duration, Training) {
    let wait = share(replay, replay.epochs, replay.epochs_begun());
    match replay.end {
        ReplayEnd::Complete(counted) => (wait, Training::Complete(counted)),
        ReplayEnd::Diverged => (wait, Training::Diverged { epoch: replay.epochs_begun() }),
    }
}

/// What surrounds a replay: it is told how far things are, and may end them.
pub trait Audience {
    /// Asked while waiting. With `false` the replay ends now, and the epoch under way is lost.
    fn go_on(&mut self) -> bool;

    /// An epoch is complete. With `false` the replay ends here, and the epoch counts.
    fn epoch_ended(&mut self, report: &EpochReport, state: ReplayState) -> bool;
}

/// How far a replay is: its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayState {
    trial: TrialId,
    /// Epochs completed.
    epoch: u32,
    /// Epochs in all; 0 as long as that is not known.
    epochs: u32,
}

/// Bytes that are no checkpoint of this replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no checkpoint of this trial's replay")]
pub struct ForeignState;

impl ReplayState {
    /// The beginning.
    #[must_use]
    pub fn new(trial: TrialId) -> Self {
        Self { trial, epoch: 0, epochs: 0 }
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

    /// Eight bytes: the trial, and the epochs completed.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [self.trial.0.to_le_bytes(), self.epoch.to_le_bytes()].concat()
    }

    /// Reads what [`Self::to_bytes`] wrote for the same trial.
    ///
    /// # Errors
    /// [`ForeignState`].
    pub fn from_bytes(bytes: &[u8], trial: TrialId) -> Result<Self, ForeignState> {
        let (number, epoch) = bytes.split_first_chunk::<4>().ok_or(ForeignState)?;
        let epoch = u32::from_le_bytes(epoch.try_into().map_err(|_| ForeignState)?);
        if u32::from_le_bytes(*number) == trial.0 { Ok(Self { trial, epoch, epochs: 0 }) } else { Err(ForeignState) }
    }
}

/// Waits for each epoch that follows `state`, and reports it, until the end or until `audience` says stop.
pub fn run(replay: &Replay, mut state: ReplayState, audience: &mut impl Audience) -> Training {
    let mut completed = None;
    state.epochs = replay.epochs_begun();
    for Step { wait, report } in steps(replay, state.epoch.saturating_add(1)) {
        if !rest(wait, audience) {
            return Training::Stopped(completed);
        }
        completed = Some(report);
        state.epoch = report.epoch;
        if !audience.epoch_ended(&report, state) && !state.is_last() {
            return Training::Stopped(completed);
        }
    }
    let (wait, training) = end(replay);
    if rest(wait, audience) { training } else { Training::Stopped(completed) }
}

/// As [`run`], but `sleep` does the waiting: in a simulation there is neither a thread to block nor a clock to look at.
pub async fn run_in_time<S: Future<Output = ()>>(
    replay: &Replay,
    mut state: ReplayState,
    audience: &mut impl Audience,
    sleep: impl Fn(Duration) -> S,
) -> Training {
    let mut completed = None;
    state.epochs = replay.epochs_begun();
    for Step { wait, report } in steps(replay, state.epoch.saturating_add(1)) {
        if !rest_in_time(wait, audience, &sleep).await {
            return Training::Stopped(completed);
        }
        completed = Some(report);
        state.epoch = report.epoch;
        if !audience.epoch_ended(&report, state) && !state.is_last() {
            return Training::Stopped(completed);
        }
    }
    let (wait, training) = end(replay);
    if rest_in_time(wait, audience, &sleep).await { training } else { Training::Stopped(completed) }
}

/// As [`rest`]; nobody looks at a clock, so a slow node is one whose `sleep` takes longer than it was told.
async fn rest_in_time<S: Future<Output = ()>>(
    wait: Duration,
    audience: &mut impl Audience,
    sleep: impl Fn(Duration) -> S,
) -> bool {
    let mut left = wait;
    while !left.is_zero() {
        if !audience.go_on() {
            return false;
        }
        let slice = left.min(SLICE_IN_TIME);
        sleep(slice).await;
        left -= slice;
    }
    wait.is_zero() || audience.go_on()
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
fn report(replay: &Replay, epoch: u32) -> EpochReport {
    let counted = match replay.end {
        ReplayEnd::Complete(counted) if counted.epoch == epoch => return counted,
        ReplayEnd::Complete(counted) => counted,
        // Of a training that diverged, no numbers are recorded.
        ReplayEnd::Diverged => {
            return EpochReport { epoch, learning_rate: 0.0, training_loss: 0.0, validation: None, test: None };
        }
    };
    let away = f64::from(counted.epoch.abs_diff(epoch)) / f64::from(replay.epochs);
    // A fraction stays one: far away it comes near 1.
    let worse = |value: f64| value + (1.0 - value).abs() * away;
    let worse_score = |score: Score| Score { loss: worse(score.loss), error: worse(score.error) };
    EpochReport {
        epoch,
        learning_rate: counted.learning_rate,
        training_loss: worse(counted.training_loss),
        validation: counted.validation.map(worse_score),
        test: counted.test.map(worse_score),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(epoch: u32, error: f64) -> EpochReport {
        let validation = Some(Score { loss: error * 2.0, error });
        EpochReport { epoch, learning_rate: 0.0, training_loss: error, validation, test: None }
    }

    fn complete(wait: Duration, epochs: u32, counted: EpochReport) -> Replay {
        Replay { wait, epochs, end: ReplayEnd::Complete(counted) }
    }

    fn errors(replay: &Replay) -> Vec<f64> {
        steps(replay, 1).map(|step| step.report.validation.unwrap().error).collect()
    }

    /// Says stop at the question with this number, and notes what it is told.
    #[derive(Default)]
    struct Stopping {
        at: Option<u32>,
        asked: u32,
        epochs: Vec<u32>,
    }

    const TRIAL: TrialId = TrialId(7);

    impl Audience for Stopping {
        fn go_on(&mut self) -> bool {
            self.asked += 1;
            Some(self.asked) != self.at
        }

        fn epoch_ended(&mut self, report: &EpochReport, state: ReplayState) -> bool {
            assert_eq!(state.epoch(), report.epoch);
            self.epochs.push(report.epoch);
            true
        }
    }

    #[test]
    fn waits_are_even_and_make_up_the_whole_to_the_nanosecond() {
        let whole = Duration::from_nanos(1_000_000_007);
        for (replay, begun) in [
            (complete(whole, 7, counted(7, 0.5)), 7),
            (Replay { wait: whole, epochs: 6, end: ReplayEnd::Diverged }, 7),
            (Replay { wait: whole, epochs: 0, end: ReplayEnd::Diverged }, 1),
        ] {
            let waits: Vec<_> = steps(&replay, 1).map(|step| step.wait).chain([end(&replay).0]).collect();
            assert_eq!(waits.iter().sum::<Duration>(), whole);
            let share = whole / begun;
            let even = |wait: &Duration| wait.is_zero() || wait.abs_diff(share) <= Duration::from_nanos(1);
            assert!(waits.iter().all(even), "{waits:?}");
        }
        assert_eq!(end(&complete(whole, 7, counted(7, 0.5))).0, Duration::ZERO);
    }

    #[test]
    fn errors_fall_to_the_one_that_was_given_and_rise_after_the_epoch_that_counts() {
        for error in [0.0, 0.25, 0.999, 3.0] {
            let errors = errors(&complete(Duration::ZERO, 5, counted(3, error)));
            assert!(errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
            assert!(errors[2] < errors[3] && errors[3] < errors[4], "{errors:?}");
            assert_eq!(errors[2].to_bits(), error.to_bits());
            assert!(error > 1.0 || errors.iter().all(|error| *error <= 1.0), "{errors:?}");
        }
    }

    #[test]
    fn the_epoch_that_counts_has_the_recorded_bits_even_where_they_are_no_numbers() {
        for error in [f64::NAN, f64::INFINITY, -0.0] {
            let errors = errors(&complete(Duration::ZERO, 2, counted(2, error)));
            assert_eq!(errors[1].to_bits(), error.to_bits());
        }
    }

    #[test]
    fn going_on_from_an_epoch_gives_the_rest_of_the_same_steps() {
        let replay = complete(Duration::from_millis(10), 6, counted(5, 0.25));
        let all: Vec<_> = steps(&replay, 1).collect();
        for first in 1..=7 {
            assert_eq!(steps(&replay, first).collect::<Vec<_>>(), all[first as usize - 1..]);
        }
    }

    #[test]
    fn a_replay_without_waits_reports_every_epoch_and_asks_nobody() {
        let mut control = Stopping { at: Some(1), ..Stopping::default() };
        let training = run(&complete(Duration::ZERO, 3, counted(2, 0.5)), ReplayState::new(TRIAL), &mut control);
        assert_eq!(training, Training::Complete(counted(2, 0.5)));
        assert_eq!((control.epochs, control.asked), (vec![1, 2, 3], 0));
    }

    #[test]
    fn a_replay_lasts_as_long_as_it_says() {
        let began = Instant::now();
        let wait = Duration::from_millis(45);
        run(&complete(wait, 3, counted(3, 0.5)), ReplayState::new(TRIAL), &mut Stopping::default());
        assert!(began.elapsed() >= wait);
    }

    #[test]
    fn a_stop_is_heard_within_a_slice_of_a_long_wait() {
        let hour = Duration::from_hours(1);
        let mut control = Stopping { at: Some(3), ..Stopping::default() };
        let began = Instant::now();
        assert_eq!(
            run(&complete(hour, 1, counted(1, 0.5)), ReplayState::new(TRIAL), &mut control),
            Training::Stopped(None)
        );
        assert!(began.elapsed() < hour && control.asked == 3);
    }

    #[test]
    fn a_replay_diverges_in_the_epoch_after_the_completed_ones() {
        let mut control = Stopping::default();
        let replay = Replay { wait: Duration::ZERO, epochs: 2, end: ReplayEnd::Diverged };
        assert_eq!(run(&replay, ReplayState::new(TRIAL), &mut control), Training::Diverged { epoch: 3 });
        assert_eq!(control.epochs, [1, 2]);
    }

    #[test]
    fn a_checkpoint_is_for_one_trial_and_goes_on_after_its_epoch() {
        let replay = complete(Duration::ZERO, 4, counted(4, 0.5));
        let bytes = ReplayState { trial: TRIAL, epoch: 3, epochs: 4 }.to_bytes();
        let state = ReplayState::from_bytes(&bytes, TRIAL).unwrap();
        let mut audience = Stopping::default();
        assert_eq!(run(&replay, state, &mut audience), Training::Complete(counted(4, 0.5)));
        assert_eq!(audience.epochs, [4]);
        for foreign in [ReplayState::from_bytes(&bytes, TrialId(8)), ReplayState::from_bytes(&bytes[..7], TRIAL)] {
            assert_eq!(foreign, Err(ForeignState));
        }
    }
}
