//! Tests of the table: what is in it, and how wide it is.

use broadsweep_common::configuration::Value;
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{Direction, Objective};
use broadsweep_common::task::Select;

use super::*;
use crate::results::fixtures::{at, configuration, diverged, finished, given_up, run, tested, with_own};

fn with_control(trials: Vec<TrialRecord>) -> RunRecord {
    RunRecord { control: Some(TrialId(0)), ..run(trials) }
}

/// The lines down to the empty one, without the header and its rule.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let below = text.lines().skip_while(|line| !line.trim_start().starts_with('─')).skip(1);
    below.take_while(|line| !line.is_empty()).map(|line| line.split_whitespace().collect()).collect()
}

fn many_parameters(trial: TrialRecord) -> TrialRecord {
    let names: Vec<_> = (0..12).map(|number| format!("parameter_{number}")).collect();
    let values: Vec<_> = names.iter().map(|name| (name.as_str(), Value::Real(1.0 / 3.0))).collect();
    TrialRecord { configuration: configuration(&values), ..trial }
}

#[test]
fn the_table_reads_like_this() {
    let mut slow = finished(1, 0.02);
    slow.attempts = 3;
    let record = with_control(vec![tested(finished(0, 0.03), 0.0318), tested(slow, 0.021), finished(2, 0.025)]);
    let expected = "     trial  fc1  learning_rate  validation    test  epochs  seconds  attempts
                                     error   error
─────────────────────────────────────────────────────────────────────────────
1        1  128        0.03333      2.00 %  2.10 %       2      1.8         3
2        2  256        0.03333      2.50 %               2      1.8         1
3  control   64        0.03333      3.00 %  3.18 %       2      1.8         1

best: trial 1, validation error 2.00 %, test error 2.10 %, 34 % lower than the
    control's 3.18 %
    fc1=128 learning_rate=0.03333
3 trials: 3 finished; 5 attempts in 12 s on 2 executors with 4 slots
2 attempts failed: out of luck (2 times)
broadcast: 1000 B of data, 2.0 KiB sent, 4.0 KiB between executors in 0.2 s
of 4 slots x 12.5 s: start-up 83.0 %, tail idle 8.0 %, lost attempts 4.0 %,
    training 3.5 %, broadcast 1.0 %, waiting 0.5 %
start-up cost 83.0 %: the first launch came after 500 ms, and the end 10.0 s
    after the last result; it is the same for a longer study
tail idle cost 8.0 %: trial 2 ended last, 2.0 s after it began, and nothing was
    left to place; shorter trials, or fewer slots, leave less of it
lost attempts cost 4.0 %: 2 attempts failed; an attempt that has a checkpoint
    loses less
";
    assert_eq!(table(&record, false), expected);
}

#[test]
fn the_best_ten_are_in_order_and_the_control_below_them() {
    let trials = (0..15).map(|trial| finished(trial, 0.9 - f64::from(trial) / 100.0)).collect();
    let text = table(&with_control(trials), false);
    let rows = rows(&text);
    let starts: Vec<_> = rows.iter().map(|row| row[..2].join(" ")).collect();
    let expected = ["1 14", "2 13", "3 12", "4 11", "5 10", "6 9", "7 8", "8 7", "9 6", "10 5", "15 control"];
    assert_eq!(starts, expected, "{text}");
}

#[test]
fn a_control_among_the_best_stands_there_once() {
    let text = table(&with_control(vec![finished(0, 0.2), finished(1, 0.1), finished(2, 0.3)]), false);
    let starts: Vec<_> = rows(&text).iter().map(|row| row[..2].join(" ")).collect();
    assert_eq!(starts, ["1 1", "2 control", "3 2"], "{text}");
}

#[test]
fn a_control_without_a_result_says_why() {
    for (control, word) in [(diverged(0, 1), "diverged"), (given_up(0, "lost"), "given up")] {
        let text = table(&with_control(vec![control, finished(1, 0.1)]), false);
        let last = rows(&text).pop().unwrap().join(" ");
        assert!(last.starts_with("control") && last.contains(word), "{text}");
    }
}

