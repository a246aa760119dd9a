//! Searches that see results, on clusters of real processes: the same decisions and results on any of them, whatever is
//! killed.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::path::PathBuf;

use broadsweep_tests::chaos::{Dice, kill_a_child};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::outcome::Outcome;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// Every sampler that learns, and every pruner.
const SEARCHES: [(&str, &str); 7] = [
    ("tpe", "none"),
    ("gp", "none"),
    ("random", "asha"),
    ("tpe", "asha"),
    ("sobol", "hyperband"),
    ("random", "median"),
    ("random", "top_k"),
];
/// Trials of each study, the control among them.
const TRIALS: u64 = 21;

/// A study of trials that wait for different times, and whose error is what they are told.
fn study(lab: &Lab, (sampler, pruner): (&str, &str), more: &str) -> PathBuf {
    let text = format!(
        "name = 'searched'\nseed = 5\n[trainer]\nkind = 'replay'\nseconds = '$pause'\nepochs = 9\nerror = '$error'\n\
         [search]\nsampler = '{sampler}'\ntrials = 20\npruner = '{pruner}'\nparallel = 4\n{more}\n[search.space]\n\
         pause = {{ log_range = [0.0005, 0.008] }}\nerror = {{ range = [0.0, 1.0] }}\n\
         [control]\npause = 0.001\nerror = 0.5\n[scheduling]\ncopies = false\nlosses_max = 1000\n"
    );
    lab.write("searched.toml", text)
}

fn epochs_trained(outcome: &Outcome) -> usize {
    String::from_utf8(outcome.file("epochs.csv")).unwrap().lines().count() - 1
}

#[test]
fn decisions_and_results_are_the_same_on_one_executor_on_two_and_on_five() {
    let lab = Lab::new(PROGRAM);
    for search in SEARCHES {
        let study = study(&lab, search, "");
        let outcomes = ["1", "2x1", "5x1"].map(|shape| {
            let out = format!("{}-{}-{shape}", search.0, search.1);
            lab.tuned(&study, &out, &["--local", shape])
        });
        for outcome in &outcomes {
            assert_eq!(outcome.digest(), outcomes[0].digest(), "{search:?}");
            assert_eq!(outcome.summary["search"]["reproducible"], true, "{search:?}");
            assert_eq!(outcome.number("/trials/planned"), TRIALS, "{search:?}");
        }
        let (paused, epochs) = (outcomes[0].number("/trials/paused"), epochs_trained(&outcomes[0]));
        if search.1 == "none" {
            assert_eq!((paused, epochs), (0, TRIALS as usize * 9), "{search:?}");
        } else {
            assert!(paused > 0 && epochs < TRIALS as usize * 9, "{search:?}: {paused} paused, {epochs} epochs");
        }
    }
}

#[test]
fn a_search_that_learns_is_asked_for_other_configurations_than_one_that_draws() {
    let lab = Lab::new(PROGRAM);
    let best = |sampler: &str| {
        let outcome = lab.tuned(&study(&lab, (sampler, "none"), ""), sampler, &["--local", "2x1"]);
        outcome.summary["best"]["validation_error"].as_f64().unwrap()
    };
    let [drawn, tpe, gp] = ["random", "tpe", "gp"].map(best);
    assert!(tpe < drawn && gp < drawn, "tpe {tpe}, gp {gp}, random {drawn}");
}

#[test]
fn decisions_are_the_same_when_drivers_and_executors_are_killed() {
    let lab = Lab::new(PROGRAM);
    for (search, seed) in SEARCHES.into_iter().zip(400..) {
        let study = study(&lab, search, "");
        let undisturbed = lab.tuned(&study, &format!("undisturbed-{seed}"), &["--local", "2x1"]);
        let (out, mut dice) = (format!("run-{seed}"), Dice::new(seed));
        let mut driver = lab.tune(&study, &out, &["--local", "2x1"]);
        driver.until_file(&lab.path(&out).join("journal"));
        for _ in 0..3 {
            dice.let_run(&driver, 90);
            kill_a_child(&mut dice, &driver);
            driver.kill();
            driver = lab.resume(&out, &[]);
        }
        let ended = driver.wait();
        assert_eq!(ended.code, Some(0), "{search:?}: {}", ended.stderr);
        assert_eq!(lab.outcome(&out).digest(), undisturbed.digest(), "{search:?}: {}", ended.stderr);
    }
}

