//! Tables of runs that are known, read as others read them.

use std::collections::HashMap;

use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::Metrics;
use proptest::prelude::*;

use super::*;
use crate::results::fixtures::{
    at, configuration, curves, diverged, finished, given_up, loss, not_run, run, tested, with_own,
};

/// Each row as its cells by column.
fn parse(bytes: &[u8]) -> Vec<HashMap<String, String>> {
    csv::Reader::from_reader(bytes).deserialize().collect::<Result<_, _>>().unwrap()
}

fn header(bytes: &[u8]) -> Vec<String> {
    csv::Reader::from_reader(bytes).headers().unwrap().iter().map(str::to_owned).collect()
}

fn bits(row: &HashMap<String, String>, column: &str) -> u64 {
    row[column].parse::<f64>().unwrap().to_bits()
}

#[test]
fn a_trials_row_holds_its_configuration_its_result_and_what_it_took() {
    let bytes = trials_csv(&run(vec![tested(finished(3, 0.1), 0.2)])).unwrap();
    let columns = header(&bytes);
    assert_eq!(columns[..3], ["trial", "fc1", "learning_rate"]);
    let usual = USUAL.map(|name| name.to_string());
    assert_eq!(columns[3..], [&ENDED.map(str::to_owned)[..], &usual, &TOOK.map(str::to_owned)].concat());
    let row = &parse(&bytes)[0];
    for (column, cell) in [
        ("trial", "3"),
        ("fc1", "512"),
        ("outcome", "finished"),
        ("counted_epoch", "2"),
        ("epochs", "2"),
        ("validation_error", "0.1"),
        ("test_error", "0.2"),
        ("attempts", "1"),
        ("executor", "127.0.0.1:7070"),
        ("started_s", "0.5"),
        ("ended_s", "2.5"),
        ("training_s", "1.5"),
        ("evaluation_s", "0.25"),
        ("cpu_s", ""),
        ("reason", ""),
    ] {
        assert_eq!(row[column], cell, "{column}");
    }
    assert_eq!(bits(row, "learning_rate"), (0.1_f64 / 3.0).to_bits());
    assert_eq!(bits(row, "training_loss"), 0.3_f64.to_bits());
    assert_eq!(bits(row, "validation_loss"), loss(0.1).to_bits());
    assert_eq!(bits(row, "test_loss"), loss(0.2).to_bits());
}

#[test]
fn a_trial_without_a_result_has_empty_cells_and_its_reason() {
    let reason = "its program failed:\n\"no\", said \u{1f980}";
    let rows = parse(&trials_csv(&run(vec![diverged(0, 2), given_up(1, reason), not_run(2)])).unwrap());
    for (row, outcome) in rows.iter().zip(["diverged", "given_up", "not_run"]) {
        assert_eq!(row["outcome"], outcome);
        for column in ["counted_epoch", "training_loss", "validation_loss", "validation_error", "test_error"] {
            assert_eq!(row[column], "", "{column}");
        }
    }
    assert_eq!(rows[0]["reason"], "a loss was not finite in epoch 2");
    assert_eq!(rows[1]["reason"], reason);
    assert_eq!((rows[2]["executor"].as_str(), rows[2]["attempts"].as_str()), ("", "0"));
}

#[test]
fn a_trial_that_paused_has_what_it_measured_last_and_no_result() {
    let trial = TrialRecord { outcome: TrialOutcome::Paused { epoch: 2 }, ..finished(0, 0.1) };
    let row = &parse(&trials_csv(&run(vec![trial.clone()])).unwrap())[0];
    let cells = ["outcome", "counted_epoch", "validation_error", "reason"].map(|column| row[column].as_str());
    assert_eq!(cells, ["paused", "2", "0.1", "not continued after epoch 2"]);
    assert_eq!((trial.metric(&MetricName::VALIDATION_ERROR), trial.counted()), (None, None));
}

#[test]
fn a_parameter_never_takes_another_columns_place() {
    let names = ["epochs", "parameter.epochs", "trial", "reason", "rate", "parameter."];
    let mut trial = finished(0, 0.1);
    trial.configuration = configuration(&names.map(|name| (name, Value::Choice(format!("value of {name}")))));
    let bytes = trials_csv(&run(vec![trial])).unwrap();
    let columns = header(&bytes);
    assert_eq!(columns.iter().collect::<BTreeSet<_>>().len(), columns.len(), "{columns:?}");
    let row = &parse(&bytes)[0];
    assert_eq!(row["rate"], "value of rate");
    assert_eq!(row["epochs"], "2");
    for name in names.into_iter().filter(|name| *name != "rate") {
        assert_eq!(row[&format!("parameter.{name}")], format!("value of {name}"));
    }
}

#[test]
fn what_else_a_trainer_measures_has_columns_behind_the_usual_ones_and_takes_no_others_place() {
    let names = ["accuracy", "attempts", "epoch", "fc1", "metric.fc1", "f1 score"];
    let trial = names
        .into_iter()
        .zip(1..)
        .fold(finished(0, 0.1), |trial, (name, value)| with_own(trial, name, f64::from(value)));
    let record = run(vec![trial, finished(1, 0.2)]);
    let own = ["accuracy", "metric.attempts", "metric.epoch", "f1 score", "metric.fc1", "metric.metric.fc1"];
    for (bytes, first) in [(trials_csv(&record).unwrap(), 11), (epochs_csv(&record).unwrap(), 8)] {
        let columns = header(&bytes);
        assert_eq!(columns[first..first + own.len()], own);
        assert_eq!(columns.iter().collect::<BTreeSet<_>>().len(), columns.len(), "{columns:?}");
        let told: Vec<_> = parse(&bytes).iter().map(|row| row["metric.fc1"].clone()).collect();
        assert!(told.contains(&"4.0".to_owned()) && told.contains(&String::new()), "{told:?}");
    }
}

