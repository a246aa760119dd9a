//! Sweeps as people write them.

use broadsweep_common::configuration::Configuration;

use super::{Imported, sweep};
use crate::study;

const VISION: &str = include_str!("vision.yaml");
const BOOSTING: &str = include_str!("boosting.yaml");

fn imported(text: &str) -> Imported {
    sweep(text, "s.yaml").unwrap_or_else(|error| panic!("{}: {error}", error.line))
}

/// The configurations of the study that comes of a sweep.
fn configurations(text: &str) -> Vec<Configuration> {
    let imported = imported(text);
    let study = study::parse(&imported.study, "s.toml").unwrap_or_else(|error| panic!("{error}\n{}", imported.study));
    let drawn = study.drawn().unwrap_or_else(|error| panic!("{error}"));
    drawn.into_iter().map(|(configuration, _)| configuration).collect()
}

fn notes(imported: &Imported) -> Vec<String> {
    imported.notes.iter().map(|note| format!("{}: {}", note.line, note.text)).collect()
}

/// A sweep of this method and one parameter.
fn with(method: &str, domain: &str) -> String {
    format!("program: a.py\nmethod: {method}\nparameters:\n  x: {domain}\n")
}

/// What the parameter becomes.
fn domain(text: &str) -> String {
    let study = imported(text).study;
    study.lines().find_map(|line| line.strip_prefix("x = ")).unwrap_or_else(|| panic!("{study}")).to_owned()
}

#[test]
fn a_search_for_a_network_becomes_a_study() {
    let imported = sweep(VISION, "vision.yaml").unwrap();
    assert_eq!(imported.study, include_str!("vision.toml"));
    assert_eq!(configurations(VISION).len(), 40);
    let expected = [
        "1: `train.py` is sent to the executors, and nothing else: add to `files` what it imports and reads",
        "2: `bayes` becomes a random search: configurations do not depend on earlier results",
        "3: `project` is left out: a study has nothing like it",
        "4: the program has to say `val_accuracy` itself, since `wandb.log` is not listened to: print a line \
         `val_accuracy=0.5`, or write the line {\"val_accuracy\": 0.5} to the file that BROADSWEEP_METRICS names",
        "24: `early_terminate` is left out: every trial is trained to its end",
    ];
    assert_eq!(notes(&imported), expected);
}