#[test]
fn a_search_ends_by_its_rules_at_the_same_trial_on_any_cluster() {
    let lab = Lab::new(PROGRAM);
    for (number, rule, trials) in
        [(0, "{ epochs = 45 }", 5..6), (1, "{ target = 0.2 }", 1..21), (2, "{ no_progress = 3 }", 4..21)]
    {
        let study = study(&lab, ("random", "none"), &format!("stop = {rule}"));
        let outcomes = ["1", "3x1"].map(|shape| lab.tuned(&study, &format!("{number}-{shape}"), &["--local", shape]));
        assert_eq!(outcomes[0].digest(), outcomes[1].digest(), "{rule}");
        let planned = outcomes[0].number("/trials/planned");
        assert!(trials.contains(&planned), "{rule}: {planned}");
        assert_eq!(outcomes[0].number("/trials/finished"), planned, "{rule}");
        let said = lab.command(["report", lab.path(&format!("{number}-1")).to_str().unwrap()]).wait().stdout;
        let ended = format!("ended the search after {planned} of {TRIALS} trials");
        assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains(&ended), "{rule}: {said}");
        let forecast = lab.command(["forecast", lab.path(&format!("{number}-1")).to_str().unwrap()]).wait().stdout;
        assert!(forecast.contains("waiting for order"), "{rule}: {forecast}");
    }
}

/// A program that keeps its state, over nine values, with a pruner: what it does at each epoch is `body`.
fn program(lab: &Lab, body: &str, epochs_of_loop: &str) -> PathBuf {
    let script = format!(
        "first=1\n[ -n \"$BROADSWEEP_RESUME\" ] && first=$(( $(cat \"$1/state\") + 1 ))\n\
         for epoch in $(seq $first {epochs_of_loop}); do\n{body}\necho $epoch > \"$1/.state\"\n\
         mv \"$1/.state\" \"$1/state\"\ndone\n"
    );
    lab.write("train.sh", &script);
    let text = "name = 'programmed'\n[data]\nfiles = ['train.sh']\n[trainer]\nkind = 'program'\n\
                command = ['sh', 'train.sh', '${checkpoint_dir}', '${x}']\nepochs = 6\ndeterministic = true\n\
                [search]\nsampler = 'random'\ntrials = 6\npruner = 'asha'\nparallel = 3\n[search.space]\n\
                x = { values = [11, 12, 13, 14, 15, 16, 17, 18, 19] }\n[scheduling]\nbackoff_ms = 5\n\
                failures_max = 2\ncopies = false\n";
    lab.write("programmed.toml", text)
}

#[test]
fn a_program_that_ends_sooner_than_asked_has_ended_under_a_pruner_too() {
    let lab = Lab::new(PROGRAM);
    let body = "echo \"{\\\"epoch\\\": $epoch, \\\"validation_error\\\": 0.$2}\" >> \"$BROADSWEEP_METRICS\"";
    // It never trains more than four epochs of its six, and no more than it is asked for.
    let study = program(&lab, body, "$(( BROADSWEEP_EPOCHS < 4 ? BROADSWEEP_EPOCHS : 4 ))");
    let outcomes = ["1", "3x1"].map(|shape| lab.tuned(&study, shape, &["--local", shape]));
    assert_eq!(outcomes[0].digest(), outcomes[1].digest());
    assert_eq!((outcomes[0].number("/trials/failed"), outcomes[0].number("/trials/planned")), (0, 6));
    assert!(outcomes[0].number("/trials/finished") > 0 && outcomes[0].number("/trials/paused") > 0);
}

#[test]
fn a_program_without_its_objective_fails_the_same_way_wherever_it_goes_on() {
    let lab = Lab::new(PROGRAM);
    let body = "echo \"{\\\"epoch\\\": $epoch, \\\"other\\\": 1}\" >> \"$BROADSWEEP_METRICS\"; sleep 0.05";
    let study = program(&lab, body, "$BROADSWEEP_EPOCHS");
    let runs = ["1", "3x1"].map(|shape| {
        let ended = lab.tune(&study, shape, &["--local", shape]).wait();
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        lab.outcome(shape)
    });
    for run in &runs {
        assert_eq!((run.number("/trials/failed"), run.digest()), (6, runs[0].digest()));
    }
}

