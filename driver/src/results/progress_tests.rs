//! Tests of the progress: what is told, when, and how often.

use std::sync::{Arc, Mutex};

use broadsweep_common::configuration::Value;
use broadsweep_common::task::Select;

use super::*;
use crate::results::fixtures::configuration;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap();
        std::str::from_utf8(&bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

fn in_lines(trials: u32) -> (Progress, Sink) {
    let sink = Sink::default();
    (
        Progress::in_lines(trials, Loss::CrossEntropy, Select::Validation.objective().into(), Box::new(sink.clone())),
        sink,
    )
}

fn units(units: i64) -> Configuration {
    configuration(&[("fc1", Value::Integer(units))])
}

fn state() -> RunState {
    RunState { running: 4, attempts_lost: 1, attempts_failed: 2, left: Some(Duration::from_secs(130)), idle: None }
}

#[test]
fn every_stage_is_told() {
    let (mut progress, sink) = in_lines(2);
    progress.connecting(0, 2);
    progress.broadcasting(2, 2, (11_867_136, 20 << 20, 5 << 20));
    progress.tick(state());
    progress.trial_ended(TrialId(0), &units(64), Some(0.0231.into()));
    progress.println("executor 1 is lost");
    progress.trial_ended(TrialId(1), &units(128), None);
    progress.finish();
    let expected = [
        "connecting: 0 of 2 nodes answer",
        "broadcasting: 2 of 2 nodes ready, 20.0 MiB there (5.0 MiB/s), 11.3 MiB sent from here",
        "0/2 trials, 4 running, 2 min 10 s left, 1 attempt lost, 2 attempts failed",
        "1/2 trials, 4 running, 2 min 10 s left, 1 attempt lost, 2 attempts failed; best so far: 2.31 % (trial 0: fc1=64)",
        "executor 1 is lost",
        "2/2 trials, 1 attempt lost, 2 attempts failed; best so far: 2.31 % (trial 0: fc1=64)",
    ];
    assert_eq!(sink.lines(), expected);
}

#[test]
fn slots_that_wait_for_a_trial_are_told_with_the_trial() {
    let (mut progress, sink) = in_lines(2);
    progress.tick(RunState { running: 1, idle: Some((3, TrialId(7))), ..RunState::default() });
    progress.tick(RunState { running: 1, idle: Some((1, TrialId(7))), ..RunState::default() });
    progress.trial_ended(TrialId(0), &units(64), None);
    let expected = [
        "0/2 trials, 1 running, 3 slots idle until trial 7 goes on",
        "1/2 trials, 1 running, 1 slot idle until trial 7 goes on",
    ];
    assert_eq!(sink.lines(), expected);
}

#[test]
fn what_an_executor_says_of_itself_gives_the_terminal_no_orders() {
    let (mut progress, sink) = in_lines(1);
    progress.println("node:1 refuses: \u{1b}[2J\u{9b}2J\nall trials are done; going on without it");
    assert_eq!(sink.lines(), ["node:1 refuses: \\u{1b}[2J\\u{9b}2J\\nall trials are done; going on without it"]);
}

#[test]
fn the_best_so_far_is_the_one_that_the_table_will_show() {
    let (mut progress, _sink) = in_lines(9);
    for (trial, error, best) in [
        (5, None, ""),
        (4, Some(f64::NAN), ""),
        (3, Some(0.5), "best so far: 50.00 % (trial 3: fc1=3)"),
        (2, Some(0.6), "best so far: 50.00 % (trial 3: fc1=3)"),
        (6, Some(0.5), "best so far: 50.00 % (trial 3: fc1=3)"),
        (1, Some(0.5), "best so far: 50.00 % (trial 1: fc1=1)"),
        (7, Some(0.25), "best so far: 25.00 % (trial 7: fc1=7)"),
    ] {
        progress.trial_ended(TrialId(trial), &units(trial.into()), error.map(f64::into));
        assert_eq!(progress.best_text(), best);
    }
}

#[test]
fn where_stderr_is_no_terminal_lines_are_few() {
    let (mut progress, sink) = in_lines(10_000);
    for trial in 0..10_000 {
        progress.tick(state());
        progress.trial_ended(TrialId(trial), &units(1), Some(0.5.into()));
        progress.broadcasting(trial % 1000, 1000, (0, 0, 0));
    }
    let lines = sink.lines();
    let trainings: Vec<_> = lines.iter().filter(|line| line.contains(" trials")).collect();
    assert_eq!(trainings.len(), 11, "{lines:#?}");
    assert!(trainings[10].starts_with("10000/10000 trials"));
    assert_eq!(lines.len() - trainings.len(), 10, "{lines:#?}");
}

#[test]
fn a_study_without_trials_is_no_crash() {
    let (mut progress, sink) = in_lines(0);
    progress.connecting(0, 0);
    progress.tick(RunState::default());
    assert_eq!(sink.lines().len(), 2);
}

#[test]
fn the_bar_holds_trials_state_and_best() {
    let bar = ProgressBar::with_draw_target(Some(3), ProgressDrawTarget::hidden());
    let mut progress = Progress::new(
        3,
        (Loss::CrossEntropy, Select::Validation.objective().into()),
        Surface::Bar { bar: bar.clone(), stage: None },
    );
    progress.broadcasting(1, 2, (2048, 1024, 512));
    assert_eq!(bar.message(), "broadcasting: 1 of 2 nodes ready, 1.0 KiB there (512 B/s), 2.0 KiB sent from here");
    progress.trial_ended(TrialId(2), &units(64), Some(0.0231.into()));
    progress.tick(state());
    assert_eq!((bar.position(), bar.length()), (1, Some(3)));
    assert_eq!(bar.prefix(), "trials, 4 running, 2 min 10 s left, 1 attempt lost, 2 attempts failed");
    assert_eq!(bar.message(), "best so far: 2.31 % (trial 2: fc1=64)");
    progress.finish();
    assert!(bar.is_finished());
}

#[test]
fn the_templates_are_right() {
    for template in [WAITING_TEMPLATE, TRAINING_TEMPLATE] {
        assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
    }
}

#[test]
fn the_rows_of_partitions_are_counted_where_there_are_no_trials() {
    let (progress, sink) = in_lines(0);
    let mut progress = progress.of_rows(vec![100, 50]);
    progress.remember_partition(0);
    progress.tick(RunState::default());
    progress.partition_ended(1);
    let lines = sink.lines();
    assert!(lines[0].starts_with("1/2 partitions; 100 rows, 0 a second"), "{lines:?}");
    assert!(lines[1].starts_with("2/2 partitions; 150 rows, "), "{lines:?}");
    let bar = ProgressBar::hidden();
    let surface = Surface::Bar { bar: bar.clone(), stage: None };
    let objectives = Select::Validation.objective().into();
    let mut shown = Progress::new(0, (Loss::CrossEntropy, objectives), surface).of_rows(vec![100, 0]);
    shown.partition_ended(0);
    shown.tick(RunState::default());
    assert_eq!((bar.length(), bar.position(), bar.prefix().as_str()), (Some(2), 1, "partitions"));
    assert_eq!(bar.message(), "", "nobody knows how many rows the other one has");
}
