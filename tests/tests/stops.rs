//! Runs that somebody stops or asks for more trials, and runs whose time is over: real processes.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::path::{Path, PathBuf};

use broadsweep_tests::lab::{Lab, tiny_with};
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::process::{Ended, Process};
use broadsweep_tests::wait::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// So many trials, each of five epochs that wait, and a control.
fn study(lab: &Lab, name: &str, (sampler, trials): (&str, u32), (pause_s, more): (f64, &str)) -> PathBuf {
    let text = format!(
        "name = 'searched'\nseed = 5\n[trainer]\nkind = 'replay'\nseconds = '$pause'\nepochs = 5\nerror = '$error'\n\
         [search]\nsampler = '{sampler}'\ntrials = {trials}\nparallel = 4\n{more}\n[search.space]\n\
         error = {{ range = [0.0, 1.0] }}\npause = {{ range = [{pause_s}, {}] }}\n\
         [control]\nerror = 0.5\npause = {pause_s}\n[scheduling]\ncopies = false\n",
        2.0 * pause_s
    );
    lab.write(name, text)
}

fn words(lab: &Lab, command: &str, run: &Path, flags: &[&str]) -> Process {
    lab.command([command, run.to_str().unwrap()].iter().chain(flags))
}

fn done(process: Process) -> Ended {
    let ended = process.wait();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    ended
}

/// Waits until so many trials of a run are over.
fn until_over(lab: &Lab, run: &Path, trials: u64) {
    until("some trials to be over", || {
        let told = words(lab, "status", run, &["--json"]).wait().stdout;
        let status: serde_json::Value = serde_json::from_str(&told).ok()?;
        (status["trials"]["over"].as_u64()? >= trials).then_some(())
    });
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_run_that_somebody_stops_ends_what_it_had_begun_and_goes_on_where_somebody_asks_for_more() {
    let lab = Lab::new(PROGRAM);
    for sampler in ["random", "tpe"] {
        let study = study(&lab, "stopped.toml", (sampler, 500), (0.01, ""));
        let run = lab.path(sampler);
        let driver = lab.tune(&study, sampler, &["--local", "2x1"]);
        driver.until_file(&run.join("journal"));
        until_over(&lab, &run, 3);
        let told = done(words(&lab, "stop", &run, &[]));
        assert!(told.stdout.contains("nothing more is begun"), "{}", told.stdout);
        let ended = done(driver);
        let stopped = lab.outcome(sampler);
        let finished = stopped.number("/trials/finished");
        assert!((3..400).contains(&finished), "{finished}");
        assert_eq!(finished + left_out(&stopped), stopped.number("/trials/planned"), "{sampler}: {}", ended.stderr);
        assert!(
            one_line(&ended.stdout).contains("somebody stopped the run (`broadsweep stop`) after"),
            "{}",
            ended.stdout
        );
        assert!(!run.join("wishes").read_dir().unwrap().any(|_| true), "it is granted");
        // Over, it cannot be stopped, and can be extended.
        let again = words(&lab, "stop", &run, &[]).wait();
        assert_eq!(again.code, Some(2));
        assert!(again.stderr.contains("is over: there is nothing to stop"), "{}", again.stderr);
        done(words(&lab, "extend", &run, &["--trials", "7"]));
        let extended = lab.outcome(sampler);
        assert_eq!(extended.number("/trials/finished"), finished + 7, "{sampler}");
        assert_eq!(extended.summary["changes"].as_array().unwrap().len(), 2, "{sampler}");
    }
}

fn left_out(outcome: &Outcome) -> u64 {
    outcome.summary["trials"]["left_out"].as_u64().unwrap_or(0)
}

#[test]
fn a_run_that_was_extended_is_that_of_a_study_which_had_asked_for_as_many() {
    let lab = Lab::new(PROGRAM);
    for sampler in ["random", "sobol", "tpe", "gp", "cmaes"] {
        let [few, many] =
            [12, 20].map(|trials| study(&lab, &format!("{sampler}-{trials}.toml"), (sampler, trials), (0.0005, "")));
        let at_once = lab.tuned(&many, &format!("{sampler}-at-once"), &["--local", "3x1"]);
        let out = format!("{sampler}-extended");
        let _ = lab.tuned(&few, &out, &["--local", "2x1"]);
        done(words(&lab, "extend", &lab.path(&out), &["--trials", "5"]));
        done(words(&lab, "extend", &lab.path(&out), &["--trials", "3"]));
        let extended = lab.outcome(&out);
        assert_eq!(extended.number("/trials/finished"), 21, "{sampler}");
        assert_eq!(extended.digest(), at_once.digest(), "{sampler}");
        done(lab.resume(&out, &[]));
        assert_eq!(lab.outcome(&out).digest(), at_once.digest(), "{sampler}: resumed, it stays as it is");
    }
}

#[test]
fn a_run_that_goes_on_takes_more_trials_from_its_driver() {
    let lab = Lab::new(PROGRAM);
    for sampler in ["random", "tpe"] {
        let study = study(&lab, "live.toml", (sampler, 12), (0.03, ""));
        let run = lab.path(sampler);
        let driver = lab.tune(&study, sampler, &["--local", "2x1"]);
        driver.until_file(&run.join("journal"));
        until_over(&lab, &run, 2);
        let told = done(words(&lab, "extend", &run, &["--trials", "4"]));
        assert!(told.stdout.contains("its driver adds 4 trials"), "{}", told.stdout);
        // Killed now, its next driver knows.
        driver.kill();
        done(lab.resume(sampler, &[]));
        assert_eq!(lab.outcome(sampler).number("/trials/finished"), 17, "{sampler}");
    }
}

#[test]
fn paused_trials_of_a_run_that_is_over_begin_anew_where_they_are_continued() {
    let lab = Lab::new(PROGRAM);
    for sampler in ["random", "tpe"] {
        let pruner = "pruner = { kind = 'asha', min_epochs = 1, eta = 2 }";
        let study = study(&lab, "pruned.toml", (sampler, 10), (0.001, pruner));
        let before = lab.tuned(&study, sampler, &["--local", "2x1"]);
        assert!(before.number("/trials/paused") > 0, "{sampler}");
        done(words(&lab, "extend", &lab.path(sampler), &["--trials", "20"]));
        let after = lab.outcome(sampler);
        assert_eq!(after.number("/trials/planned"), 31, "{sampler}");
        let epochs = String::from_utf8(after.file("epochs.csv")).unwrap();
        let rows = epochs.lines().map(|line| line.split(',').take(2).collect::<Vec<_>>()).collect::<Vec<_>>();
        let mut unique = rows.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), rows.len(), "{sampler}: no epoch is there twice");
    }
}