#[test]
fn twelve_parameters_fit_eighty_columns_below_their_trial() {
    let trials = (0..12).map(|trial| many_parameters(tested(finished(trial, 0.1), 0.1))).collect();
    let text = table(&with_control(trials), false);
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    let pairs = text.matches("parameter_11=0.3333").count();
    assert_eq!(pairs, 10 + 1, "ten rows and the best's configuration: {text}");
}

/// A trial of the first `count` of seven parameters as studies have them.
fn usual_parameters(count: usize, trial: TrialRecord) -> TrialRecord {
    let values = [
        ("activation", Value::Choice("leaky_relu".into())),
        ("batch_size", Value::Integer(128)),
        ("dropout", Value::Real(0.045_712_3)),
        ("learning_rate", Value::Real(0.001_668_123)),
        ("learning_rate_decay", Value::Real(0.951_234_5)),
        ("weight_decay", Value::Real(1.234_567e-5)),
        ("width", Value::Integer(256)),
    ];
    TrialRecord { configuration: configuration(&values[..count]), ..trial }
}

/// The table of twelve trials with so many parameters, tried more than once and tested, where the control is not among
/// the best.
fn with_parameters(count: usize) -> String {
    let trial = |trial: u32| {
        let tried = TrialRecord { attempts: 2, ..tested(finished(trial, 0.9 - f64::from(trial) / 100.0), 0.5) };
        usual_parameters(count, tried)
    };
    table(&with_control((0..12).map(trial).collect()), false)
}

#[test]
fn six_parameters_are_one_row_a_trial_on_a_hundred_columns() {
    for count in 1..=6 {
        let text = with_parameters(count);
        assert!(text.lines().all(|line| line.chars().count() <= TABLE_WIDTH_MAX), "{text}");
        let rows = rows(&text);
        assert_eq!(rows.len(), 11, "{text}");
        // Its place, its name, two errors of two words, epochs and seconds; the attempts where there is room.
        assert!(rows.iter().all(|row| row.len() - count == 8 || row.len() - count == 9), "{text}");
    }
    let six = with_parameters(6);
    assert_eq!(rows(&six)[0].join(" "), "1 11 leaky… 128 0.0457 0.0017 0.9512 1.2e-5 79.00 % 50.00 % 2 1.8", "{six}");
    assert!(six.contains("\n    activation=leaky_relu batch_size=128"), "the best is told in full: {six}");
    let header: Vec<_> = six.lines().take_while(|line| !line.starts_with('─')).collect();
    for name in ["batch_", "size", "learn…", "rate", "rate_", "decay", "weight"] {
        assert!(header.iter().any(|line| line.split_whitespace().any(|word| word == name)), "{name}: {six}");
    }
}

