//! What runs found, written for other programs, and read as these read it. What Optuna itself makes of it,
//! `tests/outside/run optuna` says.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::BTreeMap;
use std::fs;

use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;
use broadsweep_tests::wait::until;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// Seven trials, of which one is a control beside the space.
const GIVEN: &str = "
name = 'given'
seed = 3
[trainer]
kind = 'replay'
seconds = '$pause'
epochs = 4
error = '$error'
[search]
sampler = 'grid'
[search.space]
pause = { values = [0, 0.01, 0.02] }
error = { log_range = [0.25, 0.5], count = 2 }
[control]
pause = 0.05
error = 1
[scheduling]
copies = false # of a slow one would be a second executor
";

/// Programs whose accuracy is their rate; one of them fails.
const SCRIPTED: &str = r#"
name = 'scripted'
[trainer]
kind = 'program'
command = ['sh', '-c', 'test "$BROADSWEEP_PARAM_kind" = good || exit 7; echo "accuracy=$BROADSWEEP_PARAM_rate"']
printed = ['assignments']
[search]
sampler = 'grid'
objective = 'accuracy'
direction = 'maximize'
[search.space]
rate = { range = [0.25, 0.75], count = 2 }
kind = { values = ['good', 'bad'] }
[scheduling]
failures_max = 1
backoff_ms = 1
"#;

type Row = BTreeMap<String, String>;