#[test]
fn a_parameter_that_a_configuration_lacks_is_an_empty_cell() {
    let mut control = finished(0, 0.1);
    control.configuration = configuration(&[("momentum", Value::Real(0.9))]);
    let rows = parse(&trials_csv(&run(vec![control, finished(1, 0.1)])).unwrap());
    assert_eq!((rows[0]["momentum"].as_str(), rows[0]["fc1"].as_str()), ("0.9", ""));
    assert_eq!((rows[1]["momentum"].as_str(), rows[1]["fc1"].as_str()), ("", "128"));
}

#[test]
fn every_attempt_has_a_row_with_the_reason_of_its_end() {
    let mut trial = finished(4, 0.1);
    trial.attempts = 2;
    let mut record = run(vec![trial, not_run(5)]);
    record.attempts[1].used = Some(Used { cpu_us: 2_500_000, memory_peak_bytes: 4096 });
    let bytes = attempts_csv(&record).unwrap();
    assert_eq!(header(&bytes), ATTEMPT_COLUMNS);
    let shown: Vec<_> = parse(&bytes)
        .iter()
        .map(|row| ["attempt", "cpu_s", "memory_peak_bytes", "end", "reason"].map(|name| row[name].clone()))
        .collect();
    assert_eq!(shown, [["t4.1", "", "", "failed", "out of luck"], ["t4.2", "2.5", "4096", "completed", ""]]);
}

#[test]
fn an_attempt_is_told_with_the_trial_of_its_task_if_it_has_one() {
    let mut record = run(vec![finished(0, 0.1), finished(1, 0.1), finished(2, 0.1)]);
    // With a pruner tasks are segments of trials.
    record.tasks[1] = Purpose::Training(TrialId(0));
    record.tasks[2] = Purpose::Application { partition: 3 };
    let rows = parse(&attempts_csv(&record).unwrap());
    let shown: Vec<_> = rows.iter().map(|row| (row["task"].as_str(), row["trial"].as_str())).collect();
    assert_eq!(shown, [("0", "0"), ("1", "0"), ("2", "")]);
}

#[test]
fn every_epoch_has_a_row() {
    let trial = at(finished(4, 0.1), 2, &MetricName::VALIDATION_ERROR, None);
    let trial = at(trial, 2, &MetricName::TEST_ERROR, Some(0.7));
    let bytes = epochs_csv(&run(vec![trial, not_run(5), given_up(6, "lost")])).unwrap();
    let usual = "trial,epoch,learning_rate,training_loss,validation_loss,validation_error,test_loss,test_error";
    assert_eq!(header(&bytes), usual.split(',').collect::<Vec<_>>());
    let rows = parse(&bytes);
    let shown: Vec<_> = rows.iter().map(|row| (row["trial"].as_str(), row["epoch"].as_str())).collect();
    assert_eq!(shown, [("4", "1"), ("4", "2"), ("6", "1")]);
    assert_eq!((rows[0]["validation_error"].as_str(), rows[0]["test_error"].as_str()), ("0.5", ""));
    assert_eq!((rows[1]["validation_error"].as_str(), rows[1]["test_error"].as_str()), ("", "0.7"));
}

proptest! {
    #[test]
    fn numbers_parse_back_to_the_same_bits(bits_of in proptest::array::uniform4(any::<u64>())) {
        let [rate, training_loss, loss, error] = bits_of.map(f64::from_bits);
        let metrics = Metrics::from_iter([
            (MetricName::LEARNING_RATE, rate), (MetricName::TRAINING_LOSS, training_loss),
            (MetricName::VALIDATION_LOSS, loss), (MetricName::VALIDATION_ERROR, error),
        ]);
        let mut trial = finished(0, 0.1);
        trial.configuration = configuration(&[("rate", Value::Real(rate))]);
        trial.outcome = TrialOutcome::Finished { epoch: 1 };
        trial.curves = curves([metrics]);
        let run = run(vec![trial]);
        let same = |cell: &str, number: f64| {
            let parsed: f64 = cell.parse().unwrap();
            parsed.to_bits() == number.to_bits() || (parsed.is_nan() && number.is_nan())
        };
        for row in [&parse(&trials_csv(&run).unwrap())[0], &parse(&epochs_csv(&run).unwrap())[0]] {
            prop_assert!(same(&row["training_loss"], training_loss));
            prop_assert!(same(&row["validation_loss"], loss));
            prop_assert!(same(&row["validation_error"], error));
        }
        prop_assert!(same(&parse(&trials_csv(&run).unwrap())[0]["rate"], rate));
        prop_assert!(same(&parse(&epochs_csv(&run).unwrap())[0]["learning_rate"], rate));
    }

    #[test]
    fn any_name_and_any_choice_reads_back(name in "[a-z,\"\n\r' ]{1,12}", word in any::<String>()) {
        let mut first = finished(0, 0.1);
        first.configuration = configuration(&[(name.as_str(), Value::Choice(word.clone()))]);
        let rows = parse(&trials_csv(&run(vec![first, finished(1, 0.1)])).unwrap());
        prop_assert_eq!(rows.len(), 2);
        prop_assert_eq!(&rows[0][&parameter_column(&name)], &word);
        prop_assert_eq!(rows[1]["trial"].parse::<u32>().map(TrialId), Ok(TrialId(1)));
    }
}