#[test]
fn a_run_whose_time_is_over_begins_nothing_more_and_says_so() {
    let lab = Lab::new(PROGRAM);
    for sampler in ["random", "tpe"] {
        let study = study(&lab, "timed.toml", (sampler, 500), (0.01, "stop = { max_time = '600ms' }"));
        let refused = lab.command(["check", study.to_str().unwrap()]).wait();
        assert_eq!(refused.code, Some(2), "{}", refused.stdout);
        assert!(refused.stderr.contains("is no span of time; write 90s"), "{}", refused.stderr);
        let study = lab.write("timed.toml", std::fs::read_to_string(study).unwrap().replace("600ms", "0.6s"));
        let ended = done(lab.tune(&study, sampler, &["--local", "2x1"]));
        let outcome = lab.outcome(sampler);
        assert!(outcome.number("/trials/finished") < 400, "{sampler}");
        assert_eq!(outcome.summary["changes"][0]["stopped"]["by_max_time"], true, "{sampler}");
        assert!(one_line(&ended.stdout).contains("`max_time` in [search] stop ended the run"), "{}", ended.stdout);
    }
}

#[test]
fn what_has_no_more_trials_is_not_extended_and_what_nobody_drives_is_stopped_later() {
    let lab = Lab::new(PROGRAM);
    let grid = lab.write(
        "grid.toml",
        "name = 'grid'\ntrainer = { kind = 'replay', seconds = 0.001, epochs = 1, error = '$e' }\n[search]\n\
         sampler = 'grid'\nspace = { e = { values = [0.1, 0.2] } }\n",
    );
    let _ = lab.tuned(&grid, "grid", &["--local", "1x1"]);
    let refused = words(&lab, "extend", &lab.path("grid"), &["--trials", "1"]).wait();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("a grid tries each of its combinations"), "{}", refused.stderr);

    let study = study(&lab, "killed.toml", ("random", 200), (0.05, ""));
    let (run, driver) = (lab.path("killed"), lab.tune(&study, "killed", &["--local", "2x1"]));
    driver.until_file(&run.join("journal"));
    until_over(&lab, &run, 1);
    driver.kill();
    let told = done(words(&lab, "stop", &run, &[]));
    assert!(told.stdout.contains("broadsweep resume"), "{}", told.stdout);
    done(lab.resume("killed", &[]));
    assert!(lab.outcome("killed").number("/trials/finished") < 20);
}