fn rows(table: &[u8]) -> Vec<Row> {
    csv::Reader::from_reader(table).deserialize().map(Result::unwrap).collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn export(lab: &Lab, flags: &[&str]) -> Ended {
    lab.command([&["export", "run"], flags].concat()).wait()
}

fn exported(lab: &Lab, flags: &[&str]) -> Ended {
    let ended = export(lab, flags);
    assert_eq!(ended.code, Some(0), "{flags:?}: {}", ended.stderr);
    ended
}

/// The trials of an Optuna journal, and the study that they belong to.
fn study(journal: &str) -> (Value, Vec<Value>) {
    let mut lines = lines(journal);
    let trials = lines.iter().filter(|line| line["op_code"] == 4).cloned().collect();
    (lines.remove(0), trials)
}

fn choices(trial: &Value, parameter: &str) -> Value {
    serde_json::from_str(trial["distributions"][parameter].as_str().unwrap()).unwrap()
}

#[test]
fn a_finished_run_is_told_alike_in_every_form() {
    let lab = Lab::new(PROGRAM);
    let outcome = lab.tuned(&lab.write("given.toml", GIVEN), "run", &["--local", "2x1"]);
    let said = exported(&lab, &["--optuna", "run.log", "--csv", "out.csv", "--jsonl", "out.jsonl"]).stderr;
    assert_eq!(said, "written: run.log\nwritten: out.csv\nwritten: out.jsonl\n");
    let read = |name: &str| fs::read_to_string(lab.path(name)).unwrap();
    let (known, table) = (rows(&outcome.file("trials.csv")), rows(read("out.csv").as_bytes()));
    let (told, (study, trials)) = (lines(&read("out.jsonl")), study(&read("run.log")));
    assert_eq!((known.len(), table.len(), told.len(), trials.len()), (7, 7, 7, 7));
    for (((known, row), line), trial) in known.iter().zip(&table).zip(&told).zip(&trials) {
        assert_eq!(row["trial"], known["trial"]);
        assert_eq!((row["state"].as_str(), row["executors"].as_str()), ("finished", "1"));
        for (ours, theirs) in [
            ("parameter.pause", "pause"),
            ("parameter.error", "error"),
            ("metric.validation_error", "validation_error"),
            ("metric.training_loss", "training_loss"),
            ("counted_epoch", "counted_epoch"),
            ("epochs", "epochs"),
            ("executor", "executor"),
            ("started_s", "started_s"),
            ("ended_s", "ended_s"),
            ("training_s", "training_s"),
        ] {
            assert_eq!(row[ours], known[theirs], "{ours}");
        }
        let error: f64 = known["validation_error"].parse().unwrap();
        assert_eq!((&line["metrics"]["validation_error"], &trial["value"]), (&json!(error), &json!(error)));
        assert_eq!(
            (&line["trial"], &line["origin"]),
            (&json!(known["trial"].parse::<u32>().unwrap()), &json!(row["origin"]))
        );
        assert_eq!((&trial["state"], &trial["intermediate_values"]["4"]), (&json!(1), &json!(error)));
        assert_eq!(trial["intermediate_values"].as_object().unwrap().len(), 4);
        assert!(trial["datetime_start"].as_str().unwrap() <= trial["datetime_complete"].as_str().unwrap());
    }
    assert_eq!((&study["study_name"], &study["directions"]), (&json!("given"), &json!([1])));
    let origins: Vec<_> = table.iter().map(|row| format!("{} {}", row["origin"], row["origin_number"])).collect();
    assert_eq!(origins, ["control ", "point 0", "point 1", "point 2", "point 3", "point 4", "point 5"]);
    // The control stands beside the space, and all trials are told of it.
    for trial in &trials {
        assert_eq!(choices(trial, "pause")["attributes"]["choices"], json!([0.0, 0.01, 0.02, 0.05]));
        let range = json!({ "low": 0.25, "high": 1.0, "log": true, "step": null });
        assert_eq!(choices(trial, "error")["attributes"], range);
    }
    assert_eq!(trials[0]["params"], json!({ "error": 1.0, "pause": 3.0 }));
}

#[test]
fn a_trial_that_failed_says_why_and_what_is_made_large_stays_large() {
    let lab = Lab::new(PROGRAM);
    let study_file = lab.write("scripted.toml", SCRIPTED);
    let tuned = lab.tune(&study_file, "run", &["--local", "1x1"]).wait();
    assert_eq!(tuned.code, Some(3), "{}", tuned.stderr);
    let (study, trials) = study(&exported(&lab, &["--optuna", "-"]).stdout);
    assert_eq!(study["directions"], json!([2]));
    let states: Vec<_> = trials.iter().map(|trial| (trial["params"]["kind"].as_f64(), &trial["state"])).collect();
    assert_eq!(states.iter().filter(|told| **told == (Some(0.0), &json!(1))).count(), 2, "{states:?}");
    assert_eq!(states.iter().filter(|told| **told == (Some(1.0), &json!(3))).count(), 2, "{states:?}");
    for trial in trials {
        let (value, reason) = (&trial["value"], trial["user_attrs"]["reason"].as_str());
        if trial["state"] == 1 {
            assert_eq!((value, reason), (&trial["params"]["rate"], None));
        } else {
            assert!(value.is_null() && reason.unwrap().contains("exit code 7"), "{trial}");
        }
    }
}

#[test]
fn a_run_that_is_not_over_has_trials_that_run() {
    let lab = Lab::new(PROGRAM);
    let text = "name = 'long'\n[trainer]\nkind = 'replay'\nseconds = '$s'\nerror = 0.25\n\
                [search]\nsampler = 'grid'\n[search.space]\ns = { values = [0.0, 3600.0] }\n";
    let driver = lab.tune(&lab.write("long.toml", text), "run", &["--local", "1x2"]);
    driver.until_lines("epoch done", 1);
    let states = || {
        let (_, trials) = study(&exported(&lab, &["--optuna", "-"]).stdout);
        trials.iter().map(|trial| trial["state"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    until("the end of the first trial", || (states() == [1, 0]).then_some(()));
    let _ = driver.cut_off();
    assert_eq!(states(), [1, 0], "it can be resumed");
    let told = lines(&exported(&lab, &["--jsonl", "-"]).stdout);
    assert_eq!((&told[0]["state"], &told[1]["state"]), (&json!("finished"), &json!("running")));
    assert_eq!((&told[1]["ended_s"], &told[1]["metrics"]), (&Value::Null, &json!({})));
}

#[test]
fn a_file_that_is_there_stays_unless_it_is_given_up() {
    let lab = Lab::new(PROGRAM);
    let _ = lab.tuned(&lab.write("given.toml", GIVEN), "run", &["--local", "1x2"]);
    lab.write("there.csv", "precious");
    let rows: [(&[&str], &str); 9] = [
        (&["--csv", "there.csv"], "there.csv is there already; name another file, or write over it with --force"),
        (&["--jsonl", "new.jsonl", "--csv", "there.csv"], "there.csv is there already"),
        (&["--csv", "run/journal", "--force"], "run/journal is a file that a run needs"),
        (&["--optuna", "run/../run/journal"], "is a file that a run needs"),
        (&["--csv", "run"], "cannot write run: it is a folder"),
        (&["--csv", "nowhere/out.csv"], "cannot write nowhere/out.csv: No such file or directory"),
        (&["--csv", "a", "--jsonl", "./a"], "./a is named twice, and takes one form"),
        (&["--csv", "-", "--jsonl", "-"], "the standard output is named twice"),
        (&[], "--optuna <JOURNAL.log>|--csv <FILE>|--jsonl <FILE>"),
    ];
    for (flags, fragment) in rows {
        let ended = export(&lab, flags);
        assert!(ended.code == Some(2) && ended.stderr.contains(fragment), "{flags:?}: {}", ended.stderr);
        assert!(!lab.path("new.jsonl").exists() && !lab.path("a").exists(), "{flags:?}");
    }
    assert_eq!(fs::read_to_string(lab.path("there.csv")).unwrap(), "precious");
    exported(&lab, &["--csv", "there.csv", "--force"]);
    let written = fs::read_to_string(lab.path("there.csv")).unwrap();
    assert_eq!(written, exported(&lab, &["--csv", "-"]).stdout);
    assert_eq!(written.lines().count(), 8);
    let nowhere = lab.command(["export", "nowhere", "--csv", "-"]).wait();
    assert!(nowhere.code == Some(2) && nowhere.stderr.contains("is no folder of a run"), "{nowhere:?}");
}
