//! Flags that change a study or end a run early, and what the run's folder tells afterwards without any flag.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::path::Path;

use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// Trials of an hour, unless that is changed.
const STUDY: &str = "
name = 'flags' # names the folder
seed = 1
[trainer]
kind = 'replay'
seconds = 3600 # far too long
error = '$error'
[search]
sampler = 'random'
trials = 1000
[search.space]
error = { range = [0.1, 0.9] }
";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn succeeds(lab: &Lab, arguments: &[&str]) -> Ended {
    let ended = lab.command(arguments).wait();
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    ended
}

fn summary(run: &Path) -> Value {
    json(&fs::read_to_string(run.join("summary.json")).unwrap())
}

#[test]
fn what_flags_change_is_checked_run_and_kept_as_the_study() {
    let lab = Lab::new(PROGRAM);
    lab.write("study.toml", STUDY);
    let changes = ["--trials", "3", "--seed", "5", "--set", "trainer.seconds=0", "--set", "trainer.epochs=2"];
    let checked = succeeds(&lab, &[&["check", "study.toml"], &changes[..]].concat());
    assert!(checked.stdout.starts_with("flags: 3 trials (random)"), "{}", checked.stdout);
    succeeds(&lab, &[&["tune", "study.toml", "--out", "run"], &changes[..]].concat());
    let kept = fs::read_to_string(lab.path("run/study.toml")).unwrap();
    let expected = STUDY
        .replace("seed = 1", "seed = 5")
        .replace("trials = 1000", "trials = 3")
        .replace("[trainer]\n", "[trainer]\nepochs = 2\n")
        .replace("3600", "0");
    assert_eq!(kept, expected);
    let first = summary(&lab.path("run"));
    assert_eq!((&first["seed"], &first["trials"]["finished"]), (&5.into(), &3.into()));
    succeeds(&lab, &["resume", "run"]);
    assert_eq!(summary(&lab.path("run"))["results_sha256"], first["results_sha256"]);
}

#[test]
fn a_change_that_makes_no_sense_is_refused_before_anything_is_written() {
    let lab = Lab::new(PROGRAM);
    lab.write("study.toml", STUDY);
    let rows: [(&[&str], &str); 6] = [
        (&["--set", "trainer.second=1"], "unknown key `second` in [trainer]; did you mean `seconds`?"),
        (&["--set", "trainer.seconds=-1"], "study.toml (with what the flags change):6:11: [trainer] seconds is -1"),
        (&["--set", "seconds"], "`seconds` is not KEY=VALUE"),
        (&["--set", "name=two words"], "`two words` is no TOML value"),
        (&["--set", "search.sampler=grid", "--trials", "5"], "a grid, which tries every combination"),
        (&["--max-time", "90"], "`90` is no span of time; write 90s"),
    ];
    for (flags, fragment) in rows {
        let ended = lab.command([&["tune", "study.toml", "--out", "run"], flags].concat()).wait();
        assert!(ended.code == Some(2) && ended.stderr.contains(fragment), "{flags:?}: {}", ended.stderr);
        assert!(!lab.path("run").exists(), "{flags:?}: something was left behind");
    }
}

#[test]
fn a_run_whose_time_is_over_ends_in_order_and_can_be_taken_up() {
    let lab = Lab::new(PROGRAM);
    lab.write("study.toml", STUDY);
    let short = ["--set", "trainer.seconds=0.2", "--trials", "20", "--out", "run"];
    let ended = lab.command([&["tune", "study.toml", "--max-time", "1s"], &short[..]].concat()).wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    for fragment in ["ended since the time is over (1 s): flags", "to go on: broadsweep resume run"] {
        assert!(ended.stderr.contains(fragment), "{fragment}: {}", ended.stderr);
    }
    let status = succeeds(&lab, &["status", "run"]).stdout;
    assert!(status.starts_with("flags was interrupted: ") && status.contains("to go on: broadsweep resume run"));
    succeeds(&lab, &["resume", "run", "--max-time", "1h"]);
    let status = json(&succeeds(&lab, &["status", "run", "--json"]).stdout);
    assert_eq!((&status["state"], &status["trials"]["over"]), (&"over".into(), &20.into()));
    assert_eq!(status["next"], "broadsweep report run");
}

#[test]
fn a_status_is_told_while_the_run_goes_on_and_leaves_it_alone() {
    let lab = Lab::new(PROGRAM);
    lab.write("study.toml", STUDY);
    let driver = lab.command(["tune", "study.toml", "--out", "run", "-v"]);
    let _ = driver.line_with("0/1000 trials");
    let status = json(&succeeds(&lab, &["status", "run", "--json"]).stdout);
    assert_eq!(
        (&status["state"], &status["best"], &status["trials"]["planned"]),
        (&"going_on".into(), &Value::Null, &1000.into())
    );
    let status = succeeds(&lab, &["status", "run"]).stdout;
    assert!(status.starts_with("flags is going on: 0 of 1000 trials are over\n"), "{status}");
    driver.kill();
    let status = json(&succeeds(&lab, &["status", "run", "--json"]).stdout);
    assert_eq!((&status["state"], &status["next"]), (&"interrupted".into(), &"broadsweep resume run".into()));
    let nowhere = lab.command(["status", "nowhere"]).wait();
    assert!(nowhere.code == Some(2) && nowhere.stderr.contains("is no folder of a run"), "{nowhere:?}");
}

#[test]
fn a_quiet_run_says_nothing_but_its_results() {
    let lab = Lab::new(PROGRAM);
    lab.write("study.toml", STUDY);
    let short = ["--set", "trainer.seconds=0", "--trials", "3"];
    let ended = succeeds(&lab, &[&["tune", "study.toml", "--quiet", "--out", "run"], &short[..]].concat());
    assert!(ended.stderr.is_empty() && ended.stdout.contains("best: "), "{ended:?}");
    assert!(succeeds(&lab, &["resume", "run", "-q"]).stderr.is_empty());
}

#[test]
fn an_executor_uses_no_more_memory_than_it_is_given() {
    let lab = Lab::new(PROGRAM);
    let about = succeeds(&lab, &["executor", "--about", "--memory", "64MiB"]).stdout;
    assert!(about.contains("memory   0.1 GiB"), "{about}");
    for wrong in ["0", "1000TiB"] {
        let ended = lab.command(["executor", "--about", "--memory", wrong]).wait();
        assert!(ended.code == Some(2) && ended.stderr.contains("this machine has"), "{wrong}: {ended:?}");
    }
    // The study's network needs more than that, and its trials are refused.
    let executor = lab.executor_with("cache", 1, &["--memory", "1KiB"]);
    let ended = lab.tune(&lab.short(), "run", &["--nodes", &executor.address]).wait();
    assert!(ended.code != Some(0) && ended.stderr.contains("memory"), "{ended:?}");
}