#[test]
fn networks_of_an_extended_run_are_measured_and_looked_at_as_those_of_any_other() {
    let lab = Lab::new(PROGRAM);
    let random = |trials: u32| {
        let sampler = format!("sampler = \"random\"\ntrials = {trials}");
        let changes = [("sampler = \"grid\"", sampler.as_str()), ("epochs = 12", "epochs = 2")];
        lab.write(&format!("random-{trials}.toml"), tiny_with(&changes))
    };
    let at_once = lab.tuned(&random(5), "at-once", &["--local", "2x1"]);
    let _ = lab.tuned(&random(1), "extended", &["--local", "1x1"]);
    done(words(&lab, "extend", &lab.path("extended"), &["--trials", "4"]));
    let extended = lab.outcome("extended");
    assert_eq!(extended.summary["best"], at_once.summary["best"]);
    assert!(
        extended.summary["best"]["test_error"].is_number() && extended.summary["control"]["test_error"].is_number()
    );
    for file in ["best/weights.safetensors", "best/model.onnx"] {
        assert_eq!(extended.file(file), at_once.file(file), "{file}");
    }
    let page = String::from_utf8(extended.file("report.html")).unwrap();
    assert!(page.contains("somebody asked for 4 trials more"), "the report tells of it");
}

#[test]
fn a_grid_that_was_stopped_gets_what_was_left_out_and_no_more_and_is_no_part_of_a_comparison() {
    let lab = Lab::new(PROGRAM);
    let grid = lab.write(
        "grid.toml",
        "name = 'grid'\ntrainer = { kind = 'replay', seconds = 0.02, epochs = 4, error = '$e' }\n[search]\n\
         sampler = 'grid'\nspace = { e = { range = [0.0, 1.0], count = 100 } }\n",
    );
    let (run, driver) = (lab.path("grid"), lab.tune(&grid, "grid", &["--local", "2x1"]));
    driver.until_file(&run.join("journal"));
    until_over(&lab, &run, 2);
    done(words(&lab, "stop", &run, &[]));
    done(driver);
    let stopped = lab.outcome("grid");
    let (finished, left_out) = (stopped.number("/trials/finished"), left_out(&stopped));
    assert!(left_out > 10 && finished + left_out == 100, "{finished} and {left_out}");
    done(words(&lab, "extend", &run, &["--trials", "5"]));
    assert_eq!(lab.outcome("grid").number("/trials/finished"), finished + 5);
    let ended = done(words(&lab, "extend", &run, &["--trials", "1000"]));
    assert!(ended.stderr.contains("were left out; beyond these, a grid tries each"), "{}", ended.stderr);
    assert_eq!(lab.outcome("grid").number("/trials/finished"), 100);
    let refused = words(&lab, "extend", &run, &["--trials", "1"]).wait();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);

    let timed = std::fs::read_to_string(&grid).unwrap().replace("space =", "stop = { max_time = '1h' }\nspace =");
    let timed = lab.write("timed.toml", timed);
    let refused = lab.command(["scale", timed.to_str().unwrap(), "--local", "2x1", "--sizes", "1,2"]).wait();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("a clock would end small clusters before large ones"), "{}", refused.stderr);
}