#[test]
fn a_grid_with_a_command_of_its_own_becomes_a_study() {
    let imported = imported(BOOSTING);
    let command = "command = [\"python\", \"-u\", \"src/fit.py\", \"--config=${args_json_file}\", \
                   \"--home=${envvar:HOME}\", \"--price=5$$$$\", \"max_depth=${max_depth}\", \"eta=${eta}\", \
                   \"booster=${booster}\", \"deep=${deep}\", \"tree_leaves=${tree_leaves}\", \"$${what}\", \"7\"]";
    let lines: Vec<_> = imported.study.lines().collect();
    for line in [
        "name = \"xgb-grid--2\"",
        command,
        "sampler = \"grid\"",
        "direction = \"minimize\"",
        "max_depth = { range = [3, 8], count = 6 }",
        "eta = { values = [0.1, 0.2, 0.3, 0.4, 0.5] }",
        "booster = { values = [\"gbtree\", \"dart\"] }",
        "deep = { values = [true, false] }",
    ] {
        assert!(lines.contains(&line), "{line}\n{}", imported.study);
    }
    assert_eq!(configurations(BOOSTING).len(), 6 * 5 * 2 * 2 * 2);
    let told = notes(&imported).join("\n");
    for part in ["`target` of `metric` is left out", "null among the values of `booster`", "a list or a map among"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    for part in ["`${what}` is no macro", "`tree.leaves` is called `tree_leaves`"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

#[test]
fn each_distribution_has_its_range() {
    let rows = [
        ("{min: 1, max: 9}", "{ range = [1, 9] }"),
        ("{min: 1, max: 9.5}", "{ range = [1.0, 9.5] }"),
        ("{distribution: uniform, min: 0, max: 1}", "{ range = [0.0, 1.0] }"),
        ("{distribution: int_uniform, min: 2, max: 3}", "{ range = [2, 3] }"),
        ("{distribution: log_uniform_values, min: 0.5, max: 2}", "{ log_range = [0.5, 2.0] }"),
        ("{distribution: log_uniform, min: 0, max: 0}", "{ values = [1.0] }"),
        ("{distribution: q_uniform, min: 8, max: 24, q: 8}", "{ values = [8, 16, 24] }"),
        ("{distribution: q_uniform, min: 8, max: 10}", "{ range = [8, 10] }"),
        ("{distribution: q_log_uniform_values, min: 8, max: 512, q: 1}", "{ log_range = [8, 512] }"),
        ("{distribution: normal, mu: 1, sigma: 0.25}", "{ range = [0.5, 1.5] }"),
        ("{distribution: q_normal, mu: 10, sigma: 1}", "{ range = [8, 12] }"),
        ("{distribution: beta, a: 1, b: 2}", "{ range = [0.0, 1.0] }"),
        ("{distribution: constant, value: ok}", "{ values = [\"ok\"] }"),
        ("{distribution: categorical, values: [1, 2.5, 'a b']}", "{ values = [1, 2.5, \"a b\"] }"),
    ];
    for (written, expected) in rows {
        let text = with("random", written);
        assert_eq!(domain(&text), expected, "{written}");
        assert!(!configurations(&text).is_empty());
    }
}

#[test]
fn a_search_ends_and_asks_for_no_more_than_there_is() {
    let open = "{min: 0.0, max: 1.0}";
    let rows = [
        (with("random", open), 50, "it draws 50"),
        (with("random", "{values: [1, 2, 3]}"), 3, "it draws 3"),
        (with("grid", open), 50, "50 configurations are drawn instead"),
        (with("grid", "{min: 1, max: 9}") + "run_cap: 4\n", 4, "4 of its points are drawn"),
        (with("grid", "{min: 1, max: 9}") + "run_cap: 40\n", 9, ""),
    ];
    for (text, trials, note) in rows {
        assert_eq!(configurations(&text).len(), trials, "{text}");
        let told = notes(&imported(&text)).join("\n");
        assert!(told.contains(note), "{text}{told}");
    }
}

#[test]
fn a_program_elsewhere_is_not_sent() {
    let text = with("grid", "{values: [1]}").replace("a.py", "/opt/train.py");
    let imported = imported(&text);
    assert!(imported.study.contains("\"/opt/train.py\"") && !imported.study.contains("[data]"), "{}", imported.study);
    assert!(notes(&imported)[0].contains("has to be on each executor"));
    let line = "command: ./run.sh ${args} --n 3\nmethod: grid\nparameters: {x: {values: [1]}}\n";
    assert!(self::imported(line).study.contains("[\"./run.sh\", \"${args}\", \"--n\", \"3\"]"));
}

#[test]
fn what_is_no_sweep_is_an_error_with_its_line() {
    let rows = [
        ("", 1, "this is no sweep"),
        ("program: a.py\n", 1, "no `parameters`"),
        ("parameters: {x: {values: [1]}}\n", 1, "no `program`"),
        ("program: a.py\nparameters:\n  x: {}\n", 3, "`x` has no values"),
        ("program: a.py\nparameters:\n  x: {distribution: cauchy, min: 1, max: 2}\n", 3, "`cauchy`"),
        ("program: a.py\nparameters:\n  x: {distribution: log_uniform_values, min: 0, max: 2}\n", 3, "no range"),
        ("program: a.py\nparameters: {x: {value: 1}}\nmethod: genetic\n", 3, "`method` is none"),
        ("program: a.py\nparameters: {x: {value: 1}}\nrun_cap: many\n", 3, "`run_cap`"),
        ("program: a.py\nparameters: {x: {value: 1}}\nmetric: {goal: maximize}\n", 3, "no `name`"),
        ("a: [1\n", 2, "this is not YAML"),
    ];
    for (text, line, message) in rows {
        let error = sweep(text, "s.yaml").unwrap_err();
        assert_eq!(error.line, line, "{text}{error}");
        assert!(error.to_string().contains(message), "{text}{error}");
    }
}