#[test]
fn seven_parameters_stand_below_their_trial_unless_they_are_narrow() {
    let seven = with_parameters(7);
    assert_eq!(rows(&seven).iter().filter(|row| row[0].starts_with("activation=")).count(), 11, "{seven}");
    let narrow = configuration(&["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, Value::Integer(7))));
    let text = table(&run(vec![TrialRecord { configuration: narrow, ..finished(0, 0.1) }]), false);
    assert_eq!(rows(&text)[0].join(" "), "1 0 7 7 7 7 7 7 7 10.00 % 2 1.8", "{text}");
}

#[test]
fn six_parameters_fit_whatever_they_are_called_and_hold() {
    let names =
        ["ä".repeat(64), "_".repeat(64), "a_".repeat(32), "x".repeat(64), "-".repeat(64), "ab_cd_ef_gh".into()];
    let values = [f64::MIN, f64::MIN_POSITIVE, -1.0 / 3.0, 1e300, f64::MAX, -1e-300];
    let pairs: Vec<_> = names.iter().map(String::as_str).zip(values.map(Value::Real)).collect();
    let trial = |number: u32| {
        let trial = with_own(tested(finished(number, 1.0), 1.0), "a_metric_of_its_own", -1.0 / 3.0);
        TrialRecord { configuration: configuration(&pairs), attempts: 9, ..trial }
    };
    let text = table(&with_control((0..12).map(trial).collect()), false);
    let below = text.lines().skip_while(|line| !line.starts_with('─')).skip(1);
    let widest = below.take_while(|line| !line.is_empty()).map(|line| line.chars().count()).max();
    assert!(widest <= Some(TABLE_WIDTH_MAX), "{text}");
}

#[test]
fn attempts_and_test_errors_have_columns_only_where_they_tell_something() {
    let header = |record: &RunRecord| table(record, false).lines().take(2).collect::<Vec<_>>().join("\n");
    let plain = header(&run(vec![finished(0, 0.1)]));
    assert!(plain.contains("validation") && !plain.contains("test") && !plain.contains("attempts"), "{plain}");
    let mut trial = tested(finished(0, 0.1), 0.1);
    trial.attempts = 2;
    let full = header(&run(vec![trial]));
    assert!(full.contains("test") && full.contains("attempts"), "{full}");
}

#[test]
fn a_study_that_selects_by_test_error_shows_that_alone() {
    let trial = at(finished(0, 0.5), 2, &MetricName::VALIDATION_ERROR, None);
    let trial = at(trial, 2, &MetricName::TEST_ERROR, Some(0.0123));
    let text = table(&RunRecord { objectives: Select::Test.objective().into(), ..run(vec![trial]) }, false);
    assert!(!text.contains("validation") && text.contains("1.23 %") && text.contains("no estimate"), "{text}");
}

#[test]
fn what_ranks_stands_first_and_what_else_a_trainer_measures_behind_the_errors() {
    let of =
        |trial: u32, accuracy: f64| with_own(with_own(finished(trial, 0.1), "accuracy", accuracy), "f1", 0.123_456);
    let mut record = with_control(vec![diverged(0, 1), of(1, 0.75), of(2, f64::NAN), of(3, 0.987_654_321)]);
    let metric = MetricName::new("accuracy").unwrap();
    record.objectives = Objective { metric, direction: Direction::Maximize }.into();
    let text = table(&record, false);
    let shown: Vec<_> = rows(&text).iter().map(|row| [row[1], row[4], row[5]].join(" ")).collect();
    assert_eq!(shown[..3], ["3 0.9877 10.00", "1 0.75 10.00", "2 NaN 10.00"], "{text}");
    assert!(rows(&text)[3].join(" ").starts_with("control 64 0.03333 diverged"), "{text}");
    assert!(text.contains("0.123456") && text.contains("best: trial 3, accuracy 0.9877\n"), "{text}");
}

#[test]
fn root_mean_squares_are_no_percents() {
    let record = RunRecord { loss: Loss::MeanSquaredError, ..run(vec![finished(0, 1.25)]) };
    let text = table(&record, false);
    let (errors, _) = text.split_once("of 4 slots").unwrap();
    assert!(errors.contains("1.25") && !errors.contains('%'), "{text}");
    assert!(errors.contains(" root mean ") && errors.contains("square error "), "{text}");
    assert!(text.contains("best: trial 0, validation root mean square error 1.25"), "{text}");
}

#[test]
fn there_are_no_escapes_unless_asked_for_even_from_a_choice() {
    let mut trial = finished(0, 0.1);
    trial.configuration = configuration(&[("word", Value::Choice("\u{1b}[2J\nx".repeat(50)))]);
    let record = run(vec![trial]);
    assert!(!table(&record, false).contains('\u{1b}'));
    let styled = table(&record, true);
    assert!(styled.contains("\u{1b}[1mbest: trial 0"), "{styled}");
    assert_eq!(styled.replace("\u{1b}[1m", "").replace("\u{1b}[0m", ""), table(&record, false));
}

#[test]
fn a_run_without_results_has_no_table() {
    let text = table(&run(vec![diverged(0, 1)]), false);
    assert!(text.starts_with("no trial has a result"), "{text}");
}

#[test]
fn a_number_stays_with_its_unit_at_the_end_of_a_line() {
    let words = words("waiting 1.1 %, tail idle (0.2 s); 36 MiB of 2 min 10 s x 3 slots, best: s");
    let expected = [
        "waiting", "1.1 %,", "tail", "idle", "(0.2 s);", "36 MiB", "of", "2 min", "10 s", "x", "3", "slots,",
        "best:", "s",
    ];
    assert_eq!(words, expected);
    let sentence = format!("{} 12.5 %, and so on", "x".repeat(WIDTH - 6));
    let lines = wrap(super::words(&sentence), "");
    assert_eq!(lines, ["x".repeat(WIDTH - 6), format!("{INDENT}12.5 %, and so on")]);
}