#[test]
fn results_count_as_they_come_where_the_study_says_so() {
    let lab = Lab::new(PROGRAM);
    let study = study(&lab, ("tpe", "asha"), "asynchronous = true");
    let ended = lab.tune(&study, "out", &["--local", "2x1"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("another run of this study may decide otherwise"), "{}", ended.stdout);
    let outcome = lab.outcome("out");
    assert_eq!(outcome.summary["search"]["reproducible"], false);
    assert_eq!(outcome.number("/trials/planned"), TRIALS);
}

/// A study of trials that wait for so long that starting processes takes little beside it, one at a time in virtual time.
fn long_study(lab: &Lab, more: &str) -> PathBuf {
    let text = format!(
        "name = 'long'\nseed = 5\n[trainer]\nkind = 'replay'\nseconds = '$pause'\nepochs = 9\nerror = '$error'\n\
         [search]\nsampler = 'tpe'\ntrials = 20\npruner = 'asha'\nparallel = 2\n{more}\n[search.space]\n\
         pause = {{ log_range = [0.01, 0.1] }}\nerror = {{ range = [0.0, 1.0] }}\n\
         [scheduling]\ncopies = false\n"
    );
    lab.write("long.toml", text)
}

#[test]
fn what_a_search_takes_on_another_cluster_is_forecast_in_its_order() {
    let lab = Lab::new(PROGRAM);
    let study = long_study(&lab, "");
    let forecast = |run: &str, sizes: &str| -> Vec<Value> {
        let ended = lab.command(["forecast", run, "--sizes", sizes, "--slots", "1", "--json"]).wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let document: Value = serde_json::from_str(&ended.stdout).unwrap();
        document["forecasts"].as_array().unwrap().clone()
    };
    let _ = lab.tuned(&study, "alone", &["--local", "1x1"]);
    let measured = lab.tuned(&study, "six", &["--local", "6x1"]);
    let forecasts = forecast("alone", "1,6");
    let number = |forecast: &Value, key: &str| forecast[key].as_f64().unwrap();
    assert!(number(&forecasts[0], "order_s").abs() < 1e-9, "one slot never waits: {forecasts:?}");
    assert!(number(&forecasts[1], "order_s") > 0.2, "{forecasts:?}");
    assert!(number(&forecasts[1], "speedup") < 5.0, "two at a time keep no six busy: {forecasts:?}");
    let off = measured.summary["wall_s"].as_f64().unwrap() / number(&forecasts[1], "wall_s");
    assert!((0.6..1.5).contains(&off), "{off} times the forecast: {forecasts:?}");
    // The run itself is forecast by what it took.
    let own = &forecast("six", "6")[0];
    let off = measured.summary["wall_s"].as_f64().unwrap() / number(own, "wall_s");
    assert!((0.75..1.3).contains(&off), "{off} times the forecast of itself: {own}");

    let report = lab.command(["report", "alone", "--format", "html", "--out", "-"]).wait().stdout;
    assert!(
        report.contains("What more executors give") && report.contains("for the order in which the search decides")
    );
    let free = long_study(&lab, "asynchronous = true");
    let _ = lab.tuned(&free, "free", &["--local", "2x1"]);
    let told = lab.command(["forecast", "free"]).wait().stdout;
    assert!(told.contains("another cluster would have decided on other trials"), "{told}");
}

#[test]
fn a_study_is_checked_with_an_estimate_in_the_order_of_its_search() {
    let lab = Lab::new(PROGRAM);
    let check = |study: &PathBuf| lab.command(["check", study.to_str().unwrap()]).wait().stdout;
    let told = check(&long_study(&lab, ""));
    assert!(told.contains("an estimate: ") && told.contains("with parallel = 2, about "), "{told}");
    assert!(told.contains("parallel = 13 in [search] keeps more of them busy"), "{told}");
    let free = check(&long_study(&lab, "asynchronous = true"));
    assert!(free.contains("decided as results come"), "{free}");
    let drawn = long_study(&lab, "");
    let text = std::fs::read_to_string(&drawn).unwrap().replace("'tpe'", "'random'").replace("'asha'", "'none'");
    let drawn = lab.write("drawn.toml", text);
    assert!(!check(&drawn).contains("an estimate"), "all of it is known");
}

#[test]
fn more_slots_than_the_order_uses_are_told_of() {
    let lab = Lab::new(PROGRAM);
    let study = study(&lab, ("tpe", "none"), "");
    let ended = lab.tune(&study, "out", &["--local", "6x1"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("there are 6 slots, and `parallel` is 4"), "{}", ended.stderr);
    let study = study.to_str().unwrap();
    let refused =
        lab.command(["scale", study, "--sizes", "1,6", "--out", lab.path("scale").to_str().unwrap()]).wait();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("`parallel` is 4, and 6 executors have 6 slots"), "{}", refused.stderr);
    assert!(refused.stderr.contains("searched.toml:12:12"), "{}", refused.stderr);
}
