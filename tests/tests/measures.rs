//! What networks are measured by, and what is told of the best: the same on every cluster and after a resume.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

use std::fmt::Write as _;
use std::path::PathBuf;

use broadsweep_tests::lab::{Lab, tiny_with};
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::process::Ended;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
const SHORT: [(&str, &str); 2] = [("epochs = 12", "epochs = 2"), ("count = 4", "count = 2")];
const MEASURED: &str = "sampler = \"grid\"\nobjectives = [\"validation_auc\", \"validation_error\"]\n\
                        metrics = [\"f1\", \"balanced_error\", { metric = \"f1\", class = 3 }]";

/// The short study, with these lines in `[search]`.
fn study(lab: &Lab, name: &str, search: &str) -> PathBuf {
    let changes = [&SHORT[..], &[("sampler = \"grid\"", search)]].concat();
    lab.write(name, tiny_with(&changes))
}

/// The whole report of a run.
fn report(lab: &Lab, out: &str) -> Value {
    let ended = lab.command(["report", out, "--format", "json"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// A column of `trials.csv`.
fn column(outcome: &Outcome, name: &str) -> Vec<String> {
    let text = String::from_utf8(outcome.file("trials.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let place = lines.next().unwrap().iter().position(|known| *known == name);
    let place = place.unwrap_or_else(|| panic!("no column {name}: {text}"));
    lines.map(|cells| cells[place].to_owned()).collect()
}

#[test]
fn what_networks_are_measured_by_and_what_is_told_of_the_best_is_the_same_on_every_cluster() {
    let lab = Lab::new(PROGRAM);
    let study = study(&lab, "measured.toml", MEASURED);
    let first = lab.tuned(&study, "1", &["--local", "1"]);
    let details = report(&lab, "1")["details"].clone();
    for shape in ["2x1", "13x1"] {
        let outcome = lab.tuned(&study, shape, &["--local", shape, "--connect-timeout", "120"]);
        assert_eq!(outcome.digest(), first.digest(), "{shape}");
        assert_eq!(report(&lab, shape)["details"], details, "{shape}");
    }
    let driver = lab.tune(&study, "killed", &["--local", "2x1"]);
    let _ = driver.line_with("epoch done");
    driver.kill();
    let resumed = lab.resume("killed", &[]).wait();
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert_eq!((lab.outcome("killed").digest(), &report(&lab, "killed")["details"]), (first.digest(), &details));
    assert_eq!(lab.resume("1", &[]).wait().code, Some(0), "it is over");
    assert_eq!(report(&lab, "1")["details"], details);

    let [validation, test] = &details.as_array().unwrap()[..] else { panic!("{details}") };
    assert_eq!((&validation["part"], &test["part"]), (&Value::from("validation"), &Value::from("test")));
    for (part, rows, error) in [(validation, 2000, "validation_error"), (test, 10_000, "test_error")] {
        let confusions = part["confusions"].as_array().unwrap();
        let count = |is_counted: fn(&Value) -> bool| -> u64 {
            confusions.iter().filter(|pair| is_counted(pair)).map(|pair| pair["rows"].as_u64().unwrap()).sum()
        };
        assert_eq!(count(|_| true), rows);
        let wrong = count(|pair| pair["wanted"] != pair["predicted"]);
        let error_of_best = first.summary["best"][error].as_f64().unwrap();
        assert!((wrong as f64 / rows as f64 - error_of_best).abs() < 1e-12, "{wrong} of {rows} and {error_of_best}");
        let worst = part["worst_rows"].as_array().unwrap();
        assert!(worst.len() == 20 && worst.iter().all(|row| row["wanted"] != row["predicted"]), "{worst:?}");
        assert!(part["constant_guess"][error].as_f64().unwrap() > 0.85);
    }
    assert_eq!(validation["constant_guess"]["validation_auc"], Value::from(0.5));
    let areas = column(&first, "validation_auc");
    let best = areas.iter().map(|area| area.parse::<f64>().unwrap()).fold(0.0, f64::max);
    let told = first.summary["best"]["metrics"]["validation_auc"].as_f64().unwrap();
    assert!((told - best).abs() < 1e-12 && best > 0.95, "{told} and {best}");
    assert_eq!(column(&first, "validation_f1_of_3").len(), areas.len());
}

#[test]
fn what_is_measured_besides_changes_no_error() {
    let lab = Lab::new(PROGRAM);
    let [plain, measured] =
        [("plain", "sampler = \"grid\""), ("more", "sampler = \"grid\"\nmetrics = [\"auc\", \"f1\"]")]
            .map(|(name, search)| lab.tuned(&study(&lab, &format!("{name}.toml"), search), name, &["--local", "1"]));
    for name in ["validation_error", "validation_loss", "test_error"] {
        assert_eq!(column(&plain, name), column(&measured, name), "{name}");
    }
    assert!(!String::from_utf8(plain.file("trials.csv")).unwrap().contains("validation_auc"), "nobody asked for it");
}

/// A table of a straight line: the target is 1000 × a + 5000.
fn regression(lab: &Lab, rates: &str) -> PathBuf {
    let mut table = "a,b,target\n".to_owned();
    for row in 0..300 {
        let (a, b) = (f64::from(row % 17) / 8.0 - 1.0, f64::from(row % 5) / 2.0 - 1.0);
        writeln!(table, "{a},{b},{}", 10.0 * a + 5.0).unwrap();
    }
    lab.write("table.csv", table);
    lab.write(
        "numbers.toml",
        format!(
            "name = 'numbers'\n[data]\nformat = 'csv'\ntrain_file = 'table.csv'\nlabel_column = 'target'\n\
             validation_rows = 100\n[model]\nloss = 'mean_squared_error'\nlayers = [{{ kind = 'dense', units = 1 }}]\n\
             [training]\noptimizer = 'sgd'\nlearning_rate = '$rate'\nepochs = 20\nbatch_size = 10\n[search]\n\
             sampler = 'grid'\nobjectives = ['validation_r2']\n[search.space]\nrate = {{ values = {rates} }}\n"
        ),
    )
}

#[test]
fn numbers_have_r2_and_mean_absolute_error_beside_the_root_mean_square_error() {
    let lab = Lab::new(PROGRAM);
    let ended = lab.tune(&regression(&lab, "[0.1, 0.0001]"), "out", &["--local", "1"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("a constant guess gets validation R2 "), "{}", ended.stdout);
    let outcome = lab.outcome("out");
    let number = |name: &str, trial: usize| column(&outcome, name)[trial].parse::<f64>().unwrap();
    assert!(number("validation_r2", 0) > 0.999 && number("validation_mae", 0) < 0.1, "{}", outcome.summary);
    assert!(number("validation_error", 0) < 0.1 && number("validation_error", 1) > 1.0, "{}", outcome.summary);
    let details = &report(&lab, "out")["details"][0];
    assert!(details["constant_guess"]["validation_r2"].as_f64().unwrap() <= 0.0);
    assert_eq!(details["worst_rows"][0]["wanted"].as_array().unwrap().len(), 1);
}

#[test]
fn a_run_of_which_every_trial_diverged_says_what_to_try_and_ends_with_3() {
    let lab = Lab::new(PROGRAM);
    let Ended { code, stdout, stderr } = lab.tune(&regression(&lab, "[1e4, 1e5]"), "out", &["--local", "1"]).wait();
    assert_eq!(code, Some(3), "{stderr}");
    for said in [
        "2 trials diverged",
        "try smaller learning rates, as 1000, 100 or 10; those tried were 10000 and 100000",
        "scaling = \"standard\"",
        "target_scaling",
    ] {
        assert!(stdout.split_whitespace().collect::<Vec<_>>().join(" ").contains(said), "{said}: {stdout}");
    }
    assert_eq!(lab.resume("out", &[]).wait().code, Some(3), "it is over, and still has no result");
}
