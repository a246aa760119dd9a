//! Recordings: what a good one gives, and every error with its exact message.

use std::time::Duration;

use broadsweep_common::replay::{Replay, ReplayEnd};
use broadsweep_common::task::Select;

use super::Folder;
use crate::recording;

const HEADER: &str = "trial,rate,outcome,counted_epoch,epochs,training_loss,validation_loss,validation_error,\
                      test_loss,test_error,attempts,executor,started_s,ended_s,training_s,evaluation_s,reason";
/// Trial 0: three epochs, the second counts. Trial 1: diverged in its second epoch.
const FIRST: &str = "0,0.1,finished,2,3,0.25,0.5,0.125,0.75,0.0625,1,local 0,0,9,4.5,0.5,";
const SECOND: &str = "1,9.0,diverged,,1,,,,,,1,local 0,0,9,1.0,0.0,a loss was not finite in epoch 2";

fn read(rows: &[&str], select: Select, trials: usize) -> Result<Vec<Replay>, String> {
    let text = [&[HEADER], rows].concat().join("\n");
    let folder = Folder::with(&[("trials.csv", text.into_bytes())]);
    let shown = format!("{}/", folder.path("").display()).replace("//", "/");
    recording::read(&folder.path("trials.csv"), 2.0, select, trials)
        .map_err(|error| error.to_string().replace(&shown, ""))
}

fn error(rows: &[&str]) -> String {
    read(rows, Select::Validation, 9).unwrap_err()
}

#[test]
fn a_row_becomes_what_its_trial_took_and_gave() {
    let replays = read(&[FIRST, SECOND], Select::Validation, 9).unwrap();
    let [first, second] = &replays[..] else { panic!("{replays:?}") };
    assert_eq!((first.wait, first.epochs), (Duration::from_millis(2500), 3), "at double speed");
    let ReplayEnd::Complete { epoch, metrics } = &first.end else { panic!("{first:?}") };
    let numbers: Vec<_> = metrics.iter().map(|(name, value)| (name.as_str(), value.to_bits())).collect();
    let expected = [
        ("learning_rate", 0.0_f64),
        ("training_loss", 0.25),
        ("validation_loss", 0.5),
        ("validation_error", 0.125),
        ("test_loss", 0.75),
        ("test_error", 0.0625),
    ];
    assert_eq!((*epoch, numbers), (2, expected.map(|(name, value)| (name, value.to_bits())).to_vec()));
    assert_eq!((second.wait, second.epochs, &second.end), (Duration::from_millis(500), 1, &ReplayEnd::Diverged));
}

#[test]
fn only_as_many_rows_are_read_as_there_are_trials() {
    let interrupted = "1,9.0,not_run,,0,,,,,,0,,0.0,0.0,0.0,0.0,";
    assert_eq!(read(&[FIRST, interrupted, "???"], Select::Validation, 1).unwrap().len(), 1);
    assert_eq!(read(&[FIRST, SECOND], Select::Test, 3).unwrap().len(), 2);
}

#[test]
fn a_file_that_is_no_recording_is_refused() {
    let folder = Folder::with(&[("empty", Vec::new()), ("other", b"trial,outcome\n0,finished\n".to_vec())]);
    let read = |name: &str| {
        let error = recording::read(&folder.path(name), 1.0, Select::Validation, 1).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path("x").parent().unwrap().display()), "")
    };
    assert_eq!(read("none"), "none: no such file; relative paths start at the study file's folder");
    assert_eq!(read("empty"), "empty is empty; copy or download it again");
    assert_eq!(read("other"), "other has no column `counted_epoch`; it has: trial, outcome");
}

#[test]
fn a_row_that_cannot_be_replayed_is_named() {
    let with = |from: &str, to: &str| {
        assert_eq!(FIRST.matches(from).count(), 1, "{from}");
        error(&[&FIRST.replace(from, to)])
    };
    let place = |column: &str| format!("trials.csv, line 2, column `{column}`: ");
    for (from, to, column, what) in [
        ("0,0.1", "1,0.1", "trial", "\"1\" is not 0: the trials of a run stand in their order, from 0"),
        ("0,0.1", "one,0.1", "trial", "\"one\" is not 0: the trials of a run stand in their order, from 0"),
        ("finished,2", "finished,4", "counted_epoch", "\"4\" is not a whole number from 1 to 3"),
        ("finished,2", "finished,", "counted_epoch", "\"\" is not a whole number from 1 to 3"),
        (",3,0.25", ",0,0.25", "epochs", "\"0\" is not a whole number from 1 to 100000"),
        (",3,0.25", ",1e3,0.25", "epochs", "\"1e3\" is not a whole number from 1 to 100000"),
        (",3,0.25", ",3,", "training_loss", "\"\" is not a number"),
        ("0.5,0.125", "0.5,", "validation_error", "\"\" is not a number"),
        ("4.5,", "-4.5,", "training_s", "\"-4.5\" is not a number from 0 to 100000000"),
        ("4.5,", "NaN,", "training_s", "\"NaN\" is not a number from 0 to 100000000"),
        ("4.5,0.5", "4.5,soon", "evaluation_s", "\"soon\" is not a number from 0 to 100000000"),
        (
            "finished",
            "fine",
            "outcome",
            "\"fine\" is not an outcome: `finished`, `diverged`, `given_up`, `paused`, `not_run` or `left_out`",
        ),
        (
            "finished",
            "given_up",
            "outcome",
            "this trial has no result to replay; record a run whose trials all ended",
        ),
        (
            "0.5,0.125",
            ",",
            "validation_error",
            "this trial has no such error, by which trials are compared; write select = \"test\" in [search], if it has \
             that one",
        ),
    ] {
        assert_eq!(with(from, to), format!("{}{what}", place(column)), "{from} -> {to}");
    }
    let ragged = "trials.csv, line 3: 2 fields, but the header line has 17; repair the line";
    assert_eq!(error(&[FIRST, "1,2"]), ragged);
}
