//! Studies whose parameters are there only where they mean something: trained, told of, and gone on with.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

use std::fmt::Write as _;
use std::path::PathBuf;

use broadsweep_tests::lab::Lab;
use broadsweep_tests::outcome::Outcome;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// A straight line, learnt by one or two layers.
fn study(lab: &Lab) -> PathBuf {
    let mut table = "a,b,target\n".to_owned();
    for row in 0..300 {
        let (a, b) = (f64::from(row % 17) / 8.0 - 1.0, f64::from(row % 5) / 2.0 - 1.0);
        writeln!(table, "{a},{b},{}", a - b).unwrap();
    }
    lab.write("table.csv", table);
    lab.write(
        "branches.toml",
        "name = 'branches'\n[data]\nformat = 'csv'\ntrain_file = 'table.csv'\nlabel_column = 'target'\n\
         validation_rows = 100\n[model]\nloss = 'mean_squared_error'\nlayers = [\n\
         { kind = 'dense', units = '$units_1', activation = 'relu' },\n\
         { kind = 'dense', units = '$units_2', activation = 'relu', if = '$second' },\n\
         { kind = 'dense', units = 1 },\n]\n\
         [training]\noptimizer = '$optimizer'\nmomentum = '$momentum'\nlearning_rate = 0.01\nepochs = 2\n\
         [search]\nsampler = 'grid'\nconstraints = ['units_2 <= units_1']\n\
         initial = [{ second = true, units_1 = 12, units_2 = 12, optimizer = 'adam' }]\n\
         [search.space]\nsecond = { values = [false, true] }\nunits_1 = { range = [4, 8], step = 4 }\n\
         units_2 = { values = [4, 8], when = { second = true } }\noptimizer = { values = ['adam', 'sgd'] }\n\
         momentum = { range = [0.0, 0.9], step = 0.45, when = { optimizer = 'sgd' } }\n\
         [control]\nsecond = false\nunits_1 = 4\noptimizer = 'adam'\n",
    )
}

/// Of each trial, what `trials.csv` says of these columns.
fn cells(table: &str, names: &[&str]) -> Vec<Vec<String>> {
    let mut lines = table.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let places: Vec<_> = names.iter().map(|name| header.iter().position(|known| known == name).unwrap()).collect();
    lines.map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect()
}

#[test]
fn what_is_absent_is_an_empty_cell_and_a_run_goes_on_with_it_to_the_same_numbers() {
    let lab = Lab::new(PROGRAM);
    let study = study(&lab);
    let outcome = lab.tuned(&study, "whole", &["--local", "1"]);
    let table = String::from_utf8(outcome.file("trials.csv")).unwrap();
    let rows = cells(&table, &["second", "units_2", "optimizer", "momentum", "outcome"]);
    // 5 sizes by 4 ways to train, and the starting point.
    assert_eq!(rows.len(), 21, "{table}");
    for row in &rows {
        assert_eq!(row[0] == "false", row[1].is_empty(), "{row:?}");
        assert_eq!(row[2] == "adam", row[3].is_empty(), "{row:?}");
        assert_eq!(row[4], "finished", "{row:?}");
    }
    assert_eq!(cells(&table, &["units_1", "units_2"])[1], ["12", "12"], "the starting point comes second");
    let report = lab.command(["report", "whole", "--format", "json"]).wait();
    assert_eq!(report.code, Some(0), "{}", report.stderr);
    assert!(!outcome.file("report.html").is_empty());

    let driver = lab.tune(&study, "killed", &["--local", "2x1"]);
    let _ = driver.line_with("epoch done");
    driver.kill();
    let resumed = lab.resume("killed", &[]).wait();
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert_eq!(lab.outcome("killed").digest(), outcome.digest());
}

#[test]
fn the_best_of_an_earlier_run_are_starting_points_as_far_as_they_fit_and_stand_in_the_new_runs_study() {
    let lab = Lab::new(PROGRAM);
    let study = study(&lab);
    let earlier = lab.tuned(&study, "earlier", &["--local", "1"]);
    let text = std::fs::read_to_string(&study).unwrap();
    let (before, after) = text.split_once("initial = ").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    let written = |from: &str| {
        let text = format!("{before}initial_from = {from}\ntrials = 3\n{after}").replace("'grid'", "'random'");
        lab.write("again.toml", text)
    };
    let again = lab.tuned(&written("{ run = 'earlier', best = 4 }"), "again", &["--local", "1"]);
    let kept = String::from_utf8(again.file("study.toml")).unwrap();
    assert!(kept.contains("initial = [{") && !kept.contains("initial_from"), "{kept}");
    let rows = |outcome: &Outcome| {
        let names = ["second", "units_1", "units_2", "optimizer", "momentum", "validation_error"];
        cells(&String::from_utf8(outcome.file("trials.csv")).unwrap(), &names)
    };
    let mut ranked = rows(&earlier).split_off(1);
    ranked.sort_by(|one, other| one[5].parse::<f64>().unwrap().total_cmp(&other[5].parse().unwrap()));
    let points: Vec<_> = rows(&again)[1..5].iter().map(|row| row[..5].to_vec()).collect();
    let expected: Vec<_> = ranked[..4].iter().map(|row| row[..5].to_vec()).collect();
    assert_eq!(points, expected, "behind the control, the best first");
    assert_eq!(again.number("/trials/planned"), 8, "the control, four of the earlier run, three that are drawn");
    // Gone on with, it asks nobody.
    std::fs::remove_dir_all(lab.path("earlier")).unwrap();
    assert_eq!(lab.resume("again", &[]).wait().code, Some(0));
    let refused = lab.tune(&written("'earlier'"), "none", &["--local", "1"]).wait();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("is no folder of a run"), "{}", refused.stderr);
    assert!(!lab.path("none").exists());
}
