//! Runs that train nothing, on clusters of real processes: the same results wherever they wait, and a recorded run
//! again.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use broadsweep_tests::lab::{Lab, studies, tiny_with};
use broadsweep_tests::outcome::Outcome;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// Seven trials, of which one is the control.
const GIVEN: &str = "
name = 'given'
[trainer]
kind = 'replay'
seconds = '$pause'
epochs = 4
error = '$error'
[search]
sampler = 'grid'
[search.space]
pause = { values = [0, 0.01, 0.1] }
error = { range = [0.25, 0.5], count = 2 }
[control]
pause = 0.05
error = 1
";

type Row = BTreeMap<String, String>;

fn rows(outcome: &Outcome, file: &str) -> Vec<Row> {
    csv::Reader::from_reader(&outcome.file(file)[..]).deserialize().map(Result::unwrap).collect()
}

fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap()
}

/// What a trial gave, as text: equal texts are equal bits.
fn given(row: &Row) -> Vec<&str> {
    let columns = [
        "trial",
        "outcome",
        "counted_epoch",
        "epochs",
        "training_loss",
        "validation_loss",
        "validation_error",
        "test_loss",
        "test_error",
    ];
    columns.iter().map(|column| row[*column].as_str()).collect()
}

/// `tiny.toml` with a replay of the run in `recorded` in the place of its network, without data.
fn tiny_recorded(recorded: &str) -> String {
    let text = fs::read_to_string(studies().join("tiny.toml")).unwrap();
    let start = text.find("[data]").unwrap();
    let end = text.find("[search]").unwrap();
    let mut replay = text[..start].to_owned();
    write!(replay, "[trainer]\nkind = 'replay'\nrecorded = '{recorded}/trials.csv'\nspeed = 10.0\n\n").unwrap();
    replay + &text[end..]
}

#[test]
fn a_replay_gives_what_it_was_given_in_the_time_that_it_was_given() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("given.toml", GIVEN);
    let outcome = lab.tuned(&study, "out", &["--local", "2x2"]);
    let trials = rows(&outcome, "trials.csv");
    assert_eq!((trials.len(), outcome.number("/trials/finished")), (7, 7));
    for trial in &trials {
        assert_eq!((trial["epochs"].as_str(), trial["counted_epoch"].as_str()), ("4", "4"));
        assert_eq!(trial["validation_error"], trial["error"], "{trial:?}");
        let waited = number(trial, "training_s");
        assert!(waited >= 4.0 * number(trial, "pause"), "{trial:?}");
    }
    let epochs = rows(&outcome, "epochs.csv");
    assert_eq!(epochs.len(), 7 * 4);
    let falling = |pair: &[Row]| number(&pair[0], "validation_error") >= number(&pair[1], "validation_error");
    assert!(epochs.chunks(4).all(|trial| trial.windows(2).all(falling)), "{epochs:?}");
    let best = (outcome.number("/best/trial"), outcome.summary["best"]["validation_error"].as_f64());
    assert_eq!(best, (1, Some(0.25)), "of equal errors the first");
    let best = String::from_utf8(outcome.file("best/configuration.toml")).unwrap();
    assert!(best.contains("error = 0.25"), "{best}");
    assert!(!outcome.folder.join("best/weights.safetensors").exists(), "nothing was trained");
}

#[test]
fn a_replay_gives_the_same_digest_on_one_slot_and_on_sixteen() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("given.toml", GIVEN);
    let digests = ["1x1", "2x8"].map(|shape| lab.tuned(&study, shape, &["--local", shape]).digest().to_owned());
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn ten_thousand_trials_of_no_time_are_over_soon() {
    let lab = Lab::new(PROGRAM);
    let outcome = lab.tuned(&studies().join("noop.toml"), "out", &["--local", "2x2"]);
    // Slots with nothing left to do copy the last ones that run: one a slot, where these are slow to come back.
    let copies = outcome.number("/attempts") - 10_000;
    assert_eq!(outcome.number("/trials/finished"), 10_000);
    assert!((0..=4).contains(&copies), "{copies} more attempts than trials");
}

#[test]
fn a_recorded_run_is_replayed_in_a_part_of_its_time_with_the_metrics_that_it_had() {
    let lab = Lab::new(PROGRAM);
    // The larger learning rate makes of the penalty a factor that no number survives.
    let rates = ("log_range = [0.003, 0.1], count = 4", "values = [0.01, 1e6]");
    let diverging = [rates, ("epochs = 12", "epochs = 2"), ("momentum = 0.9", "momentum = 0.9\nl2 = 0.01")];
    let study = lab.write("trained.toml", tiny_with(&diverging));
    let trained = lab.tuned(&study, "trained", &["--local", "1x2"]);
    let study = lab.write("replayed.toml", tiny_recorded("trained").replace(rates.0, rates.1));
    let replayed = lab.tuned(&study, "replayed", &["--local", "2x2"]);

    let (trained_rows, replayed_rows) = (rows(&trained, "trials.csv"), rows(&replayed, "trials.csv"));
    assert_eq!(
        trained_rows.iter().map(given).collect::<Vec<_>>(),
        replayed_rows.iter().map(given).collect::<Vec<_>>()
    );
    assert!(trained_rows.iter().any(|row| row["outcome"] == "diverged"), "{trained_rows:?}");
    for (trained, replayed) in trained_rows.iter().zip(&replayed_rows) {
        assert_eq!((&trained["learning_rate"], &trained["width"]), (&replayed["learning_rate"], &replayed["width"]));
        let recorded = number(trained, "training_s") + number(trained, "evaluation_s");
        assert!(number(replayed, "training_s") >= recorded / 10.0 - 1e-6, "{trained:?}\n{replayed:?}");
    }
    for place in ["/best/trial", "/control/trial"] {
        assert_eq!(trained.number(place), replayed.number(place));
    }
    for place in ["/best/test_error", "/control/test_error", "/error_reduction"] {
        assert_eq!(trained.summary.pointer(place), replayed.summary.pointer(place), "{place}");
    }
}

#[test]
fn a_replay_whose_driver_stays_away_stops_in_the_middle_of_its_wait() {
    let lab = Lab::new(PROGRAM);
    let pauses = ["seconds = '$pause'", "error = 0.5", "[search]", "sampler = 'grid'", "[search.space]"];
    let study =
        format!("name = 'long'\n[trainer]\nkind = 'replay'\n{}\npause = {{ values = [0, 3600] }}", pauses.join("\n"));
    let executor = lab.forgetful_executor("cache", 2, 1);
    let driver = lab.tune(&lab.write("long.toml", study), "out", &["--nodes", &executor.address]);
    // The longest trial is launched first: where the other one is done, it waits.
    let _ = driver.line_with("epoch done");
    driver.kill();
    let _ = executor.process.line_with("ended=Stopped");
}
