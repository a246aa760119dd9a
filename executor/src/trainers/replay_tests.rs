//! What a replay reports, in one go and in segments, and how it ends.

use broadsweep_common::ids::TrialId;

use super::*;

fn counted(epoch: u32, error: f64) -> ReplayEnd {
    let metrics = Metrics::from_iter([
        (MetricName::LEARNING_RATE, 0.125),
        (MetricName::TRAINING_LOSS, error),
        (MetricName::VALIDATION_LOSS, error * 2.0),
        (MetricName::VALIDATION_ERROR, error),
    ]);
    ReplayEnd::Complete { epoch, metrics }
}

fn complete(wait: Duration, epochs: u32, end: ReplayEnd) -> Replay {
    Replay { wait, epochs, end }
}

fn values(replay: &Replay, name: &MetricName) -> Vec<f64> {
    steps(replay, 1).map(|step| step.metrics.get(name).unwrap()).collect()
}

fn errors(replay: &Replay) -> Vec<f64> {
    values(replay, &MetricName::VALIDATION_ERROR)
}

/// Says stop at the question with this number, and notes what it is told.
#[derive(Default)]
struct Stopping {
    at: Option<u32>,
    asked: u32,
    epochs: Vec<u32>,
    reports: Vec<Metrics>,
}

const REPLICATE: Replicate = Replicate { trial: TrialId(7), repeat: 1, fold: 0 };

fn run_all(replay: &Replay, audience: &mut impl Audience) -> Replayed {
    run(replay, ReplayState::new(REPLICATE), u32::MAX, audience)
}

impl Audience for Stopping {
    fn go_on(&mut self) -> bool {
        self.asked += 1;
        Some(self.asked) != self.at
    }

    fn epoch_ended(&mut self, metrics: Metrics, state: ReplayState) -> bool {
        self.epochs.push(state.epoch());
        self.reports.push(metrics);
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
    let replayed = run_all(&complete(Duration::ZERO, 3, counted(2, 0.5)), &mut control);
    assert_eq!(replayed, Replayed::Complete { epoch: 2 });
    assert_eq!((control.epochs, control.asked), (vec![1, 2, 3], 0));
}

#[test]
fn a_replay_lasts_as_long_as_it_says() {
    let began = Instant::now();
    let wait = Duration::from_millis(45);
    run_all(&complete(wait, 3, counted(3, 0.5)), &mut Stopping::default());
    assert!(began.elapsed() >= wait);
}

#[test]
fn a_stop_is_heard_within_a_slice_of_a_long_wait() {
    let hour = Duration::from_hours(1);
    let mut control = Stopping { at: Some(3), ..Stopping::default() };
    let began = Instant::now();
    assert_eq!(run_all(&complete(hour, 1, counted(1, 0.5)), &mut control), Replayed::Stopped);
    assert!(began.elapsed() < hour && control.asked == 3);
}

#[test]
fn a_replay_diverges_in_the_epoch_after_the_completed_ones() {
    let mut control = Stopping::default();
    let replay = Replay { wait: Duration::ZERO, epochs: 2, end: ReplayEnd::Diverged };
    assert_eq!(run_all(&replay, &mut control), Replayed::Diverged { epoch: 3 });
    assert_eq!(control.epochs, [1, 2]);
}

#[test]
fn other_epochs_have_the_step_size_of_the_one_that_counts_and_worse_numbers_of_every_other_name() {
    let replay = complete(Duration::ZERO, 4, counted(3, 0.25));
    assert_eq!(values(&replay, &MetricName::LEARNING_RATE), [0.125; 4]);
    assert_eq!(values(&replay, &MetricName::VALIDATION_ERROR), [0.625, 0.4375, 0.25, 0.4375]);
    assert_eq!(values(&replay, &MetricName::VALIDATION_LOSS), [0.75, 0.625, 0.5, 0.625]);
    let diverged = Replay { wait: Duration::ZERO, epochs: 1, end: ReplayEnd::Diverged };
    let zeros = Metrics::from_iter([(MetricName::LEARNING_RATE, 0.0), (MetricName::TRAINING_LOSS, 0.0)]);
    assert_eq!(steps(&diverged, 1).next().unwrap().metrics, zeros);
}

#[test]
fn a_checkpoint_is_for_one_replicate_and_goes_on_after_its_epoch() {
    let replay = complete(Duration::ZERO, 4, counted(4, 0.5));
    let bytes = ReplayState { replicate: REPLICATE, epoch: 3, epochs: 4 }.to_bytes();
    let state = ReplayState::from_bytes(&bytes, REPLICATE).unwrap();
    let mut audience = Stopping::default();
    assert_eq!(run(&replay, state, u32::MAX, &mut audience), Replayed::Complete { epoch: 4 });
    assert_eq!(audience.epochs, [4]);
    let other = |change: fn(&mut Replicate)| {
        let mut other = REPLICATE;
        change(&mut other);
        ReplayState::from_bytes(&bytes, other)
    };
    for foreign in [
        other(|it| it.trial = TrialId(8)),
        other(|it| it.repeat = 2),
        other(|it| it.fold = 1),
        ReplayState::from_bytes(&bytes[..7], REPLICATE),
        ReplayState::from_bytes(&[], REPLICATE),
    ] {
        assert_eq!(foreign, Err(ForeignState));
    }
}

#[test]
fn a_replay_in_segments_reports_and_ends_like_one_in_one_go() {
    let diverged = Replay { wait: Duration::ZERO, epochs: 4, end: ReplayEnd::Diverged };
    for replay in [complete(Duration::ZERO, 4, counted(2, 0.5)), diverged] {
        let mut straight = Stopping::default();
        let end = run_all(&replay, &mut straight);
        for rungs in [&[1, 3][..], &[2, 2], &[3, 4], &[9]] {
            let (mut state, mut audience) = (ReplayState::new(REPLICATE), Stopping::default());
            let mut ended = None;
            for &rung in rungs.iter().chain(&[u32::MAX]) {
                match run(&replay, state, rung, &mut audience) {
                    Replayed::Paused { epoch, state: paused } => {
                        assert_eq!(paused.epoch(), rung);
                        assert!(epoch <= rung);
                        state = ReplayState::from_bytes(&paused.to_bytes(), REPLICATE).unwrap();
                    }
                    end => {
                        ended = Some(end);
                        break;
                    }
                }
            }
            assert_eq!(ended, Some(end), "{rungs:?}");
            assert_eq!(audience.epochs, straight.epochs, "{rungs:?}");
            assert_eq!(audience.reports, straight.reports, "{rungs:?}");
        }
    }
}
